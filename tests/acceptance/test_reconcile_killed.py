"""`reconcile` killed -9 wherever it is: nothing stays but its history, one beside it goes on, and the next one is right."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.acceptance.command import Cli
from tests.acceptance.test_watching import SESSIONS, wait_for

ONE = pytest.mark.parametrize(("server", "log_address"), [("pg15", "sqlite")], indirect=True, ids=["pg15-sqlite"])
REPAIRS = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^cutover repair' AND datname = current_database()"
)
DRIFT = """UPDATE "Lager".product SET price = -1 WHERE sku = 'A-7'"""
PLAIN = ["in-snapshot", "before-proof", "in-marker", "in-proof", "before-record", "after-record"]
KILLS = [
    *((f"reconcile.{point}", ("reconcile",)) for point in PLAIN),
    *((f"reconcile.{point}", ("reconcile", "--watch", "--share", "1")) for point in ("in-snapshot:3", "in-proof", "after-record")),
]  # fmt: skip
REPAIR = ["repair.after-record", "repair.after-touch", "reconcile.in-snapshot"]
# What a dead session could leave: whatever holds back vacuum, a lock, a slot, a temporary table.
LEFT = """
SELECT (SELECT count(*) FROM pg_stat_activity a WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
           AND a.application_name ~ '^cutover (reconcile|repair)')
     + (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database())
     + (SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) JOIN pg_database d ON d.oid = l.database
         WHERE d.datname = current_database() AND a.application_name ~ '^cutover (reconcile|repair)')
     + (SELECT count(*) FROM pg_class WHERE relpersistence = 't')
"""
OBJECTS = """
SELECT relnamespace::regnamespace::text, relname FROM pg_class
 WHERE relnamespace::regnamespace::text !~ '^pg_' UNION ALL SELECT 'slot', slot_name FROM pg_replication_slots ORDER BY 1, 2
"""


@ONE
def test_killed_at_every_point_it_leaves_its_history_alone(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    with (
        tour.start("run") as service,
        psycopg.connect(dsn, autocommit=True) as conn,
        tour.start("reconcile", "--watch", "--share", "1") as beside,  # two at once: it is to go on all the while
    ):
        service.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile")
        before = conn.execute(OBJECTS).fetchall()

        def killed(fault: str, command: tuple[str, ...]) -> None:
            ran = tour.run(*command, code=None, CUTOVER_FAULT=fault)
            assert ran.code == -signal.SIGKILL, (fault, ran.code, ran.err)
            assert beside.process.poll() is None, fault

        conn.execute(DRIFT.encode())
        with ThreadPoolExecutor(3) as threads:
            list(threads.map(killed, *zip(*KILLS, strict=True)))
        for fault in REPAIR:
            conn.execute(DRIFT.encode())
            killed(fault, ("reconcile", "--repair"))
        assert beside.stop() == 0
        wait_for(dsn, SESSIONS, (), 0, 0)
        wait_for(dsn, REPAIRS, (), 0, 0)
        assert conn.execute(LEFT.encode()).fetchone() == (0,)
        assert conn.execute(OBJECTS).fetchall() == before
        tour.run("reconcile", "--repair")
        tour.run("reconcile")
        assert service.stop() == 0
