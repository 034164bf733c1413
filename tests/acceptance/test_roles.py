"""The service under the roles that `prepare --roles` makes: the stream runs, and none of them can do more than it must.

Loosen a grant in sql/grants.py and `test_no_role_has_more_than_this` fails; take one away, and the stream does.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo, sql

from cutover.roles import held
from sql.connection import connect
from sql.grants import PARTS, Part, role_name
from tests.acceptance.command import Cli
from tests.integration.rig import FILES, PLAN, SCHEMA, write_plan
from tests.services.databases import fresh_database
from tests.services.postgres import PostgresServer

INSERTS = """
INSERT INTO shop.item (id, name) SELECT gen_random_uuid(), 'thing' FROM generate_series(1, 200);
INSERT INTO shop.item_cost SELECT id, 1.5, 'EUR', 'card-4711' FROM shop.item;
INSERT INTO shop.payment (ref, amount) SELECT 'r' || n, n FROM generate_series(1, 100) n;
INSERT INTO "Lager"."Preis" SELECT 'DE', n::text, 'EUR', n FROM generate_series(1, 50) n;
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """The shop of the rig, and the command as each role."""

    cli: Cli
    dsn: str
    plan: str
    passwords: dict[Part, str]
    folder: Path

    def dsn_as(self, part: Part) -> str:
        password = self.passwords[part]
        return conninfo.make_conninfo(self.dsn, user=role_name(self.plan, part), password=password)

    def command(self, part: Part) -> Cli:
        return replace(self.cli, variables={**self.cli.variables, "CUTOVER_DSN": self.dsn_as(part)})

    def admin(self, statements: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            conn.execute(statements.encode())


@pytest.fixture
def shop(request: pytest.FixtureRequest, server: PostgresServer, plan_name: str, tmp_path: Path) -> Iterator[Shop]:
    """Prepared with roles, which then get passwords; roles belong to the server, so they go after the database. A
    parameter has the plan's files where they are others."""
    passwords = {part: secrets.token_hex(12) for part in PARTS}
    try:
        with fresh_database(server) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(SCHEMA.encode())
            folder = write_plan(tmp_path / "plan", plan_name, getattr(request, "param", FILES))
            log = f"sqlite:///{tmp_path / 'log.db'}"
            cli = Cli(tmp_path, {"CUTOVER_DSN": dsn, "CUTOVER_LOG": log, "CUTOVER_PLAN": str(folder)})
            cli.run("prepare", "--set-identity", "--roles")
            for part in PARTS:
                role = sql.Identifier(role_name(plan_name, part))
                conn.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(passwords[part])))
            yield Shop(cli, dsn, plan_name, passwords, tmp_path)
    finally:
        with psycopg.connect(server.dsn, autocommit=True) as conn:
            for part in PARTS:
                conn.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role_name(plan_name, part))))


@pytest.mark.parametrize("server", ["pg18"], indirect=True)
def test_the_stream_runs_under_its_roles(shop: Shop) -> None:
    """Capture, consume, backfill, the proof and the flip, each as its own role; nothing secret is said or kept."""
    cli = shop.cli
    shop.admin(INSERTS)
    with (
        shop.command("capture").start("capture") as capture,
        shop.command("consume").start("consume") as consume,
        shop.command("consume").start("refresh"),
    ):
        capture.wait_for("capturing")
        shop.command("consume").run("backfill")
        shop.admin(
            "UPDATE shop.item_cost SET cost = 2, secret = 'card-4712'; DELETE FROM shop.payment WHERE amount < 10;"
            'DELETE FROM "Lager"."Preis" WHERE betrag < 5; INSERT INTO shop.payment (ref, amount) VALUES (\'new\', 1)'
        )
        shop.command("reconcile").eventually("reconcile", "--json")
        shop.admin('UPDATE "Lager"."select" SET betrag = -1')
        found = shop.command("reconcile").run("reconcile", "price", "--json", code=4).document["moves"][0]
        assert found["rows"]["drift"] == found["rows"]["compared"] > 0
        for part in PARTS:
            shop.command(part).run("status", "--json")
        shop.command("consume").run("replay", "item", "--from-start")
        for move, facade in (("item", "shop.item_current"), ("ledger", "shop.order_current")):
            shop.admin(f"SELECT FROM {facade}")  # with the rights of the flip role, which owns it
            for side in ("consolidated", "legacy"):
                shop.command("flip").eventually("flip", move, "--to", side)
                shop.admin(f"SELECT FROM {facade}")
        assert cli.run("prepare", "--json").document["steps"] == []
        assert capture.stop() == 0
        assert consume.stop() == 0
    written = b"".join(path.read_bytes() for path in shop.folder.glob("**/*") if path.is_file())
    for secret in ("card-4711", "card-4712", *shop.passwords.values()):
        assert secret.encode() not in written


FORBIDDEN: dict[Part, tuple[str, ...]] = {
    "capture": (
        "SELECT secret FROM shop.item_cost",
        "SELECT cost FROM shop.item_cost",
        "SELECT FROM shop.item",
        "SELECT FROM cutover.map_{plan}_item",
        "SELECT key FROM cutover.dead_letter",
        "SELECT document FROM cutover.reconcile_run",
        "SELECT detail FROM cutover.event",
        "SELECT place FROM cutover.proof",
        "SELECT key FROM cutover.difference",
        "UPDATE cutover.move SET side = 'consolidated'",
        "UPDATE cutover.position SET \"offset\" = 0",
        "ALTER PUBLICATION cutover_{plan} SET TABLE shop.item_cost",
        "CREATE PUBLICATION mine FOR TABLE shop.item_cost",
    ),
    "consume": (
        "DROP TABLE shop.item CASCADE",
        "TRUNCATE shop.item",
        "ALTER TABLE shop.item ADD COLUMN x int",
        "DELETE FROM shop.item",
        "INSERT INTO shop.item (id, name) VALUES (gen_random_uuid(), 'x')",
        "UPDATE shop.item SET name = 'x'",
        "SELECT secret FROM shop.item_cost",
        "UPDATE shop.item_cost SET cost = 0",
        "UPDATE shop.payment SET amount = 0",
        "SELECT amount FROM shop.payment",
        "UPDATE shop.\"order\" SET origin = 'x'",
        "UPDATE cutover.move SET side = 'consolidated'",
        "DELETE FROM cutover.position",
        "CREATE TABLE shop.mine (id int)",
    ),
    "reconcile": (
        "UPDATE shop.item SET cost = 0",
        "DELETE FROM shop.\"order\"",
        "INSERT INTO shop.payment (ref) VALUES ('x')",
        "TRUNCATE \"Lager\".\"select\"",
        "DROP VIEW cutover.map_{plan}_item CASCADE",
        "UPDATE cutover.position SET \"offset\" = 0",
        "UPDATE cutover.dead_letter SET state = 'discarded'",
        "DELETE FROM cutover.reconcile_run",
        "SELECT secret FROM shop.item_cost",
    ),
    "flip": (
        "UPDATE shop.item SET cost = 0",
        "DELETE FROM shop.item_cost",
        "UPDATE cutover.plan SET gap = NULL",
        "UPDATE cutover.dead_letter SET state = 'discarded'",
        "INSERT INTO cutover.reconcile_run (plan, move, digest, verdict, document, started_at)"
        " VALUES ('{plan}', 'item', 'd', 'match', '{{}}', now())",
        "DROP TABLE shop.item CASCADE",
        "SELECT secret FROM shop.item_cost",
    ),
}  # fmt: skip


@pytest.mark.parametrize("server", ["pg15"], indirect=True)
def test_what_each_role_may_not(shop: Shop) -> None:
    """Each statement is refused for want of a right, and for nothing else."""
    for part, statements in FORBIDDEN.items():
        with psycopg.connect(shop.dsn_as(part), autocommit=True) as conn:
            for text in statements:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    conn.execute(text.format(plan=shop.plan).encode())
    with psycopg.connect(shop.dsn, autocommit=True) as conn:  # the same statements are otherwise right
        for text in (text for statements in FORBIDDEN.values() for text in statements):
            with conn.transaction(force_rollback=True):
                conn.execute(text.format(plan=shop.plan).encode())


# Every right on a table of the application, as `privilege table column`; {plan} in the names of views and memory.
TABLES = (
    "shop.item", "shop.item_cost", "shop.item_state", "shop.item_hold", "shop.payment", 'shop."order"',
    '"Lager"."Preis"', '"Lager"."Rabatt"', '"Lager"."select"',
)  # fmt: skip
ON_TABLES: dict[Part, str] = {
    "capture": "",
    "consume": """
        SELECT shop.item id; SELECT shop.item name; SELECT shop.item cost; SELECT shop.item currency;
        SELECT shop.item state; SELECT shop.item held; SELECT shop.item note;
        UPDATE shop.item cost; UPDATE shop.item currency; UPDATE shop.item state; UPDATE shop.item held;
        UPDATE shop.item note;
        SELECT shop."order" ref; SELECT shop."order" total; INSERT shop."order" ref; INSERT shop."order" total;
        UPDATE shop."order" total; DELETE shop."order";
        SELECT shop.payment ref; SELECT shop.payment seen; UPDATE shop.payment seen;
        SELECT "Lager"."select" Land; SELECT "Lager"."select" Nummer; SELECT "Lager"."select" Währung;
        SELECT "Lager"."select" betrag; SELECT "Lager"."select" prozent;
        INSERT "Lager"."select" Land; INSERT "Lager"."select" Nummer; INSERT "Lager"."select" Währung;
        INSERT "Lager"."select" betrag; INSERT "Lager"."select" prozent;
        UPDATE "Lager"."select" Währung; UPDATE "Lager"."select" betrag; UPDATE "Lager"."select" prozent;
        DELETE "Lager"."select";
        SELECT cutover.map_{plan}_item; SELECT cutover.map_{plan}_ledger; SELECT cutover.map_{plan}_price;
        SELECT cutover.owned_{plan}_ledger; INSERT cutover.owned_{plan}_ledger; DELETE cutover.owned_{plan}_ledger""",
    "reconcile": """
        SELECT shop.item id; SELECT shop.item name; SELECT shop.item cost; SELECT shop.item currency;
        SELECT shop.item state; SELECT shop.item held; SELECT shop.item note;
        SELECT shop."order" ref; SELECT shop."order" total;
        SELECT "Lager"."select" Land; SELECT "Lager"."select" Nummer; SELECT "Lager"."select" Währung;
        SELECT "Lager"."select" betrag; SELECT "Lager"."select" prozent;
        SELECT cutover.map_{plan}_item; SELECT cutover.map_{plan}_ledger; SELECT cutover.map_{plan}_price;
        SELECT cutover.owned_{plan}_ledger;
        SELECT shop.item_cost item_id; SELECT shop.item_state item_id; SELECT shop.item_hold item_id;
        SELECT shop.payment ref; SELECT "Lager"."Preis" Land; SELECT "Lager"."Preis" Nummer;
        SELECT "Lager"."Rabatt" Land; SELECT "Lager"."Rabatt" Nummer;"""
    + ";".join(f"SELECT {table} {column}" for table in TABLES for column in ("tableoid", "ctid", "xmin")),
    "flip": """
        SELECT shop.item id; SELECT shop.item name; SELECT shop.item cost; SELECT shop.item currency;
        SELECT shop.item state; SELECT shop.item held; SELECT shop.item note;
        SELECT shop."order" ref; SELECT shop."order" total;
        SELECT "Lager"."select" Land; SELECT "Lager"."select" Nummer; SELECT "Lager"."select" Währung;
        SELECT "Lager"."select" betrag; SELECT "Lager"."select" prozent;
        SELECT cutover.map_{plan}_item; SELECT cutover.map_{plan}_ledger; SELECT cutover.map_{plan}_price;
        SELECT cutover.owned_{plan}_ledger""",
}


# Every right in the control schema but SELECT, likewise; and the tables that may be read.
WRITES: dict[Part, str] = {
    "capture": """
        UPDATE plan confirmed_lsn; UPDATE plan gap; UPDATE plan gap_since; UPDATE move halted; UPDATE move halted_lsn;
        INSERT event plan; INSERT event move; INSERT event what; INSERT event detail""",
    "consume": """
        UPDATE plan gap; UPDATE plan gap_since; UPDATE move halted; UPDATE move halted_lsn; UPDATE move refreshed_until;
        UPDATE move refreshed_offsets; UPDATE move partition_mark; UPDATE move touched_offsets; UPDATE move clock_low; UPDATE move clock_high; UPDATE position;
        INSERT dead_letter; UPDATE dead_letter; INSERT backfill; UPDATE backfill; INSERT replay; UPDATE replay;
        INSERT accepted; UPDATE accepted;
        INSERT event plan; INSERT event move; INSERT event what; INSERT event detail""",
    "reconcile": """
        INSERT reconcile_run; INSERT difference; UPDATE difference; DELETE difference;
        INSERT proof; UPDATE proof; INSERT review; UPDATE accepted ended_at""",
    "flip": """
        UPDATE move side; UPDATE move percent;
        INSERT event plan; INSERT event move; INSERT event what; INSERT event detail""",
}
READS: dict[Part, set[str]] = {
    "capture": {
        "schema_version",
        "plan",
        "move",
        "position",
        "backfill",
        "dead_letter",
        "event",
        "reconcile_run",
        "proof",
        "difference",
    },
    "consume": {
        "schema_version",
        "plan",
        "move",
        "position",
        "backfill",
        "dead_letter",
        "replay",
        "event",
        "reconcile_run",
        "proof",
        "difference",
        "accepted",
        "review",
    },
    "reconcile": {
        "schema_version",
        "plan",
        "move",
        "position",
        "backfill",
        "dead_letter",
        "event",
        "reconcile_run",
        "difference",
        "proof",
        "accepted",
        "review",
    },
    "flip": {
        "schema_version",
        "plan",
        "move",
        "position",
        "backfill",
        "dead_letter",
        "event",
        "reconcile_run",
        "proof",
        "difference",
    },
}


def entries(text: str) -> set[str]:
    return {" ".join(line.split()) for line in text.split(";")} - {""}


@pytest.mark.parametrize("server", ["pg15"], indirect=True)
def test_no_role_has_more_than_this(shop: Shop) -> None:
    """Written out by hand, so that a right which is added by mistake shows; and the stream is held to the columns."""
    with connect(shop.dsn, "test") as conn:
        for part in PARTS:
            rights = held(conn, role_name(shop.plan, part))
            ours = {
                " ".join(filter(None, (each.privilege, each.object, each.column)))
                for each in rights
                if each.kind in ("TABLE", "SEQUENCE") and (not each.object.startswith("cutover.") or "_" + shop.plan in each.object)
            }  # fmt: skip
            assert ours == entries(ON_TABLES[part].format(plan=shop.plan)), part
            control = [each for each in rights if each.kind == "TABLE" and each.object.startswith("cutover.")]
            control = [each for each in control if "_" + shop.plan not in each.object]
            named = [(each, each.object.removeprefix("cutover.").strip('"')) for each in control]
            writes = {
                " ".join(filter(None, (it.privilege, name, it.column)))
                for it, name in named
                if it.privilege != "SELECT"
            }
            assert writes == entries(WRITES[part]), part
            assert {name for it, name in named if it.privilege == "SELECT"} == READS[part], part
            assert {each.object for each in rights if each.privilege == "CREATE"} == (
                {"shop"} if part == "flip" else set()
            )
        rows = conn.execute(
            "SELECT rolname, rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls, rolreplication, rolpassword IS NULL"
            "  FROM pg_authid WHERE rolname LIKE %s", (f"cutover_{shop.plan}_%",),
        ).fetchall()  # fmt: skip
        assert {name: more for name, *more in rows} == {
            role_name(shop.plan, part): [False, part == "capture", False] for part in PARTS
        }
        tables = conn.execute(
            "SELECT tablename, attnames::text[] FROM pg_publication_tables WHERE pubname = %s",
            (f"cutover_{shop.plan}",),
        ).fetchall()
        assert {name: set(columns) for name, columns in tables} == {
            "item": {"id"},
            "item_state": {"item_id", "state", "note"},
            "item_hold": {"id", "item_id", "qty"},
            # Whose REPLICA IDENTITY is FULL allow no list: capture strips them, as the log of the test above shows.
            "item_cost": {"item_id", "cost", "currency", "secret"},
            "payment": {"id", "ref", "amount", "seen"},
            "Preis": {"Land", "Nummer", "Währung", "betrag"},
            "Rabatt": {"Land", "Nummer", "prozent"},
        }
        public = conn.execute("SELECT count(*) FROM information_schema.role_table_grants WHERE grantee = 'PUBLIC' AND table_schema IN ('shop', 'Lager')")  # fmt: skip
        assert public.fetchone() == (0,)


# What a backfill with rows needs besides: the columns of the sources that may enter the log.
ON_SOURCES = """
    SELECT shop.item_cost item_id; SELECT shop.item_cost cost; SELECT shop.item_cost currency;
    SELECT shop.item_state item_id; SELECT shop.item_state state; SELECT shop.item_state note;
    SELECT shop.item_hold id; SELECT shop.item_hold item_id; SELECT shop.item_hold qty;
    SELECT shop.payment id; SELECT shop.payment amount;
    SELECT "Lager"."Preis" Land; SELECT "Lager"."Preis" Nummer; SELECT "Lager"."Preis" Währung;
    SELECT "Lager"."Preis" betrag;
    SELECT "Lager"."Rabatt" Land; SELECT "Lager"."Rabatt" Nummer; SELECT "Lager"."Rabatt" prozent"""


@pytest.mark.parametrize(
    ("server", "shop"),
    [("pg15", {**FILES, "plan.toml": PLAN.replace("\nkey ", '\nbackfill = "rows"\nkey ')})],
    indirect=True,
    ids=["pg15"],
)
def test_a_backfill_with_rows_runs_under_its_role(shop: Shop) -> None:
    """C11: it reads the columns that may enter the log, and no other; without one of them it says which table."""
    role = role_name(shop.plan, "consume")
    shop.admin(INSERTS)
    with connect(shop.dsn, "test") as conn:
        ours = {
            " ".join(filter(None, (each.privilege, each.object, each.column)))
            for each in held(conn, role)
            if each.kind == "TABLE" and (not each.object.startswith("cutover.") or "_" + shop.plan in each.object)
        }
        assert ours == entries((ON_TABLES["consume"] + ";" + ON_SOURCES).format(plan=shop.plan))
    with shop.command("capture").start("capture") as capture, shop.command("consume").start("consume") as consume:
        capture.wait_for("capturing")
        shop.admin(f"REVOKE SELECT (note) ON shop.item_state FROM {role}")
        refused = shop.command("consume").run("backfill", "item", code=5)
        assert "permission denied for table item_state" in refused.said
        assert "grant it" in refused.said
        assert shop.cli.run("prepare", "--json").document["steps"] == [
            f"GRANT SELECT (note) ON TABLE shop.item_state TO {role}"
        ]
        shop.command("consume").run("backfill")
        shop.command("reconcile").eventually("reconcile", "--json")
        restored = shop.cli.run(
            "restore", "shop.item_cost", "--at", lsn(shop), "--into", "shop.back", "--json"
        ).document
        assert (restored["rows"], restored["certain"], restored["not_in_log"]) == (200, True, ["secret"])
        shop.admin(f"GRANT SELECT ON shop.item_cost TO {role}")  # loosened
        assert shop.cli.run("prepare", "--json").document["steps"] == [
            f"REVOKE SELECT ON TABLE shop.item_cost FROM {role}"
        ]
        assert capture.stop() == 0
        assert consume.stop() == 0
    written = b"".join(path.read_bytes() for path in shop.folder.glob("**/*") if path.is_file())
    assert b"card-4711" not in written


def lsn(shop: Shop) -> str:
    with psycopg.connect(shop.dsn) as conn:
        row = conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize("server", ["pg18"], indirect=True)
def test_a_right_given_by_hand_is_taken_again(shop: Shop) -> None:
    """Every later prepare keeps the roles right, asked for or not."""
    role = role_name(shop.plan, "capture")
    shop.admin(f"GRANT SELECT ON shop.item_cost TO {role}; GRANT UPDATE (side) ON cutover.move TO {role}")
    steps = shop.cli.run("prepare", "--json").document["steps"]
    assert steps == [
        f"REVOKE UPDATE (side) ON TABLE cutover.move FROM {role}",
        f"REVOKE SELECT ON TABLE shop.item_cost FROM {role}",
    ]
    shop.admin(f"REVOKE UPDATE (confirmed_lsn) ON cutover.plan FROM {role}")
    assert shop.cli.run("prepare", "--json").document["steps"] == [
        f"GRANT UPDATE (confirmed_lsn) ON TABLE cutover.plan TO {role}"
    ]
