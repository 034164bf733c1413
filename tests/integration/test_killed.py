"""Killed at any point, the same command goes on, and the application does not wait for the dead."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutover.facade import facade_columns
from cutover.flip import flip
from sql.connection import Connection, connect
from sql.errors import Unreachable
from sql.facade import facade_of
from sql.lock import with_lock
from tests.integration.background import Background
from tests.integration.once import start
from tests.integration.prepared import Prepared, small_world
from tests.integration.small_plan import FACADE, PRICE

_LARGEST_STEP = 60
_COUNT = f"SELECT count(*) FROM {FACADE.sql}"


@pytest.fixture
def world(dsn: str, plan_name: str, tmp_path: Path) -> Iterator[Prepared]:
    with small_world(dsn, plan_name, tmp_path) as world:
        yield world


def test_prepare_killed_again_and_again_ends_like_one_that_was_not(world: Prepared) -> None:
    address = world.log.address
    killed = 0
    for step in range(1, _LARGEST_STEP, 2):
        done = start("prepare", world.dsn, world.plan.name, address, f"prepare.after-step:{step}")
        # The application's statements work in every state in between (C4).
        world.conn.execute(f"UPDATE {PRICE.sql} SET note = %s WHERE id <= 3", (f"step {step}",))
        world.conn.execute(f"DELETE FROM {PRICE.sql} WHERE id = %s", (90 - step,))
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        killed += 1
    assert killed >= 5
    assert world.prepare().steps == []
    assert world.value(_COUNT) == 100
    assert world.value("SELECT count(*) FROM pg_publication_rel") == 3
    assert world.value("SELECT gap FROM cutover.plan") is None
    assert world.value("SELECT consistent_point = confirmed_lsn FROM cutover.plan") is True


def test_s2_killed_while_it_holds_the_lock(world: Prepared) -> None:
    world.prepare()
    world.open_gate()
    address = world.log.address
    with LongestWait(world, _COUNT) as waits:
        done = start("flip", world.dsn, world.plan.name, address, "flip.before-commit")
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        assert world.value("SELECT side FROM cutover.move WHERE move = 'part'") == "legacy"
        world.value(_COUNT)
    assert max(waits) < 1.5, max(waits)
    done = start("flip", world.dsn, world.plan.name, address, "flip.after-commit")
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert world.value("SELECT side FROM cutover.move WHERE move = 'part'") == "consolidated"
    assert flip(world.dsn, world.plan, "part", "consolidated").steps == ()


def test_s2_frozen_while_it_holds_the_lock(world: Prepared) -> None:
    """The server takes the lock back from a client that has stopped talking."""
    world.prepare()
    part = world.plan.move("part")
    statement = facade_of(part, facade_columns(world.conn, part)).statement(100)

    def freeze(conn: Connection) -> None:
        conn.execute(statement.encode())
        time.sleep(3)
        conn.execute("SELECT 1")

    with LongestWait(world, _COUNT) as waits, connect(world.dsn, "frozen") as conn, pytest.raises(Unreachable):
        with_lock(conn, [FACADE], freeze)
    assert max(waits) < 1.5, max(waits)  # not the three seconds of the freeze
    assert world.value(f"SELECT count(price) FROM {FACADE.sql}") == 100


class LongestWait:
    """Runs a query again and again in a session of its own; how long each took, in seconds."""

    def __init__(self, world: Prepared, query: str) -> None:
        self.world, self.query = world, query
        self.waits: list[float] = []
        self.stop = threading.Event()

    def __enter__(self) -> list[float]:
        self.reading = Background(self._read)
        return self.waits

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        assert self.reading.join() is None

    def _read(self) -> None:
        with connect(self.world.dsn, "reader") as reader:
            while not self.stop.is_set():
                began = time.monotonic()
                reader.execute(self.query.encode())
                self.waits.append(time.monotonic() - began)
