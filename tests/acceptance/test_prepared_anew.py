"""A plan that was retired is prepared anew while the log still has its topic: that is no gap (L2 does not cry wolf)."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.acceptance.command import Cli
from tests.acceptance.test_heal import streaming
from tests.acceptance.test_retiring import blocks
from tests.acceptance.test_retiring import run as run_block

ONE = pytest.mark.parametrize(("server", "log_address"), [("pg15", "sqlite")], indirect=True, ids=["pg15-sqlite"])


@ONE
def test_l2_a_topic_that_a_retired_plan_left_is_no_gap(tour: Cli, dsn: str, plan_name: str) -> None:
    with streaming(tour) as service, psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("""UPDATE "Lager"."Preis" SET "Betrag" = 7 WHERE "ArtikelNr" = 'A-9'""")
        tour.eventually("reconcile")
        assert service.stop() == 0
    with psycopg.connect(dsn, autocommit=True) as conn:
        for block in blocks("sql", plan_name):
            if "pg_drop_replication_slot" in block or "DELETE FROM cutover.plan" in block:
                run_block(conn, block)
        conn.execute("SELECT pg_logical_emit_message(false, 'test', repeat('x', 100000))")
    with streaming(tour) as service:
        assert tour.run("status", "--json").document["slot"]["gap"] is None
        tour.run("doctor")
        assert service.stop() == 0
    with tour.start("run") as service:  # and it stays none, when the end of each partition is looked at once more
        service.wait_for("capturing")
        tour.eventually("doctor")


@ONE
def test_l2_a_log_that_was_moved_away_comes_back(tour: Cli, log_address: str) -> None:
    """Nobody who looks puts an empty one in its place, beside whose WAL the old one would be another."""
    path = Path(log_address.removeprefix("sqlite:///"))
    away = path.with_name("away")
    with streaming(tour) as service:
        assert service.stop() == 0
    away.mkdir()
    files = [each for each in path.parent.iterdir() if each.name.startswith(path.name)]
    for each in files:
        each.rename(away / each.name)
    assert "is not there" in tour.run("status", "--json").document["slot"]["gap"]
    (problem,) = [each for each in tour.run("doctor", "--json", code=5).document["problems"] if "log" in each["what"]]
    assert "move it back" in problem["hint"]
    for command in ("capture", "consume", "prepare"):
        assert "is not there" in tour.run(command, code=5).said
    assert not path.exists()
    for each in files:
        (away / each.name).rename(each)
    with tour.start("run") as service:
        service.wait_for("capturing")
        tour.eventually("doctor")


@pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
def test_doctor_knows_a_process_that_begins_anew_from_none_at_all(tour: Cli, dsn: str) -> None:
    """It was at work when the plan was prepared a moment ago. The times are set an hour ahead, so that none runs out."""
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service:
        service.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile")
        assert service.stop() == 0

    def doctor(code: int, at_work: str | None = "0 s", prepared: str = "0 s") -> set[tuple[str, str, str]]:
        with psycopg.connect(dsn) as conn:
            conn.execute("UPDATE cutover.event SET at = now() - interval '1 day'")
            conn.execute("UPDATE cutover.plan SET prepared_at = now() + '1 hour' + %s::interval", (prepared,))
            conn.execute(
                "UPDATE cutover.position SET applied_time = now() + '1 hour' + %s::interval,"
                " updated_at = now() + '1 hour' + %s::interval",
                (at_work, at_work or "0 s"),  # a position has a time of its making
            )
        found = tour.run("doctor", "--json", code=code).document["problems"]
        return {(each["severity"], each["what"].split(" partition")[0], each["cure"]) for each in found}

    restart = {
        ("lag", "capture starts again", "cutover doctor"),
        ("lag", "the consumers of product start again", "cutover doctor"),
    }
    gone = {
        ("broken", "capture is not running", "cutover capture"),
        ("broken", "nobody consumes", "cutover consume"),
    }
    assert doctor(3) == restart
    assert doctor(3, at_work="-20 s") == restart
    assert doctor(5, at_work="-40 s") == gone  # they had fallen before
    assert doctor(5, at_work="2 s") == {
        *_of(restart, "capture"),
        *_of(gone, "consume"),
    }  # these never go on with the old
    assert doctor(5, at_work="4 s") == gone  # they had begun anew, and fell afterwards
    assert doctor(5, at_work="-2 hours", prepared="-2 hours") == gone  # it was long ago
    assert doctor(5, at_work=None) == gone  # nobody has ever been
    with psycopg.connect(dsn) as conn:
        conn.execute("DELETE FROM cutover.event WHERE what = 'prepare'")
    assert doctor(5) == gone  # prepared for the first time, there is nobody who would begin anew


@pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
def test_doctor_knows_consumers_that_take_up_what_was_healed(tour: Cli, dsn: str, plan_name: str) -> None:
    """A consumer lives, and takes the partitions up again one after the other. The event is set an hour ahead."""
    tour.run("prepare", "--set-identity")
    present = "SELECT pg_advisory_lock_shared(1668641904, hashtext(%s))"  # as `consumers.lease` has it

    def consumers() -> list[tuple[str, str]]:
        found = tour.run("doctor", "--json", code=5).document["problems"]
        return [(each["severity"], each["what"]) for each in found if "consume" in each["what"]]

    nobody = [("broken", "nobody consumes partitions 0, 1, 2, 3 of product")]
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(present, (plan_name,))
        assert consumers() == nobody  # it was not healed
        heal = "INSERT INTO cutover.event (at, plan, move, what) VALUES (now() + '1 hour', %s, 'product', 'heal')"
        conn.execute(heal, (plan_name,))
        assert consumers() == [("lag", "the consumers of product start again")]
        conn.execute("UPDATE cutover.event SET at = now() - interval '31 s'")
        assert consumers() == nobody  # that is too long
        conn.execute("UPDATE cutover.event SET at = now() + interval '1 hour' WHERE what = 'heal'")
        conn.execute("SELECT pg_advisory_unlock_shared(1668641904, hashtext(%s))", (plan_name,))
        assert consumers() == nobody  # there is no consumer


def _of(problems: set[tuple[str, str, str]], word: str) -> set[tuple[str, str, str]]:
    return {each for each in problems if word in each[1]}
