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
