"""Memory: what a process holds does not depend on how large a transaction is."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.acceptance.command import Cli

KAFKA = pytest.mark.parametrize(("server", "log_address"), [("pg18", "kafka")], indirect=True, ids=["pg18-kafka"])
GROW = """INSERT INTO "Lager"."Artikel" SELECT 'sued', 'B-' || n, repeat('x', 100) FROM generate_series(%s, %s) n"""
TARGET = """SELECT count(*) FROM "Lager".product WHERE tenant = 'sued'"""


def peak(pid: int) -> float:
    """The largest resident size so far, in MB (VmHWM, proc(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM")


@KAFKA
def test_c9_a_transaction_of_any_size_fits_in_bounded_memory(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    with (
        tour.start("capture") as capture,
        tour.start("consume") as consume,
        psycopg.connect(dsn, autocommit=True) as conn,
    ):
        peaks = []
        for first, last in ((1, 40_000), (40_001, 300_000)):
            conn.execute(GROW, (first, last))
            conn.execute(
                "SELECT cutover.wait_for(pg_current_wal_insert_lsn(), NULL, NULL, '2 minutes')",
            )
            peaks.append((peak(capture.process.pid), peak(consume.process.pid)))
        assert conn.execute(TARGET).fetchone() == (300_000,)
        (_, _), (captured, consumed) = peaks
        assert captured < 150, peaks
        assert consumed < 300, peaks
        assert capture.stop() == 0
        assert consume.stop() == 0
