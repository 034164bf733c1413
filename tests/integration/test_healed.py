"""After a heal `cutover.wait_for` says what is true: of what capture left out meanwhile, only the touches tell."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cdc import capture, confirming
from cdc.capture import Capture
from consumers import worker
from cutover.heal import heal as heal_with
from sql.errors import Unreachable
from sql.files import load
from sql.model import Move, Plan
from tests.integration.rig import Rig, shop
from tests.integration.test_gaps import heal
from tests.integration.test_stream import items

ONE = pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
LOGS = pytest.mark.parametrize(
    ("server", "log_address"), [("pg15", "sqlite"), ("pg15", "kafka")], indirect=True, ids=["pg15-sqlite", "pg15-kafka"]
)
HALTED = "SELECT halted IS NOT NULL FROM cutover.move WHERE plan = %s AND move = 'item'"


@pytest.fixture
def rig(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> Iterator[Rig]:
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        rig.capture()
        rig.consume()
        items(rig, 20)
        rig.backfill()
        rig.drain()
        yield rig


def swap(rig: Rig) -> None:
    """Another table takes a source's name, as a tool does that copies a table and renames both."""
    with rig.conn.transaction():
        rig.conn.execute("ALTER TABLE shop.item_state RENAME TO item_state_old")
        rig.conn.execute("CREATE TABLE shop.item_state (LIKE shop.item_state_old INCLUDING ALL)")
        rig.conn.execute(
            "INSERT INTO shop.item_state (item_id, state, note) SELECT item_id, state, note FROM shop.item_state_old"
        )
    rig.wait_until(HALTED, (rig.name,))


def now(rig: Rig) -> str:
    row = rig.conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None
    return str(row[0])


def wait_for(rig: Rig, lsn: str, timeout: str) -> None:
    rig.conn.execute("SELECT cutover.wait_for(%s::pg_lsn, %s, 'item', %s)", (lsn, rig.name, timeout))


def look_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session of capture sees no heal, and confirms nothing."""
    monkeypatch.setattr(capture, "WATCH", 3600.0)
    for name in ("CONFIRM_BUSY", "CONFIRM_IDLE"):
        monkeypatch.setattr(confirming, name, 3600.0)


@ONE
def test_c10_what_an_old_session_of_capture_leaves_out_is_not_said_to_be_applied(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a heal and the moment in which capture sees it: here that moment does not come until the test says so."""
    swap(rig)
    look_no_more(monkeypatch)
    rig.prepare()
    heal(rig)
    rig.conn.execute("UPDATE shop.item_state SET state = 'after the heal'")
    rig.conn.execute("UPDATE shop.item_cost SET cost = 99")
    lsn = now(rig)
    with pytest.raises(psycopg.errors.RaiseException, match="is applied"):
        wait_for(rig, lsn, "1 s")
    monkeypatch.undo()
    wait_for(rig, lsn, "30 s")
    assert rig.difference("item") == []
    assert rig.conn.execute("SELECT DISTINCT state FROM shop.item").fetchall() == [("after the heal",)]
    assert rig.stop() == []


@LOGS
def test_l2_the_end_of_a_log_is_not_lost_because_a_move_stands_still(rig: Rig) -> None:
    """Capture confirms what the others have, is stopped and started again, and knows the halted move's partitions."""
    swap(rig)
    # One that has yet to see the halt could be stopped between two sessions, and confirm nothing.
    assert rig.stop() == []
    rig.capture()
    rig.consume()
    for round_ in range(3):
        rig.conn.execute("INSERT INTO shop.payment (ref, amount) VALUES (%s, 1)", (f"meanwhile {round_}",))
        rig.conn.execute("UPDATE shop.item_cost SET cost = %s", (round_,))
        lsn = now(rig)
        rig.wait_until("SELECT cutover.applied_lsn(%s, 'ledger') >= %s::pg_lsn", (rig.name, lsn))
        assert rig.stop() == []
        confirmed = "SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots WHERE slot_name = %s"
        rig.wait_until(confirmed, (lsn, rig.plan.slot))
        rig.capture()
        rig.consume()
    rig.prepare()
    heal(rig)
    rig.conn.execute("UPDATE shop.item_state SET state = 'after the heal'")
    rig.drain()
    assert rig.differences() == {}
    assert rig.stop() == []


@ONE
def test_what_only_touches_tell_is_waited_for(rig: Rig) -> None:
    """A heal that was ended before its touches: what was written before it is asked for in vain until they are made.
    What is written after it is in the log, and is not held back."""
    swap(rig)
    rig.conn.execute("UPDATE shop.item_state SET state = 'left out'")
    rig.prepare()
    before = now(rig)
    heal_with(rig.conn, rig.plan, [], rig.log, lambda move: False, threading.Event())
    rig.conn.execute("UPDATE shop.item_cost SET cost = 7")
    wait_for(rig, now(rig), "30 s")
    assert rig.difference("item") != []
    with pytest.raises(psycopg.errors.RaiseException, match="every key is being touched"):
        wait_for(rig, before, "200 ms")
    rig.backfill()
    wait_for(rig, before, "30 s")
    assert rig.difference("item") == []


@ONE
def test_l6_a_consumer_that_slept_through_a_heal_does_not_halt_the_move_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read a torn record, and is frozen before it says so. Another one has halted the move meanwhile, and an
    operator has healed it, past the record."""
    assert rig.stop() == []
    found, woken = threading.Event(), threading.Event()
    halt = worker.Session._halt

    def frozen(session: worker.Session, move: Move, why: str, **where: object) -> None:
        found.set()
        assert woken.wait(60)
        halt(session, move, why, **where)

    monkeypatch.setattr(worker.Session, "_halt", frozen)
    writer = rig.log.writer()
    writer.append(rig.move("item").topic, 1, b"\xff torn")
    assert writer.wait(writer.queued(), 30)
    writer.close()
    rig.capture()
    rig.consume()
    assert found.wait(30)
    other = {"why": "partition 1: torn", "lsn": "0/0", "plan": rig.name, "move": "item"}
    rig.conn.execute(load("capture/halt").encode(), other)
    heal(rig)
    woken.set()
    rig.conn.execute("UPDATE shop.item_cost SET cost = 12")
    rig.drain()
    assert rig.differences() == {}
    halts = "SELECT count(*) FROM cutover.event WHERE plan = %s AND what = 'halt'"
    assert rig.conn.execute(halts, (rig.name,)).fetchone() == (1,)
    writer = rig.log.writer()
    writer.append(rig.move("item").topic, 1, b"\xff torn again")  # what it sees since then counts
    assert writer.wait(writer.queued(), 30)
    writer.close()
    rig.wait_until(HALTED, (rig.name,))
    assert rig.stop() == []


@ONE
def test_c10_a_plan_that_could_not_be_read_anew_at_once_is_read_before_anything_else(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prepare and heal end a session, and the server takes no connection in that moment, twice. The next session must not halt
    the move again, as one would that knows the table which was swapped."""
    assert rig.stop() == []
    healed, reloaded = threading.Event(), threading.Event()
    refused = 0

    def reload() -> Plan:
        nonlocal refused
        if healed.is_set() and refused < 2:
            refused += 1
            raise Unreachable("sorry, too many clients already")
        plan = rig.compile()
        if healed.is_set():
            reloaded.set()
        return plan

    rig.start(Capture(rig.dsn, rig.plan, rig.open_log(), reload).run)
    rig.consume()
    items(rig, 1)
    rig.drain()  # they know the plan as it is before
    swap(rig)
    look_no_more(monkeypatch)
    rig.prepare()
    heal(rig)
    healed.set()
    monkeypatch.undo()
    assert reloaded.wait(30)
    rig.conn.execute("UPDATE shop.item_state SET state = 'after the heal'")
    rig.drain()
    assert rig.differences() == {}
    assert rig.stop() == []
    halts = "SELECT count(*) FROM cutover.event WHERE plan = %s AND what = 'halt'"
    assert rig.conn.execute(halts, (rig.name,)).fetchone() == (1,)
