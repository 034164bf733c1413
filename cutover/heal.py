"""Heal: accept what an operator must decide (halts, gaps), make slot, topics and positions whole, touch every key.

1. Under one lock, see what is wrong: the slot, the log, its topics, the positions, halted moves.
2. Record the gap, so that nobody goes on meanwhile and a crash anywhere below leaves it recorded.
3. Make the slot anew when it is not the one that progress is bound to.
4. Make topics, and move positions that are outside the log to its first offset. Only what nobody can read is passed
   over: an unreadable record stands before the touches of step 5, which say all that it said.
5. Touch every key of every move concerned.
6. Clear the gap and the halts, and write down who did it. Until here the command can be repeated from the start.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg.types.json import Jsonb

from cdc import frame
from cdc.log import Log
from cdc.slot import check_slot, mark_gap, recreate_slot
from sql import faultpoints
from sql.connection import Connection, own
from sql.control import check
from sql.errors import Busy, Refused
from sql.files import load
from sql.model import Move, Plan

_LOG = logging.getLogger(__name__)
TouchEveryKey = Callable[[Move], bool]  # False: stopped before the end


@dataclass(frozen=True, slots=True)
class TopicState:
    """A move's topic as it is now, against what was recorded. `positions`: where reading goes on, by partition."""

    move: str
    identity: str | None
    replaced: bool
    positions: dict[int, int]  # only those that have to change


@dataclass(slots=True)
class Healing:
    """What was found and done. `gap`: why every move is touched; `halts`: move -> why it stood still."""

    gap: str | None = None
    halts: dict[str, str] = field(default_factory=dict)
    slot_recreated: bool = False
    topics_recreated: list[str] = field(default_factory=list)
    positions_moved: dict[str, dict[int, int]] = field(default_factory=dict)
    touched: list[str] = field(default_factory=list)
    finished: bool = False

    @property
    def needed(self) -> bool:
        return bool(self.gap or self.halts or self.positions_moved or self.topics_recreated)


def heal(
    conn: Connection, plan: Plan, moves: Sequence[str], log: Log, touch: TouchEveryKey, stop: threading.Event
) -> Healing:
    """Heal the named moves (none: all). A gap concerns every move, whichever were named.

    Idempotent; killed at any point, run it again. Raises Refused when the plan itself must be mended first, Busy
    when another heal runs or capture holds the slot that has to be made anew.
    """
    check(conn)
    with _alone(conn, plan.name):
        healing, topics = _examine(conn, plan, moves, log)
        if not healing.needed:
            healing.finished = True
            return healing
        _refuse_blocked(plan)
        if healing.gap:
            mark_gap(conn, plan, healing.gap)
            faultpoints.reached("heal.after-mark")
            if check_slot(conn, plan).gap:
                recreate_slot(conn, plan)
                healing.slot_recreated = True
                faultpoints.reached("heal.after-slot")
        _mend_log(conn, plan, log, topics, healing)
        concerned = [
            move for move in plan.moves if healing.gap or move.name in healing.halts.keys() | healing.positions_moved
        ]
        _restart_backfill(conn, plan, concerned)
        faultpoints.reached("heal.after-positions")
        for move in concerned:
            if stop.is_set() or not touch(move):
                return healing
            healing.touched.append(move.name)
            faultpoints.reached("heal.after-touch")
        _clear(conn, plan, concerned, healing)
        healing.finished = True
        return healing


@contextmanager
def _alone(conn: Connection, plan: str) -> Iterator[None]:
    key = f"cutover.heal {plan}"
    row = conn.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (key,)).fetchone()
    if not row or not row[0]:
        raise Busy(f"another heal of plan {plan} is running", cure="let it end")
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (key,))


def _examine(conn: Connection, plan: Plan, moves: Sequence[str], log: Log) -> tuple[Healing, list[TopicState]]:
    """Compare what is recorded with the slot and the log, and change nothing."""
    row = conn.execute("SELECT gap, log, log_identity FROM cutover.plan WHERE plan = %s", (plan.name,)).fetchone()
    if row is None:
        raise Refused(f"plan {plan.name} is not prepared in this database", cure="cutover prepare")
    gap, address, identity = row
    gap = gap or check_slot(conn, plan).gap
    if identity is not None and identity != log.identity():
        gap = gap or f"the log is another one: {log.address}, was {address}"
    halted = dict(
        conn.execute(
            "SELECT move, halted FROM cutover.move WHERE plan = %s AND halted IS NOT NULL", (plan.name,)
        ).fetchall()
    )
    healing = Healing(gap, {name: why for name, why in halted.items() if gap or not moves or name in moves})
    topics = list(_topics(conn, plan, log))
    for topic in topics:
        if topic.replaced:
            healing.gap = healing.gap or f"the topic of {topic.move} is not the one that prepare made"
        elif topic.positions and topic.move not in halted:
            healing.gap = healing.gap or f"positions of {topic.move} are outside the log"
    return healing, topics


def _topics(conn: Connection, plan: Plan, log: Log) -> Iterator[TopicState]:
    rows: list[tuple[Any, ...]] = conn.execute(load("status/topics").encode(), {"plan": plan.name}).fetchall()
    for _, _, move, topic, recorded, offsets, halted in rows:
        identity = log.topic_identity(topic)
        if identity is None or identity != recorded:
            yield TopicState(move, identity, True, dict.fromkeys(range(len(offsets)), 0))
            continue
        begins, ends = log.begin_offsets(topic), log.end_offsets(topic)
        outside = {
            partition: begins[partition]
            for partition, offset in enumerate(offsets)
            if not begins[partition] <= offset <= ends[partition]
        }
        at = {partition: offset for partition, offset in enumerate(offsets) if partition not in outside}
        unread = _behind_unreadable(log, topic, at, ends) if halted else {}
        yield TopicState(move, identity, False, outside | unread)


def _behind_unreadable(log: Log, topic: str, positions: dict[int, int], ends: Sequence[int]) -> dict[int, int]:
    """The offset behind the last unreadable record of each partition that has one between its position and its end."""
    behind: dict[int, int] = {}
    left = {partition: ends[partition] for partition, offset in positions.items() if offset < ends[partition]}
    reader = log.reader()
    try:
        reader.assign({(topic, partition): positions[partition] for partition in left})
        while left:
            for record in reader.poll(1.0):
                try:
                    frame.decode(record.value)
                except frame.UnreadableFrame:
                    behind[record.partition] = record.offset + 1
                if record.offset + 1 >= left.get(record.partition, 0):
                    left.pop(record.partition, None)
    finally:
        reader.close()
    return behind


def _refuse_blocked(plan: Plan) -> None:
    for finding in plan.findings:
        if finding.severity == "block":
            raise Refused(f"the plan must be mended first: {finding.message}", cure=finding.cure or "cutover plan")


def _mend_log(conn: Connection, plan: Plan, log: Log, topics: list[TopicState], healing: Healing) -> None:
    """Topics first, then positions and identities in one transaction: an old position never meets a new topic."""
    for topic in topics:
        if not topic.positions:
            continue
        move = plan.move(topic.move)
        identity = log.ensure_topic(move.topic, move.partitions)
        positions = dict(enumerate(log.begin_offsets(move.topic))) if topic.replaced else topic.positions
        with own(conn):
            conn.execute(load("heal/topic").encode(), {"plan": plan.name, "move": move.name, "identity": identity})
            conn.execute(
                load("heal/positions").encode(),
                {
                    "plan": plan.name,
                    "move": move.name,
                    "partitions": list(positions),
                    "offsets": list(positions.values()),
                },
            )
        healing.positions_moved[move.name] = positions
        if topic.replaced:
            healing.topics_recreated.append(move.name)
    with own(conn):
        conn.execute(
            "UPDATE cutover.plan SET log = %s, log_identity = %s WHERE plan = %s",
            (log.address, log.identity(), plan.name),
        )


def _restart_backfill(conn: Connection, plan: Plan, moves: Sequence[Move]) -> None:
    with own(conn):
        conn.execute(
            "DELETE FROM cutover.backfill WHERE plan = %s AND move = ANY(%s)",
            (plan.name, [move.name for move in moves]),
        )


def _clear(conn: Connection, plan: Plan, moves: Sequence[Move], healing: Healing) -> None:
    names = [move.name for move in moves]
    detail = {"gap": healing.gap, "halts": healing.halts, "slot_recreated": healing.slot_recreated}
    with own(conn):
        if healing.gap:
            conn.execute("UPDATE cutover.plan SET gap = NULL, gap_since = NULL WHERE plan = %s", (plan.name,))
        conn.execute(
            "UPDATE cutover.move SET halted = NULL, halted_lsn = NULL WHERE plan = %s AND move = ANY(%s)",
            (plan.name, names),
        )
        conn.execute(
            "INSERT INTO cutover.event (plan, move, what, detail) SELECT %s, move, 'heal', %s FROM unnest(%s::text[]) move",
            (plan.name, Jsonb(detail), names),
        )
    _LOG.info("healed %s", ", ".join(names))
