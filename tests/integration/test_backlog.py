"""A backlog is read by SQL before the stream begins; it may end anywhere, and nothing is lost."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg import conninfo

from cdc import advance, backlog, capture, confirming, control, frame, turn
from cdc.capture import Session
from cdc.control import Control
from cdc.replication import ReplicationStream, lsn_number
from sql.connection import Connection, connect
from sql.errors import Busy
from sql.model import Plan
from tests.integration.rig import Rig, shop
from tests.integration.test_faultpoints import process, write
from tests.services.databases import fresh_database
from tests.services.postgres import PostgresServer

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


@ONE
def test_a_slot_that_takes_long_to_move_holds_nothing_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server looks through WAL for as long as it likes: here until the test lets it go. Meanwhile the backlog is
    read to its end, applied, and capture is well."""
    held = "SELECT pg_advisory_lock_shared(4711), pg_catalog.pg_replication_slot_advance({slot}, {lsn})"
    monkeypatch.setattr(advance, "_ADVANCE", held)
    for name in ("ADVANCE", "CONFIRM_BUSY", "CONFIRM_IDLE"):
        monkeypatch.setattr(confirming, name, 0.0)
    monkeypatch.setattr(backlog, "FIRST", 500)
    monkeypatch.setattr(backlog, "GROWTH", 1)
    stood = rig.conn.execute(
        "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = %s", (rig.plan.slot,)
    )
    (before,) = stood.fetchone() or ("",)
    running = capture.Capture(rig.dsn, rig.plan, rig.open_log(), rig.compile)
    with connect(rig.dsn, "holder") as holder:
        holder.execute("SELECT pg_advisory_lock(4711)")
        rig.start(running.run)
        rig.wait_until(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND NOT granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
        )
        rig.consume()
        deadline = time.monotonic() + 60
        while rig.differences():
            assert time.monotonic() < deadline
            rig.conn.execute("SELECT pg_sleep(0.05)")
        for _ in range(3):
            beat = running.beat
            while running.beat == beat:
                rig.conn.execute("SELECT pg_sleep(0.01)")
        still = "SELECT confirmed_flush_lsn = %s FROM pg_replication_slots WHERE slot_name = %s"
        assert rig.conn.execute(still, (before, rig.plan.slot)).fetchone() == (True,)
        holder.execute("SELECT pg_advisory_unlock(4711)")
    write(rig, 99)
    rig.drain()
    assert rig.differences() == {}
    assert rig.stop() == []


@SQLITE
def test_a_server_without_room_for_a_portion_streams_it(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    name = conninfo.conninfo_to_dict(rig.dsn)["dbname"]
    rig.conn.execute(f"ALTER DATABASE {name} SET temp_file_limit = '64kB'".encode())
    rig.conn.execute(f"ALTER DATABASE {name} SET work_mem = '64kB'".encode())
    rig.capture()
    prove(rig)
    assert "it is streamed instead" in caplog.text


@SQLITE
def test_c13_who_reads_a_backlog_is_seen_to_capture(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `status`, health and reconcile, although nobody has the slot; and by another capture."""
    seen: list[object] = []
    whole = backlog.Backlog.read
    with connect(rig.dsn, "test") as conn:

        def read(self: backlog.Backlog, most: int) -> list[bytes]:
            seen.append(conn.execute("SELECT cutover.captured(%s)", (rig.name,)).fetchone())
            with pytest.raises(Busy, match="it reads the backlog"):
                second.alone()
            return whole(self, most)

        assert conn.execute("SELECT cutover.captured(%s)", (rig.name,)).fetchone() == (False,)
        second = Control(rig.dsn, rig.plan, rig.log)
        monkeypatch.setattr(backlog.Backlog, "read", read)
        rig.capture()
        prove(rig)
        second.close()
    assert set(seen) == {(True,)}


@ONE
def test_c13_who_is_frozen_within_a_backlog_does_not_keep_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or vanishes with its machine: the server does not miss it for hours. Another capture reads the backlog; woken, the
    first one leaves it alone."""
    frozen, woken, first = threading.Event(), threading.Event(), threading.get_ident()
    whole = backlog.Backlog.read

    def read(self: backlog.Backlog, most: int) -> list[bytes]:
        nonlocal first
        if not frozen.is_set():
            first = threading.get_ident()
            frozen.set()
        if threading.get_ident() == first:
            assert woken.wait(60)
        return whole(self, most)

    monkeypatch.setattr(backlog.Backlog, "read", read)
    monkeypatch.setattr(control, "SILENCE", "1s")
    rig.capture()
    assert frozen.wait(60)
    second = rig.capture()
    prove(rig)
    woken.set()
    write(rig, 99)
    rig.drain()
    assert rig.differences() == {}
    assert rig.stop(second) == []
    write(rig, 100)
    prove(rig)


@ONE
def test_c13_who_has_read_a_backlog_keeps_the_slot_and_nothing_else(rig: Rig) -> None:
    """A walsender of a machine that is gone ends by itself, and frees the slot."""
    rig.capture()
    prove(rig)
    rig.wait_until("SELECT active FROM pg_replication_slots WHERE slot_name = (SELECT slot FROM cutover.plan)")
    name = "SELECT hashtextextended('cutover.backlog.' || plan, 0) FROM cutover.plan"
    held = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND (classid::bigint << 32 | objid::bigint) = "
    rig.wait_until(f"SELECT NOT EXISTS ({held} ({name}))")


@SQLITE
def test_c13_a_slot_in_use_is_said(rig: Rig) -> None:
    """By a walsender: who would read the backlog does not begin."""
    stream = ReplicationStream(rig.dsn, rig.plan.slot, rig.plan.publication)
    control = Control(rig.dsn, rig.plan, rig.log)
    with pytest.raises(Busy, match="another capture runs: it has the slot"):
        control.alone()
    control.close()
    second = rig.capture()
    stream.close()
    prove(rig)
    assert rig.stop(second) == []


def test_a_server_without_a_slot_to_spare_streams_it(
    own_server: PostgresServer, plan_name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with fresh_database(own_server) as dsn, shop(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path) as rig:
        grow(rig)
        row = rig.conn.execute(
            "SELECT current_setting('max_replication_slots')::int - count(*) FROM pg_replication_slots"
        ).fetchone()
        assert row is not None
        for at in range(int(str(row[0])) - 1):
            rig.conn.execute("SELECT pg_create_physical_replication_slot(%s)", (f"taken_{at}",))
        rig.capture()
        prove(rig)
        assert "it is streamed instead" in caplog.text


@SQLITE
def test_nothing_is_left_of_the_copies_of_the_slot(rig: Rig) -> None:
    capture = rig.capture()
    prove(rig)
    assert rig.stop(capture) == []
    rig.wait_until("SELECT count(*) = 1 FROM pg_replication_slots WHERE database = current_database()")


@SQLITE
def test_a_transaction_larger_than_a_portion_stays_whole(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "FIRST", 10)
    monkeypatch.setattr(backlog, "GROWTH", 1)
    rig.conn.execute(
        "INSERT INTO shop.item (id, name) SELECT gen_random_uuid(), 'thing ' || n FROM generate_series(1, 5000) n"
    )
    rig.conn.execute("INSERT INTO shop.item_cost SELECT id, 1, 'EUR' FROM shop.item ON CONFLICT DO NOTHING")
    rig.capture()
    prove(rig)
    write(rig, 99)
    rig.drain()
    assert rig.differences() == {}


@SQLITE
def test_a_backlog_ends_with_a_watermark_in_every_partition(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer that is far behind waits a moment for what may still fall into its batch: now nothing will. It covers the
    last transaction, of which a backlog has no Commit message."""
    read = threading.Event()

    def follow(self: Session, stop: threading.Event, behind: bool) -> None:
        read.set()
        stop.wait()

    monkeypatch.setattr(Session, "_follow", follow)
    end = rig.conn.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert end
    capture = rig.capture()
    assert read.wait(60)
    for move in rig.plan.moves:
        records = rig.placed(move.name)
        for partition in range(move.partitions):
            last = [frame.decode(each.value) for each in records if each.partition == partition][-1]
            assert (last.kind, last.lsn >= lsn_number(end[0])) == (frame.WATERMARK, True)
    assert rig.stop(capture) == []


@SQLITE
def test_a_backlog_that_is_decoded_too_slowly_is_streamed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each portion begins to decode where the oldest open transaction does: a stream does so once."""
    monkeypatch.setattr(backlog, "FIRST", 10)
    monkeypatch.setattr(backlog, "MOST", 10)
    monkeypatch.setattr(backlog, "TOO_LONG", 0.0)
    rig.capture()
    prove(rig)
    assert "a transaction is open all the while; it is streamed instead" in caplog.text


@ONE
def test_the_stream_waits_for_consumers_behind_a_backlog(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came meanwhile is mostly their own, and cannot be applied before the backlog is."""
    waits = threading.Event()

    def patient(conn: Connection, plan: Plan, lsn: int, most: float, going: Callable[[float], bool]) -> bool:
        def watched(pause: float) -> bool:
            waits.set()
            return going(pause)

        return turn.consumed(conn, plan, lsn, 60.0, watched)

    monkeypatch.setattr(capture, "consumed", patient)
    monkeypatch.setattr(turn, "STILL", 60.0)
    monkeypatch.setattr(turn, "LONGEST", 60.0)
    active = "SELECT active FROM pg_replication_slots WHERE slot_name = (SELECT slot FROM cutover.plan)"
    with connect(rig.dsn, "holds the positions") as holder, holder.transaction():
        holder.execute("SELECT FROM cutover.position FOR UPDATE")
        rig.consume()
        rig.capture()
        assert waits.wait(60)
        assert rig.conn.execute(active).fetchone() == (False,)
    rig.drain()
    assert rig.differences() == {}
    assert rig.conn.execute(active).fetchone() == (True,)


@ONE
def test_the_stream_waits_for_nobody_who_stands_still(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """No consumer runs; or they have had their time; or capture is stopped."""
    looks = iter(range(1000))
    waiting = (rig.conn, rig.plan, (1 << 63) - 1)
    assert not turn.consumed(*waiting, 60.0, lambda _: next(looks) < 0)
    assert not turn.consumed(*waiting, 0.0, lambda _: next(looks) < 999)
    monkeypatch.setattr(turn, "STILL", 0.0)
    assert not turn.consumed(*waiting, 60.0, lambda _: next(looks) < 999)
    assert turn.consumed(rig.conn, rig.plan, 0, 60.0, lambda _: next(looks) < 999)


@ONE
def test_c3_the_turn_ends_before_the_slot_is_in_danger(rig: Rig) -> None:
    """Nobody moves the slot meanwhile, and the server keeps only so much WAL for it."""
    mine = "SELECT safe_wal_size, wal_status FROM pg_replication_slots WHERE slot_name = %s"
    looks = 0

    def written(_: float) -> bool:
        nonlocal looks
        looks += 1
        rig.conn.execute("SELECT pg_logical_emit_message(false, 'test', repeat('x', 4000000))")
        rig.conn.execute('UPDATE cutover.position SET "offset" = "offset" + 1, applied_offset = applied_offset + 1')
        return looks < 100

    try:
        rig.conn.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '160MB'")
        rig.conn.execute("SELECT pg_reload_conf()")
        rig.wait_until(f"SELECT safe_wal_size IS NOT NULL FROM ({mine}) s", (rig.plan.slot,))
        assert not turn.consumed(rig.conn, rig.plan, (1 << 63) - 1, 60.0, written)
        rig.conn.execute("CHECKPOINT")
        row = rig.conn.execute(mine, (rig.plan.slot,)).fetchone()
    finally:
        rig.conn.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
        rig.conn.execute("SELECT pg_reload_conf()")
    assert row is not None
    assert row[0] > 0, row
    assert 1 < looks < 100
