"""Settings, sessions and objects that others left behind: the service works as if they were not there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from consumers.worker import Worker
from cutover.prepare import prepare
from sql.connection import OWN_DEFAULTS, connect
from sql.errors import Refused
from sql.grants import PARTS, role_name
from tests.integration.rig import Rig
from tests.integration.test_faultpoints import write
from tests.services.databases import fresh_database
from tests.services.postgres import PostgresServer

BOTH = pytest.mark.parametrize(
    ("server", "log_address"),
    [("pg15", "sqlite"), ("pg18", "sqlite")],
    indirect=True,
    ids=["pg15-sqlite", "pg18-sqlite"],
)
pytestmark = BOTH

# ALTER DATABASE … SET, as a careful or careless administrator may have done.
DEFAULTS = {
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "search_path": "mean, pg_catalog",
    "statement_timeout": "1ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "20ms",
    "transaction_timeout": "50ms",
    "datestyle": "SQL, DMY",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Kathmandu",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "backslash_quote": "off",
    "client_encoding": "LATIN1",
    "quote_all_identifiers": "on",
    "session_replication_role": "replica",
    "row_security": "off",
    "transform_null_equals": "on",
    "array_nulls": "off",
    "xmloption": "document",
    "lc_monetary": "C",
    "default_tablespace": "",
    "enable_indexscan": "off",
    "synchronous_commit": "off",
}
# Operators and functions that stand before the server's own for whoever trusts the search path.
MEAN = """
CREATE SCHEMA mean;
CREATE FUNCTION mean.never(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE FUNCTION mean.never(uuid, uuid) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE FUNCTION mean.never(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT false';
CREATE OPERATOR mean.= (LEFTARG = text, RIGHTARG = text, FUNCTION = mean.never);
CREATE OPERATOR mean.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = mean.never);
CREATE OPERATOR mean.= (LEFTARG = int, RIGHTARG = int, FUNCTION = mean.never);
CREATE FUNCTION mean.format(text, VARIADIC "any") RETURNS text LANGUAGE internal IMMUTABLE AS 'text_format_nv';
CREATE FUNCTION mean.now() RETURNS timestamptz LANGUAGE sql AS $$SELECT 'infinity'::timestamptz$$;
CREATE FUNCTION mean.to_regclass(text) RETURNS regclass LANGUAGE sql AS 'SELECT NULL::regclass';
CREATE FUNCTION mean.pg_current_snapshot() RETURNS pg_snapshot LANGUAGE sql AS $$SELECT '1:1:'::pg_snapshot$$;
CREATE TABLE mean.pg_class (oid oid, relname text);
"""


def set_defaults(rig: Rig, settings: dict[str, str]) -> None:
    """For every session of the database that begins from now on."""
    name = conninfo.conninfo_to_dict(rig.dsn)["dbname"]
    known = {each for (each,) in rig.conn.execute("SELECT name FROM pg_settings").fetchall()}
    for setting, value in settings.items():
        if setting.lower() in {each.lower() for each in known}:
            text = value if setting == "search_path" else f"'{value}'"
            rig.conn.execute(f"ALTER DATABASE {name} SET {setting} = {text}".encode())


def live(rig: Rig) -> None:
    """Prepare, a backlog, a stream, a backfill: both sides are equal."""
    write(rig, 0)
    rig.prepare()
    for round_ in range(18):
        write(rig, round_)
        rig.conn.execute("SELECT pg_logical_emit_message(true, 'test', repeat('x', 1000000))")
    rig.capture()
    rig.consume()
    rig.backfill()
    write(rig, 99)
    rig.drain()
    assert rig.differences() == {}
    assert rig.stop() == []


@pytest.fixture
def rig(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(dsn, plan_name, log_address, tmp_path)
    yield rig
    name = conninfo.conninfo_to_dict(dsn)["dbname"]
    rig.conn.execute(f"ALTER DATABASE {name} RESET ALL".encode())
    rig.close()


def test_defaults_of_the_database_change_nothing(rig: Rig) -> None:
    """Each of them alone has stopped or slowed something once; the isolation level would read the past (A1)."""
    rig.conn.execute(MEAN.encode(), prepare=False)
    set_defaults(rig, DEFAULTS)
    live(rig)
    with connect(rig.dsn, "test") as conn:
        for name, value in (OWN_DEFAULTS | {"synchronous_commit": "local", "search_path": '"mean"'}).items():
            assert conn.execute("SELECT pg_catalog.current_setting(%s)", (name,)).fetchone() == (value,), name


@pytest.mark.parametrize("table", ["shop.item", "shop.item_cost"])
def test_a_policy_that_hides_rows_from_the_service_is_said(
    rig: Rig, server: PostgresServer, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Row security that came after prepare: on the target, or on a source for the mapping's owner too."""
    prepare(rig.dsn, rig.compile(), rig.log, rig.compile, set_identity=True, roles=True)
    rig.plan = rig.compile()
    owner = role_name(rig.name, "flip")
    try:
        rig.capture()
        write(rig, 1)
        for statement in (
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
            f"GRANT USAGE ON SCHEMA shop TO {owner}",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA shop TO {owner}",
            f"GRANT ALL ON SCHEMA cutover TO {owner}",
            f"ALTER VIEW {rig.move('item').view} OWNER TO {owner}",
        ):
            rig.conn.execute(statement.encode())
        dsn = conninfo.make_conninfo(rig.dsn, options=f"-c role={role_name(rig.name, 'consume')}")
        (error,) = rig.ended(rig.start(Worker(dsn, rig.plan, rig.open_log(), rig.compile).run))
        assert isinstance(error, Refused)
        assert "row-level security policy" in str(error)
    finally:
        rig.stop()
        for part in PARTS:
            rig.conn.execute(f"DROP OWNED BY {role_name(rig.name, part)} CASCADE".encode())
            rig.conn.execute(f"DROP ROLE {role_name(rig.name, part)}".encode())


def test_c15_writers_of_every_kind(rig: Rig) -> None:
    """Prepared for long with more subtransactions than a snapshot lists, MERGE, triggers switched off."""
    rig.prepare()
    write(rig, 0)
    rig.capture()
    rig.consume()
    with connect(rig.dsn, "writer") as conn:
        conn.execute("BEGIN")
        for cost in range(100):
            conn.execute("SAVEPOINT s")
            conn.execute(
                "UPDATE shop.item_cost SET cost = %s WHERE item_id = (SELECT min(id::text)::uuid FROM shop.item)",
                (cost,),
            )
            conn.execute("INSERT INTO shop.payment (ref, amount) VALUES (%s, 1)", (f"sub-{cost}",))
            conn.execute("ROLLBACK TO s" if cost % 3 == 0 else "RELEASE s")
        conn.execute(f"PREPARE TRANSACTION '{rig.name}'".encode())
    rig.backfill()
    rig.drain()
    rig.conn.execute("SET session_replication_role = replica")
    rig.conn.execute(
        "MERGE INTO shop.item_state s USING (SELECT id FROM shop.item) i ON s.item_id = i.id"
        " WHEN MATCHED THEN UPDATE SET state = 'merged' WHEN NOT MATCHED THEN INSERT (item_id, state) VALUES (i.id, 'new')"
    )
    rig.conn.execute("RESET session_replication_role")
    rig.conn.execute(f"COMMIT PREPARED '{rig.name}'".encode())
    rig.drain()
    assert rig.differences() == {}
    assert rig.conn.execute("SELECT count(*) FROM shop.\"order\" WHERE ref LIKE 'sub-%'").fetchone() == (66,)
    assert rig.stop() == []


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP"])
def test_an_encoding_of_the_database(
    server: PostgresServer, encoding: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    """Keys, names and values beyond ASCII, as far as it has them; and no letter of our own that it has not."""
    with fresh_database(server, encoding) as dsn, contextlib.closing(Rig(dsn, plan_name, log_address, tmp_path)) as rig:
        rig.prepare()
        rig.capture()
        rig.consume()
        for land in ("Österreich", "Ελλάς", "日本"):
            with contextlib.suppress(psycopg.errors.UntranslatableCharacter):
                rig.conn.execute("""INSERT INTO "Lager"."Preis" VALUES (%s, '1', 'Währung', 1)""", (land,))
        rig.drain()
        rig.backfill()
        rig.drain()
        assert rig.differences() == {}
        assert rig.conn.execute("""SELECT count(*) > 0 FROM "Lager"."select" """).fetchone() == (True,)
        assert rig.stop() == []


def test_a_database_without_an_encoding_is_refused(
    server: PostgresServer, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    """One byte that is no text would end the stream at the same place for ever."""
    with (
        fresh_database(server, "SQL_ASCII") as dsn,
        contextlib.closing(Rig(dsn, plan_name, log_address, tmp_path)) as rig,
        pytest.raises(Refused, match="SQL_ASCII"),
    ):
        rig.prepare()
