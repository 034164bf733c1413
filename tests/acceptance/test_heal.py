"""Heal: what an operator must decide is decided by one command, which may be killed anywhere and called again."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from cdc.log import open_log
from tests.acceptance.command import Cli, Running

ONE = pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
BOTH_LOGS = pytest.mark.parametrize(
    ("server", "log_address"), [("pg15", "sqlite"), ("pg15", "kafka")], indirect=True, ids=["pg15-sqlite", "pg15-kafka"]
)
CHANGE = """UPDATE "Lager"."Artikel" SET "Bezeichnung" = "Bezeichnung" || '!' WHERE left("Nr", 3) = 'A-1'"""
POINTS = ["heal.after-mark", "heal.after-slot", "heal.after-positions", "heal.after-clear"]


def execute(dsn: str, statement: str, *parameters: object) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(statement.encode(), parameters)


@contextmanager
def streaming(tour: Cli) -> Iterator[Running]:
    """The whole service, with everything backfilled and proven."""
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service:
        service.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile")
        yield service


def prove_healed(tour: Cli) -> None:
    with tour.start("run") as service:
        service.wait_for("capturing")
        tour.eventually("reconcile")
        tour.eventually("doctor")


@ONE
def test_nothing_to_heal(tour: Cli) -> None:
    tour.run("prepare", "--set-identity")
    assert tour.run("heal", "--json").document["touched"] == []


@ONE
@pytest.mark.parametrize("point", POINTS)
def test_a_lost_slot_is_a_gap_until_every_key_is_touched(tour: Cli, dsn: str, plan_name: str, point: str) -> None:
    """C2, C3: the slot is gone, and with it the changes since; heal killed anywhere leaves no green light behind."""
    with streaming(tour) as service:
        assert service.stop() == 0
    execute(dsn, "SELECT pg_drop_replication_slot(%s)", f"cutover_{plan_name}")
    execute(dsn, CHANGE)
    refused = tour.run("capture", code=5)
    assert "does not exist on this server" in refused.said
    assert "cutover heal" in refused.said
    assert "does not exist" in tour.run("status", "--json").document["slot"]["gap"]
    assert "cutover heal" in tour.run("backfill", code=5).said

    assert tour.run("heal", code=None, CUTOVER_FAULT=point).code == -signal.SIGKILL
    assert tour.run("doctor", "--json", code=5).document["healthy"] is False
    gap = tour.run("status", "--json").document["slot"]["gap"]
    assert (gap is None) == (point == "heal.after-clear")

    healed = tour.run("heal", "--json").document
    assert (healed["touched"], healed["finished"]) == (["product"], True)
    prove_healed(tour)


@BOTH_LOGS
def test_a_truncated_source_halts_until_it_is_accepted(tour: Cli, dsn: str) -> None:
    """C8: TRUNCATE empties what the mapping reads; an operator accepts it, while everything runs."""
    with streaming(tour) as service:
        execute(dsn, 'TRUNCATE "Lager"."Bestand"')
        service.wait_for("was truncated")
        doctor = tour.run("doctor", "--json", code=5).document
        assert [each["cure"] for each in doctor["problems"] if "halted" in each["what"]] == ["cutover heal product"]
        assert "was truncated" in tour.run("status", "--json").document["moves"][0]["halted"]
        assert "cutover heal product" in tour.run("backfill", code=5).said
        execute(dsn, 'ALTER TABLE "Lager"."Bestand" ADD COLUMN later text')  # a question for the gate, not for tonight
        healed = tour.run("heal", "product", "--json")
        assert healed.document["halts"].keys() == {"product"}
        assert "later is neither mapped nor waived: the stream goes on" in healed.said
        execute(dsn, 'ALTER TABLE "Lager"."Bestand" DROP COLUMN later')
        proof = tour.eventually("reconcile", "--json").document
        assert proof["moves"][0]["rows"]["compared"] == 1000
        tour.eventually("doctor")


@BOTH_LOGS
def test_an_unreadable_record_is_passed_over_only_by_healing(
    tour: Cli, dsn: str, plan_name: str, log_address: str
) -> None:
    """L6: the partition stops at the record, and its keys are touched anew behind it."""
    with streaming(tour) as service:
        log = open_log(log_address)
        writer = log.writer()
        writer.append(f"cutover.{plan_name}.product", 2, b"\xff torn")
        assert writer.wait(writer.queued(), 30)
        writer.close()
        log.close()
        service.wait_for("product halts: partition 2")
        found = re.search(r"partition 2, offset (\d+)", service.log.read_text())
        assert found is not None
        execute(dsn, CHANGE)
        with psycopg.connect(dsn, autocommit=True) as conn:  # capture goes on; the partition stands before the record
            capturing = "SELECT confirmed_lsn > %s FROM cutover.plan"
            lsn = conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
            while conn.execute(capturing, lsn).fetchone() != (True,):
                conn.execute("SELECT pg_logical_emit_message(true, 'test', 'on')")
            stands = conn.execute('SELECT "offset" FROM cutover.position WHERE partition = 2').fetchone()
        assert stands == (int(found[1]),)
        assert tour.run("heal", "--json").document["positions_moved"]["product"].keys() == {"2"}
        tour.eventually("reconcile")
        tour.eventually("doctor")


@ONE
def test_two_heals_at_once(tour: Cli, dsn: str, plan_name: str) -> None:
    tour.run("prepare", "--set-identity")
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (f"cutover.heal {plan_name}",))
        assert "another heal" in tour.run("heal", code=6).said


@ONE
def test_a_table_that_took_a_sources_name_is_prepared_first(tour: Cli, dsn: str) -> None:
    """C10: healing would only cover up that nobody captures the new table."""
    with streaming(tour) as service:
        with psycopg.connect(dsn) as conn:
            conn.execute('ALTER TABLE "Lager"."Preis" RENAME TO "Preis alt"')
            conn.execute('CREATE TABLE "Lager"."Preis" (LIKE "Lager"."Preis alt" INCLUDING ALL)')
            conn.execute('INSERT INTO "Lager"."Preis" SELECT * FROM "Lager"."Preis alt"')
        service.wait_for(" halts: ")
        assert "another table" in tour.run("status", "--json").document["moves"][0]["halted"]
        assert "cutover prepare" in tour.run("heal", code=5).said
