"""C3: the database is set back to an earlier time, with its slot and all that the service recorded in it.

What the log has beyond that time never was; nothing in the database knows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cdc.replication import lsn_number
from cdc.tail import read_tail
from sql.errors import Gap
from tests.integration.rig import Rig, prepared
from tests.integration.test_gaps import heal, recorded_gap, write
from tests.services.databases import fresh_database
from tests.services.postgres import LocalPostgres


@pytest.fixture
def files() -> Iterator[LocalPostgres]:
    """A server whose files are within reach: a process of this machine whatever the other servers are."""
    with LocalPostgres(18) as server:
        yield server


@pytest.fixture
def rig(files: LocalPostgres, plan_name: str, log_address: str, tmp_path: Path) -> Iterator[Rig]:
    with fresh_database(files) as dsn, prepared(Rig(dsn, plan_name, log_address, tmp_path)) as rig:
        yield rig


def lose_history(rig: Rig, files: LocalPostgres, changes: Callable[[], None]) -> None:
    """Stream something; then `changes` reach the log, and the database is as it was before them."""
    running = [rig.capture(), rig.consume()]
    write(rig, 1)
    rig.drain()
    assert rig.stop(*running) == []
    rig.conn.close()
    files.stop()
    files.save()
    files.start()
    rig.reconnect()
    capture = rig.capture()
    changes()
    reached = lsn_number(insert_lsn(rig))
    rig.conn.execute("SELECT pg_logical_emit_message(true, 'cutover', 'watermark')")
    while read_tail(rig.log, rig.plan.moves, 0).reaches < reached:
        rig.conn.execute("SELECT pg_sleep(0.05)")
    assert rig.stop(capture) == []
    rig.conn.close()
    files.stop("immediate")
    files.set_back()
    files.start()
    rig.reconnect()


def insert_lsn(rig: Rig) -> str:
    row = rig.conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None
    return str(row[0])


def prove_healed(rig: Rig) -> None:
    heal(rig)
    running = [rig.capture(), rig.consume()]
    write(rig, 3)
    rig.drain()
    assert rig.differences() == {}
    assert rig.stop(*running) == []


def applied_is_true(rig: Rig) -> bool:
    """Does no partition claim to have applied what this server has not written yet?"""
    row = rig.conn.execute(
        "SELECT bool_and(applied_lsn <= pg_current_wal_insert_lsn()) FROM cutover.position"
    ).fetchone()
    return row == (True,)


def test_c3_capture_finds_that_the_log_is_ahead_of_the_wal(rig: Rig, files: LocalPostgres) -> None:
    lose_history(rig, files, lambda: write(rig, 2))
    (error,) = rig.ended(rig.capture())
    assert isinstance(error, Gap)
    assert "set back" in recorded_gap(rig)
    prove_healed(rig)


def test_c3_a_consumer_finds_that_the_log_is_ahead_of_the_wal(rig: Rig, files: LocalPostgres) -> None:
    lose_history(rig, files, lambda: write(rig, 2))
    (error,) = rig.ended(rig.consume())
    assert isinstance(error, Gap)
    assert "set back" in recorded_gap(rig)
    assert applied_is_true(rig)
    prove_healed(rig)


def test_c3_capture_finds_that_the_logs_newest_commit_never_was(rig: Rig, files: LocalPostgres) -> None:
    """The database has gone on before anybody looked: its WAL is longer than the log's, and another one."""
    lose_history(rig, files, lambda: write(rig, 2))
    for _ in range(4):
        write(rig, 4)
    capture = rig.capture()
    (error,) = rig.ended(capture)
    assert isinstance(error, Gap)
    assert "set back" in recorded_gap(rig)
    prove_healed(rig)
    assert applied_is_true(rig)


def test_c3_a_server_that_crashed_is_not_set_back(rig: Rig, files: LocalPostgres) -> None:
    """Its slot may be behind what it was told; the log's commits come again, the same."""
    running = [rig.capture(), rig.consume()]
    for round_ in range(3):
        write(rig, round_)
        files.stop("immediate")
        files.start()
        rig.reconnect()
    rig.drain(120)
    assert rig.stop(*running) == []
    assert rig.differences() == {}
    assert rig.conn.execute("SELECT gap FROM cutover.plan").fetchone() == (None,)
