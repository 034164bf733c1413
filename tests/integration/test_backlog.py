"""A backlog is read by SQL before the stream begins; it may end anywhere, and nothing is lost."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg import conninfo

from cdc import backlog
from sql.errors import Busy
from tests.integration.rig import Rig, shop
from tests.integration.test_faultpoints import process, write

SQLITE = pytest.mark.parametrize("log_address", ["sqlite"], indirect=True)
ONE = pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])


@pytest.fixture
def rig(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> Iterator[Rig]:
    """With changes of all kinds in many transactions, and enough WAL for a backlog."""
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        grow(rig)
        yield rig


def grow(rig: Rig) -> None:
    for round_ in range(20):
        write(rig, round_)
        rig.conn.execute("SELECT pg_logical_emit_message(true, 'test', repeat('x', 1000000))")


def prove(rig: Rig) -> None:
    rig.consume()
    rig.drain()
    assert rig.differences() == {}
    assert rig.conn.execute("SELECT gap FROM cutover.plan").fetchone() == (None,)


@SQLITE
def test_a_backlog_is_read_before_the_stream(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """In portions, each confirmed; then the stream goes on where they end."""
    caplog.set_level(logging.INFO)
    capture = rig.capture()
    prove(rig)
    write(rig, 99)
    rig.drain()
    assert rig.differences() == {}
    assert "has a backlog" in caplog.text
    assert rig.stop(capture) == []
    row = rig.conn.execute(
        "SELECT s.confirmed_flush_lsn <= p.confirmed_lsn FROM cutover.plan p JOIN pg_replication_slots s ON s.slot_name = p.slot"
    ).fetchone()
    assert row == (True,)


@SQLITE
def test_portions_end_at_commits_however_small(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "FIRST", 1)
    monkeypatch.setattr(backlog, "GROWTH", 1)
    monkeypatch.setattr(backlog, "WORTHWHILE", 1 << 20)
    rig.capture()
    prove(rig)


@ONE
@pytest.mark.parametrize("point", ["capture.after-append", "capture.before-confirm", "capture.after-confirm"])
@pytest.mark.parametrize("times", [1, 2])
def test_c1_killed_within_a_backlog(rig: Rig, point: str, times: int) -> None:
    for _ in range(times):
        with process(rig, "capture", point) as victim:
            assert victim.wait(60) == -signal.SIGKILL
        write(rig, 50)
    rig.capture()
    prove(rig)


@ONE
def test_c13_two_captures_of_one_backlog(rig: Rig) -> None:
    """The second does not begin while the first reads; both together lose nothing."""
    first = rig.capture()
    second = rig.capture()
    prove(rig)
    assert rig.stop(first) == []
    grow(rig)
    rig.drain()
    assert rig.differences() == {}
    assert rig.stop(second) == []


@SQLITE
def test_a_server_without_room_for_a_portion_streams_it(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    name = conninfo.conninfo_to_dict(rig.dsn)["dbname"]
    rig.conn.execute(f"ALTER DATABASE {name} SET temp_file_limit = '64kB'".encode())
    rig.conn.execute(f"ALTER DATABASE {name} SET work_mem = '64kB'".encode())
    rig.capture()
    prove(rig)
    assert "it is streamed instead" in caplog.text


@SQLITE
def test_c13_a_slot_in_use_is_said(rig: Rig) -> None:
    rig.capture()
    rig.wait_until("SELECT active FROM pg_replication_slots WHERE slot_name = %s", (rig.plan.slot,))
    it = backlog.Backlog(rig.dsn, rig.plan.slot, rig.plan.publication)
    with pytest.raises(Busy, match="another capture runs"):
        read_all(it)
    it.close()


def read_all(it: backlog.Backlog) -> None:
    it.begin()
    while it.pgconn.get_copy_data(0)[0] > 0:
        pass
    it.over()
