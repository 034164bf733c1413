"""An installation of an older version: upgrade/make left its database and its log, with frames that nobody has applied.

The slot and what binds the plan to its server cannot be dumped: the test makes them anew, where the old one stood.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import psycopg
import pytest

from sql.connection import connect
from sql.control import latest, migrate
from tests.acceptance.command import Cli
from tests.acceptance.conftest import TOUR
from tests.services.databases import fresh_database
from tests.services.postgres import PostgresServer

BOTH = pytest.mark.parametrize("server", ["pg15", "pg18"], indirect=True)
ONE = pytest.mark.parametrize("server", ["pg15"], indirect=True)
FIXTURE = Path(__file__).parent / "upgrade"
OLD = 10  # the version of its control schema

BOUND = """
UPDATE cutover.plan
   SET log = %(log)s, system_id = (SELECT system_identifier::text FROM pg_control_system()),
       consistent_point = %(point)s, confirmed_lsn = %(point)s, publication_mark = cutover.publication_mark(slot);
UPDATE cutover.move SET view_oid = 'cutover.map_lager_product'::regclass
"""
# All that migrations make, without its oids and in no order that they chose.
SHAPE = """
SELECT 'column', format('%s.%s %s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull,
                        pg_get_expr(adbin, adrelid))
  FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
       LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
 WHERE relnamespace = 'cutover'::regnamespace AND relkind IN ('r', 'S') AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'constraint', format('%s %s', conrelid::regclass, pg_get_constraintdef(oid))
  FROM pg_constraint WHERE connamespace = 'cutover'::regnamespace AND contype <> 'n'
UNION ALL
SELECT 'index', indexdef FROM pg_indexes WHERE schemaname = 'cutover'
UNION ALL
SELECT 'function', pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'cutover'::regnamespace
UNION ALL
SELECT 'trigger', pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
 WHERE c.relnamespace = 'cutover'::regnamespace AND NOT t.tgisinternal
"""


@pytest.fixture
def upgraded(tmp_path: Path, dsn: str) -> Cli:
    """The present command on the old installation, which nobody has prepared yet."""
    log = tmp_path / "log.db"
    log.write_bytes(gzip.decompress((FIXTURE / "log.db.gz").read_bytes()))
    xid, lsn = (FIXTURE / "end").read_text().split()
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute((FIXTURE / "database.sql").read_text().encode())
        conn.execute("RESET ALL")
        while conn.execute("SELECT pg_current_xact_id()::text::bigint > %s", (xid,)).fetchone() != (True,):
            pass
        while conn.execute("SELECT pg_current_wal_insert_lsn() > %s::pg_lsn", (lsn,)).fetchone() != (True,):
            conn.execute("SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000))")
        made = conn.execute("SELECT lsn::text FROM pg_create_logical_replication_slot('cutover_lager', 'pgoutput')")
        (point,) = made.fetchone() or ("",)
        for statement in BOUND.split(";"):
            conn.execute(statement.encode(), {"log": f"sqlite:///{log}", "point": point})
    return Cli(tmp_path, {"CUTOVER_DSN": dsn, "CUTOVER_PLAN": str(TOUR / "plan"), "CUTOVER_RECONCILE_SHARE": "0"})


def shape(dsn: str) -> set[tuple[str, str]]:
    with psycopg.connect(dsn) as conn:
        return {(kind, definition) for kind, definition in conn.execute(SHAPE.encode()).fetchall()}


@BOTH
def test_an_older_installation_goes_on_where_it_stood(upgraded: Cli, dsn: str) -> None:
    """What waits in the log and what waits in the slot is applied; nothing is a gap, and nobody has to heal."""
    for command in (("status",), ("consume",), ("capture",), ("reconcile",), ("flip", "product", "--to", "legacy")):
        refused = upgraded.run(*command, code=5)
        assert f"of version {OLD}, this service needs {latest()}" in refused.said
        assert [line["cure"] for line in refused.messages] == ["cutover prepare"]
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("""UPDATE "Lager"."Preis" SET "Betrag" = 7 WHERE "ArtikelNr" = 'A-4'""")
        differ = """SELECT count(*) FROM "Lager".product FULL JOIN cutover.map_lager_product m USING (tenant, sku)
                     WHERE product.price IS DISTINCT FROM m.price OR product.title IS DISTINCT FROM m.title"""
        (before,) = conn.execute(differ.encode()).fetchone() or (0,)
        assert before > 60
        upgraded.run("prepare")
        with upgraded.start("run") as service:
            service.wait_for("capturing")
            upgraded.run("doctor", code=None)
            assert conn.execute("SELECT gap FROM cutover.plan").fetchone() == (None,)
            assert upgraded.eventually("reconcile", "--json").document["verdict"] == "match"
            assert upgraded.eventually("doctor").code == 0
            assert service.stop() == 0
        assert conn.execute(differ.encode()).fetchone() == (0,)
        told = upgraded.run("history", "product", "nord,A-21", "--json").document
    assert [each["operation"] for each in told["versions"]] == ["touch", "update"]


@ONE
def test_migrations_of_an_older_schema_end_where_a_new_one_begins(
    upgraded: Cli, server: PostgresServer, dsn: str
) -> None:
    """One that was edited after it had been applied somewhere would be seen here."""
    upgraded.run("prepare")
    with fresh_database(server) as new:
        with connect(new, "test") as conn:
            migrate(conn)
        assert shape(dsn) == shape(new)


@ONE
def test_a_newer_schema_ends_an_older_service_in_words(upgraded: Cli, dsn: str) -> None:
    """Whether it starts then, or runs already while a newer installation prepares."""
    upgraded.run("prepare")
    known = f"of version {latest() + 1}, this service knows {latest()}"
    with psycopg.connect(dsn, autocommit=True) as conn:
        with upgraded.start("capture") as capture, upgraded.start("consume") as consume:
            capture.wait_for("capturing")
            consume.wait_for("partitions")
            conn.execute("INSERT INTO cutover.schema_version (version) VALUES (%s)", (latest() + 1,))
            for service in (capture, consume):
                assert service.process.wait(60) == 5
                assert known in service.log.read_text()
        for command in ("consume", "prepare", "status"):
            refused = upgraded.run(command, code=5)
            assert known in refused.said
            assert "upgrade this installation" in refused.said
    (problem,) = upgraded.run("doctor", "--json", code=5).document["problems"]
    assert (known in problem["what"], problem["cure"], problem["hint"]) == (True, "", "upgrade this installation")
