"""The continuous pass of `cutover run`: it proves, finds, ends what was open, keeps its place, and there is one of it."""

from __future__ import annotations

import json
import signal

import psycopg
import pytest

from cutover.embedded import free_port
from tests.acceptance.command import Cli
from tests.acceptance.test_metrics import series, until
from tests.acceptance.test_watching import wait_for

ONE = pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
BOTH = pytest.mark.parametrize(
    ("server", "log_address"), [("pg18", "sqlite"), ("pg15", "kafka")], indirect=True, ids=["pg18-sqlite", "pg15-kafka"]
)
RUNS = "SELECT count(*) FROM cutover.reconcile_run WHERE verdict = %s"
STANDING = "SELECT count(*) FROM cutover.difference WHERE gone_at IS NULL AND verdict = %s"
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1668641906 AND granted AND %s"
FAST = {"CUTOVER_RECONCILE_SHARE": "1", "CUTOVER_RECONCILE_EVERY": "0.2"}


@BOTH
def test_the_pass_proves_and_finds_and_sees_it_mended(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    port = free_port()
    with (
        tour.start("run", "--metrics-port", str(port), **FAST) as service,
        psycopg.connect(dsn, autocommit=True) as conn,
    ):
        service.wait_for("capturing")
        assert "never reconciled" in tour.run("status").out
        tour.run("backfill")
        wait_for(dsn, RUNS, ("match",), 2)
        tour.eventually("flip", "product", "--to", "consolidated")  # it is as good a proof as any
        tour.run("flip", "product", "--to", "legacy")
        conn.execute("""UPDATE "Lager".product SET price = -1 WHERE sku IN ('A-7', 'A-8')""")
        wait_for(dsn, STANDING, ("drift",), 2)
        until(lambda: series(port)["cutover_reconcile_drift_keys", "product"] == 2)
        status = tour.run("status", "--json").document["moves"][0]["proof"]
        assert (status["drift"], status["unproven"]) == (2, 0)
        assert "2 keys drift" in tour.run("status").out
        assert "product: 2 keys drift" in tour.run("doctor", code=5).out
        assert "2 keys" in service.log.read_text() or "differ" in service.log.read_text()
        tour.run("reconcile", "--repair")
        wait_for(dsn, STANDING, ("drift",), 0, 0)
        until(lambda: series(port)["cutover_reconcile_match", "product"] == 1)
        assert "match" in tour.run("status").out
        assert service.stop() == 0


@ONE
def test_one_of_two_runs_makes_the_pass_and_the_other_takes_over(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    with tour.start("run", **FAST) as first, tour.start("prove", "--share", "1", "--every", "0.2") as second:
        first.wait_for("capturing")
        tour.run("backfill")
        wait_for(dsn, RUNS, ("match",), 1)
        wait_for(dsn, LOCKS, (True,), 1, 1)
        second.stop(signal.SIGKILL)
        wait_for(dsn, LOCKS, (True,), 1, 1)
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("DELETE FROM cutover.reconcile_run")
        wait_for(dsn, RUNS, ("match",), 1)
        assert first.stop() == 0
    wait_for(dsn, LOCKS, (True,), 0, 0)


@ONE
def test_it_can_be_turned_off(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    with tour.start("run", "--verbose", CUTOVER_RECONCILE_SHARE="0") as service:
        service.wait_for("consume-1 started")
        service.wait_for("capturing")
        started = [json.loads(line)["message"] for line in service.log.read_text().splitlines() if "started as" in line]
        assert sorted(line.split()[0] for line in started) == ["capture", "consume-1", "refresh"]
        assert service.stop() == 0
