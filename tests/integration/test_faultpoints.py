"""Every named point at which a process of the stream may die: it does, with SIGKILL, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sql import faultpoints
from tests.integration.rig import Rig, shop

STREAM = [point for point in faultpoints.POINTS if point.split(".")[0] in ("capture", "consume", "backfill")]


@pytest.fixture
def rig(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> Iterator[Rig]:
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        yield rig


@contextmanager
def process(rig: Rig, command: str, fault: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """The command as a user starts it, with a fault point armed or none."""
    environment = {
        **os.environ,
        "CUTOVER_DSN": rig.dsn,
        "CUTOVER_LOG": rig.address,
        "CUTOVER_PLAN": str(rig.folder),
        "CUTOVER_FAULT": fault,
    }
    child = subprocess.Popen([sys.executable, "-m", "cutover", command], env=environment, stdout=subprocess.DEVNULL)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
        child.wait(30)


def write(rig: Rig, round_: int) -> None:
    """One-row and multi-row transactions over all sources."""
    rig.conn.execute("INSERT INTO shop.item (id, name) SELECT gen_random_uuid(), 'thing' FROM generate_series(1, 20)")
    rig.conn.execute(
        "INSERT INTO shop.item_cost SELECT id, %s, 'EUR' FROM shop.item ON CONFLICT (item_id) DO UPDATE SET cost = excluded.cost",
        (round_,),
    )
    rig.conn.execute(
        "INSERT INTO shop.payment (ref, amount) SELECT %s::text || '-' || n, n FROM generate_series(1, 20) n", (round_,)
    )
    rig.conn.execute("DELETE FROM shop.payment WHERE random() < 0.3")


@pytest.mark.parametrize("point", STREAM)
def test_dying_at_a_fault_point_loses_nothing(rig: Rig, point: str) -> None:
    """The process dies there, another takes its place, and both sides end equal."""
    command = point.split(".")[0]
    runs: dict[str, Callable[[], object]] = {"capture": rig.capture, "consume": rig.consume, "backfill": rig.backfill}
    for name in ("capture", "consume"):
        if name != command:
            runs[name]()
    write(rig, 0)
    with process(rig, command, point) as victim:
        deadline = time.monotonic() + 60
        while victim.poll() is None:
            assert time.monotonic() < deadline, f"{point} is not reached"
            write(rig, 1)
            with suppress(subprocess.TimeoutExpired):
                victim.wait(0.3)
        assert victim.returncode == -signal.SIGKILL
    write(rig, 2)
    runs[command]()
    rig.drain()
    assert rig.differences() == {}
