"""What a partition's records say that they reach: the slot is told no more, and a restart looks for it (L2)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cdc import confirming, frame, sorter
from tests.integration.rig import Rig, shop

ONE = pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])


def reached(rig: Rig, partition: int) -> list[int]:
    """By record, in order; a touch says nothing."""
    frames = [frame.decode(each.value) for each in rig.placed("item") if each.partition == partition]
    return [each.lsn for each in frames if each.lsn]


def until(rig: Rig, true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "not in the log within 60 s"
        rig.conn.execute("SELECT pg_sleep(0.05)")


@ONE
def test_l2_what_a_partition_reaches_never_falls_back(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watermark reaches beyond the last commit. So must the frames of a transaction that is not read whole: the slot may
    have been told of the watermark, and after a crash a log whose end reaches less would look as if it had lost it."""
    monkeypatch.setattr(sorter, "FRAME_BYTES", 2_000)
    for interval in ("CONFIRM_BUSY", "CONFIRM_IDLE"):
        monkeypatch.setattr(confirming, interval, 3600.0)  # capture's own commits would move the last commit on
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        running = rig.capture()
        rig.conn.execute("INSERT INTO shop.item (id, name) SELECT gen_random_uuid(), 'x' FROM generate_series(1, 50)")
        until(rig, lambda: any(frame.decode(each.value).kind == frame.CHANGES for each in rig.placed("item")))
        rig.conn.execute("SELECT pg_logical_emit_message(false, 'test', repeat('x', 10000))")  # WAL without a commit
        row = rig.conn.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
        assert row is not None
        marked = int(str(row[0]))
        rig.conn.execute("SELECT pg_logical_emit_message(false, 'cutover', 'watermark')")
        until(rig, lambda: all(max(reached(rig, at), default=0) >= marked for at in range(4)))
        before = len(reached(rig, 0))
        rig.conn.execute("INSERT INTO shop.item (id, name) SELECT gen_random_uuid(), 'x' FROM generate_series(1, 5000)")
        until(rig, lambda: len(reached(rig, 0)) > before + 20)
        assert rig.stop(running) == []
        for partition in range(4):
            assert reached(rig, partition) == sorted(reached(rig, partition))
