"""Every named point at which a process of the stream may die: it does, with SIGKILL, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
        "INSERT INTO shop.payment (ref, amount) SELECT %s || '-' || n, n FROM generate_series(1, 20) n", (round_,)
    )
    rig.conn.execute("DELETE FROM shop.payment WHERE random() < 0.3")


def test_every_fault_point_of_the_stream(rig: Rig) -> None:
    """For each point: the process dies there, is started again without the fault, and both sides end equal."""
    for round_, point in enumerate(STREAM, start=1):
        command = point.split(".")[0]
        others = [name for name in ("capture", "consume") if name != command]
        with process(rig, others[0]):
            with process(rig, command, f"{point}:2") as victim:
                write(rig, round_)
                write(rig, round_ + 100)
                if command == "backfill" or point.startswith("capture"):
                    write(rig, round_ + 200)
                if command == "backfill":
                    assert victim.wait(60) in (0, -signal.SIGKILL)
                else:
                    assert victim.wait(60) == -signal.SIGKILL, f"{point} was not reached"
            with process(rig, "capture" if command == "backfill" else command):
                with process(rig, "consume") if command == "backfill" else process(rig, "status"):
                    rig.drain()
                assert rig.differences() == {}, f"after dying at {point}"
