"""What is missing, lost or in danger: said by status and doctor, survived by the stream without a hand's help."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.command import Cli
from tests.acceptance.conftest import tour_on
from tests.services.databases import fresh_database
from tests.services.postgres import PostgresServer

ONE = pytest.mark.parametrize(("server", "log_address"), [("pg15", "sqlite")], indirect=True, ids=["pg15-sqlite"])
SMALL_KEEP = "ALTER SYSTEM SET max_slot_wal_keep_size = '32MB'"


@pytest.fixture
def own_tour(tmp_path: Path, own_server: PostgresServer, plan_name: str) -> Iterator[Cli]:
    """The tour on a server of its own and a SQLite log."""
    with fresh_database(own_server) as dsn:
        yield tour_on(tmp_path, dsn, f"sqlite:///{tmp_path / 'log.db'}", plan_name)


def execute(tour: Cli, *statements: str) -> None:
    with psycopg.connect(tour.variables["CUTOVER_DSN"], autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


@ONE
def test_a_log_that_does_not_answer_exits_6_and_shows_the_rest(tour: Cli) -> None:
    tour.run("prepare", "--set-identity")
    nowhere = "kafka://127.0.0.1:1"
    with ThreadPoolExecutor() as both:  # each waits for the broker as long as one may be silent
        asked = [both.submit(tour.run, it, "--json", "--log", nowhere, code=6) for it in ("status", "doctor")]
    status, found = (each.result().document for each in asked)
    partitions = status["moves"][0]["partitions"]
    assert [each["end_offset"] for each in partitions] == [None] * 4
    assert [each["offset"] for each in partitions] == [0] * 4
    assert nowhere in status["problems"][0]
    problems = found["problems"]
    assert problems[0]["severity"] == "unreachable"
    assert nowhere in problems[0]["what"]


@ONE
def test_another_log_is_a_slip_of_the_flag(tour: Cli, tmp_path: Path) -> None:
    """L2: changes never go half into one log and half into another."""
    tour.run("prepare", "--set-identity")
    other = f"sqlite:///{tmp_path / 'other.db'}"
    for command in ("capture", "consume", "run", "backfill"):
        ran = tour.run(command, "--log", other, code=2)
        assert f"--log {tour.variables['CUTOVER_LOG']}" in ran.said
    for options in ((), ("--json",)):
        ran = tour.run("status", "--log", other, *options, code=2)
        assert ran.out == ""
        assert f"--log {tour.variables['CUTOVER_LOG']}" in ran.said
        assert "heal" not in ran.said
    tour.run("status", "--log", "kafka://127.0.0.1:1", code=6)  # which one that is nobody can see
    tour.run("status")


@ONE
def test_the_way_back_needs_no_log(tour: Cli) -> None:
    """S13: whatever became of the log, reads go back to the legacy side at once."""
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service:
        service.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile")
        tour.eventually("flip", "product", "--to", "consolidated")
        assert service.stop() == 0
    for file in Path(tour.variables["CUTOVER_LOG"].removeprefix("sqlite://")).parent.glob("log.db*"):
        file.unlink()
    assert tour.run("flip", "product", "--to", "legacy", "--json").document["to"] == "legacy"


@pytest.mark.parametrize("own_server", ["pg15"], indirect=True)
def test_postgresql_killed_and_started_again(own_tour: Cli, own_server: PostgresServer) -> None:
    """The stream goes on by itself, and proves it."""
    own_tour.run("prepare", "--set-identity")
    with own_tour.start("run", "--consumers", "2") as service:
        service.wait_for("capturing")
        own_tour.run("backfill")
        own_server.stop("immediate")
        assert own_tour.run("status", code=6).out == ""
        own_server.start()
        execute(own_tour, 'DELETE FROM "Lager"."Preis"')
        proof = own_tour.eventually("reconcile", "--json").document
        assert proof["moves"][0]["rows"]["compared"] == 1000
        own_tour.eventually("doctor")
        assert service.stop() == 0


@pytest.mark.parametrize("own_server", ["pg15", "pg18"], indirect=True)
def test_a_slot_in_danger_then_invalidated_then_healed(own_tour: Cli, own_server: PostgresServer) -> None:
    """C3: doctor warns while safe_wal_size shrinks; an invalidated slot is a gap."""
    execute(own_tour, SMALL_KEEP, "SELECT pg_reload_conf()")
    own_tour.run("prepare", "--set-identity")
    own_tour.run("backfill")
    with psycopg.connect(own_tour.variables["CUTOVER_DSN"], autocommit=True) as conn:
        safe = "SELECT safe_wal_size < 7000000 FROM pg_replication_slots"
        while conn.execute(safe).fetchone() != (True,):
            conn.execute("SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000000))")
        warned = own_tour.run("doctor", "--json", code=5).document["problems"]
        assert any("about to be invalidated" in each["what"] for each in warned)
        lost = "SELECT wal_status = 'lost' FROM pg_replication_slots"
        while conn.execute(lost).fetchone() != (True,):
            conn.execute("SELECT pg_logical_emit_message(false, 'test', repeat('x', 4000000))")
            conn.execute("SELECT pg_switch_wal()")
            conn.execute("CHECKPOINT")
    execute(own_tour, 'DELETE FROM "Lager"."Preis"')
    assert "cutover heal" in own_tour.run("capture", code=5).said
    assert "invalidated" in own_tour.run("status", "--json").document["slot"]["gap"]
    assert own_tour.run("heal", "--json").document["slot_recreated"] is True
    with own_tour.start("run") as service:
        service.wait_for("capturing")
        own_tour.eventually("reconcile")
        own_tour.eventually("doctor")
