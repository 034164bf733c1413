"""Stopping and falling: the first signal finishes the batch in hand, and nobody outlives the command that started it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psycopg
import pytest

from cutover.restore.run import interrupted
from sql.names import Name
from tests.acceptance.command import Cli

ONE = pytest.mark.parametrize(("server", "log_address"), [("pg15", "sqlite")], indirect=True, ids=["pg15-sqlite"])
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ '^cutover '"
READY = {"capture": "capturing", "consume": "4 partitions", "run": "4 partitions"}


def wait_for_sessions(dsn: str, count: int, seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    with psycopg.connect(dsn, autocommit=True) as conn:
        while conn.execute(SESSIONS).fetchone() != (count,):
            assert time.monotonic() < deadline
            time.sleep(0.05)


@ONE
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
@pytest.mark.parametrize("command", list(READY))
def test_a_signal_ends_it_with_0(tour: Cli, dsn: str, command: str, number: signal.Signals) -> None:
    tour.run("prepare", "--set-identity")
    with tour.start(command) as running:
        running.wait_for(READY[command])
        assert running.stop(number) == 0
    wait_for_sessions(dsn, 0)


@ONE
def test_an_interrupted_backfill_ends_with_0_and_goes_on(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    with psycopg.connect(dsn) as conn:
        conn.execute(
            """INSERT INTO "Lager"."Artikel" SELECT 'sued', 'B-' || n, 'viel' FROM generate_series(1, 400000) n"""
        )
    with tour.start("backfill") as running:
        deadline = time.monotonic() + 60
        with psycopg.connect(dsn, autocommit=True) as conn:
            while conn.execute("SELECT done > 0 FROM cutover.backfill").fetchone() != (True,):
                assert time.monotonic() < deadline
                time.sleep(0.01)
        assert running.stop() == 0
    first = tour.run("status", "--json").document["moves"][0]["backfill"]
    assert not first["finished"]
    rest = tour.run("backfill", "--json").document
    assert rest["finished"]
    assert rest["touched"]["product"] + first["done"] == 401_000


@ONE
def test_an_interrupted_restore_says_what_it_has_done(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    with tour.start("restore", '"Lager"."Preis"', "--at", "1s", "--into", "public.back") as running:
        wait_for_sessions(dsn, 1)  # nobody captures, so it waits for the log
        assert running.stop(signal.SIGINT) == 1
        assert json.loads(running.log.read_text())["message"] == "interrupted: nothing was restored"
    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE TABLE back AS SELECT 1 AS x")
    assert "and public.back has rows" in interrupted(dsn, Name("public", "back")).args[0]
    assert "does not answer" in interrupted("host=127.0.0.1 port=1", Name("public", "back")).args[0]


@ONE
def test_consumers_stop_when_the_supervisor_is_killed(tour: Cli, dsn: str) -> None:
    """S2: nothing goes on behind the back of whoever started it."""
    tour.run("prepare", "--set-identity")
    with tour.start("run") as running:
        running.wait_for("4 partitions")
        running.wait_for("capturing")
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
        wait_for_sessions(dsn, 0)


@ONE
def test_a_child_that_is_killed_comes_back(tour: Cli) -> None:
    tour.run("prepare", "--set-identity")
    with tour.start("run") as running:
        running.wait_for("4 partitions")
        tour.run("backfill")
        tour.eventually("reconcile")
        worker = tour.run("status", "--json").document["moves"][0]["partitions"][0]["worker"]
        os.kill(int(worker.rpartition(":")[2]), signal.SIGKILL)
        running.wait_for("ended with signal 9")
        tour.run("backfill")
        tour.eventually("reconcile")
        assert running.stop() == 0


@ONE
def test_two_captures_at_once(tour: Cli, dsn: str) -> None:
    """C13: one has the slot; the other waits, saying who holds it, and takes over when it is free."""
    tour.run("prepare", "--set-identity")
    with tour.start("capture") as first:
        first.wait_for("capturing")
        with psycopg.connect(dsn, autocommit=True) as conn:
            holder = conn.execute(
                "SELECT active_pid FROM pg_replication_slots WHERE slot_name ~ '^cutover_t'"
            ).fetchone()
        assert holder is not None
        with tour.start("capture") as second:
            second.wait_for(str(holder[0]))
            assert first.stop() == 0
            second.wait_for("capturing")
            assert second.stop() == 0


@ONE
def test_watching_ends_with_0(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    with tour.start("status", "--watch") as watching:
        wait_for_sessions(dsn, 1)
        assert watching.stop(signal.SIGINT) == 0


@pytest.mark.parametrize("command", ["status", "doctor"])
def test_an_interruption_at_the_start_is_told(command: str) -> None:
    """Before the command has begun, while its group is imported."""
    script = (
        "import signal, sys, cutover.cli as cli; begin = cli.load;"
        "cli.load = lambda group: (signal.raise_signal(signal.SIGINT), begin(group))[1];"
        "cli.main()"
    )
    ran = subprocess.run([sys.executable, "-c", script, command], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert [json.loads(line)["message"] for line in ran.stderr.splitlines()] == ["interrupted"]


@ONE
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_s2_a_flip_that_is_interrupted_before_its_report_says_that_it_was_done(
    tour: Cli, dsn: str, number: signal.Signals
) -> None:
    tour.run("prepare", "--set-identity")
    with psycopg.connect(dsn) as conn:
        conn.execute("UPDATE cutover.move SET side = 'consolidated', percent = 100 WHERE move = 'product'")
    script = (
        "import signal, cutover.cli as cli, cutover.commands.switch as switch; render = switch.render_flip;"
        f"switch.render_flip = lambda report: (signal.raise_signal({int(number)}), render(report))[1];"
        "cli.main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, "flip", "product", "--to", "legacy"],
        cwd=tour.folder,
        env=tour._environment({}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    said = [json.loads(line)["message"] for line in ran.stderr.splitlines()]
    assert said == ["interrupted, and it was done already: 0 % of the sessions read product's consolidated side"]
