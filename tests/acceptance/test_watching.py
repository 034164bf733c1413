"""`reconcile --watch`: pass after pass, two of them at once, killed or stopped, and nothing left behind but history."""

from __future__ import annotations

import signal
import time

import psycopg
import pytest

from tests.acceptance.command import Cli

ONE = pytest.mark.parametrize(("server", "log_address"), [("pg15", "sqlite")], indirect=True, ids=["pg15-sqlite"])
RUNS = "SELECT count(*) FROM cutover.reconcile_run WHERE verdict = %s"
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^cutover reconcile' AND datname = current_database()"


def wait_for(dsn: str, query: str, parameters: tuple[object, ...], at_least: int, at_most: int = 1_000_000) -> None:
    deadline = time.monotonic() + 60
    with psycopg.connect(dsn, autocommit=True) as conn:
        while True:
            row = conn.execute(query.encode(), parameters).fetchone()
            if row is not None and at_least <= row[0] <= at_most:
                return
            assert time.monotonic() < deadline, row
            time.sleep(0.02)


@ONE
def test_two_watch_at_once_one_is_killed_and_one_is_stopped(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service:
        service.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile")
        with tour.start("reconcile", "--watch", "--share", "1") as first, tour.start("reconcile", "--watch") as second:
            wait_for(dsn, RUNS, ("match",), 4)
            with psycopg.connect(dsn, autocommit=True) as conn:
                conn.execute("""UPDATE "Lager".product SET price = -1 WHERE sku = 'A-7'""")
            wait_for(dsn, RUNS, ("drift",), 1)
            assert first.stop(signal.SIGKILL) == -signal.SIGKILL
            assert second.stop(signal.SIGTERM) == 0
        wait_for(dsn, SESSIONS, (), 0, 0)
        tour.run("reconcile", "--repair")
        assert service.stop() == 0


@ONE
def test_watching_goes_without_what_is_done_once(tour: Cli) -> None:
    tour.run("prepare", "--set-identity")
    assert "--repair" in tour.run("reconcile", "--watch", "--repair", code=2).said
