"""Heal: accept what an operator must decide (halts, gaps), make slot, topics and positions whole, touch every key.

1. Under one lock, see what is wrong: the slot, the log, its topics, the positions, halted moves.
2. Record the gap: the gate is closed, and a crash below leaves it recorded.
3. Make the slot anew when it is not the one that progress is bound to, or has WAL from before its publication.
4. Make topics. Of a gap, every position moves to the log's end, where a watermark says from where the log is to be
   trusted again: what stands before it may be of another history, and the touches of step 6 say all that it said. Of
   a halt, only unreadable records are passed over.
5. In one transaction: clear gap and halts, start every backfill concerned anew, and write down who did it.
6. Touch every key. Consumers work again by now, and the backfill waits for them; killed here, the unfinished backfill
   stands for the gap, and healing again goes on with it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from psycopg.types.json import Jsonb

from cdc.beginning import turn_page
from cdc.control import AT_WORK
from cdc.gap import mark_gap
from cdc.log import Log, open_log
from cdc.publication import read_publication
from cdc.slot import check_slot, recreate_slot, undecodable
from cdc.sqlite_file import parse_path
from cutover.standing import behind_unreadable, log_gap, read_standings
from cutover.views import mapping_untouched
from sql import faultpoints
from sql.connection import Connection, own
from sql.control import check
from sql.errors import Busy, CutoverError, Refused, Unreachable
from sql.files import load
from sql.model import Move, Plan
from sql.names import Name

_LOG = logging.getLogger(__name__)
_BACKFILL_ENDED = "SELECT pg_advisory_unlock(hashtextextended('cutover.backfill.' || %s || '.' || %s, 0))"
_BACKFILL_ALONE = "SELECT pg_try_advisory_lock(hashtextextended('cutover.backfill.' || %s || '.' || %s, 0))"
# What is left behind is a question for the gate and the drop: who heals at night need not know the answer.
_LATER = frozenset({"unmapped-column", "unknown-waiver"})
_PATIENCE = 30.0  # seconds for the log to take a record
TouchEveryKey = Callable[[Move], bool]  # False: stopped before the end


@dataclass(slots=True)
class Healing:
    """What was found and done. `gap`: why every move is touched; `halts`: move -> why it stood still."""

    gap: str | None = None
    halts: dict[str, str] = field(default_factory=dict)
    slot_recreated: bool = False
    topics_recreated: list[str] = field(default_factory=list)
    positions_moved: dict[str, dict[int, int]] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)  # moves whose touches an earlier heal did not finish
    touched: list[str] = field(default_factory=list)
    finished: bool = False

    @property
    def needed(self) -> bool:
        return bool(self.gap or self.halts)

    def concerned(self, plan: Plan) -> list[str]:
        """The moves whose every key must be touched."""
        return [move.name for move in plan.moves if self.gap or move.name in self.halts]


def heal(
    conn: Connection, plan: Plan, moves: Sequence[str], log: Log, touch: TouchEveryKey, stop: threading.Event
) -> Healing:
    """Heal the named moves (none: all). A gap concerns every move, whichever were named.

    Idempotent; killed at any point, run it again. Raises Refused when the plan itself must be mended first, Busy
    when another heal runs or capture holds the slot that has to be made anew.
    """
    check(conn)
    _refuse_other_log(conn, plan, log)
    with _alone(conn, plan.name):
        healing = _examine(conn, plan, moves, log)
        if healing.needed:
            _refuse_blocked(conn, plan)
        if healing.gap:
            mark_gap(conn, plan, healing.gap)
            faultpoints.reached("heal.after-mark")
            if check_slot(conn, plan).gap or undecodable(conn, plan):
                recreate_slot(conn, plan)
                healing.slot_recreated = True
                faultpoints.reached("heal.after-slot")
        if healing.needed:
            names = healing.concerned(plan)
            _mend_log(conn, plan, log, healing)
            faultpoints.reached("heal.after-positions")
            with _no_backfill(conn, plan, names):
                _clear(conn, plan, names, healing)
            faultpoints.reached("heal.after-clear")
        for name in [*healing.concerned(plan), *healing.unfinished]:
            if stop.is_set() or not touch(plan.move(name)):
                return healing
            healing.touched.append(name)
        healing.finished = True
        return healing


def _refuse_other_log(conn: Connection, plan: Plan, log: Log) -> None:
    """A slip of the flag must not make an empty log the plan's, while the one that it has is there."""
    row = conn.execute("SELECT log, log_identity FROM cutover.plan WHERE plan = %s", (plan.name,)).fetchone()
    if row is None or row[1] is None or row[0] == log.address or row[1] == log.identity():
        return
    if row[0].startswith("sqlite:") and not parse_path(row[0]).exists():
        return  # opening it would make it
    recorded = open_log(row[0])
    try:
        there = recorded.identity() == row[1]
    except CutoverError:  # away, or it wants a password that is not recorded: an operator says that it is lost
        there = False
    finally:
        recorded.close()
    if there:
        raise Refused(f"plan {plan.name} has its log, {row[0]}, and this is {log.address}", cure=f"--log {row[0]}")


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


def _examine(conn: Connection, plan: Plan, moves: Sequence[str], log: Log) -> Healing:
    """Compare what is recorded with the slot and the log, and change nothing."""
    row = conn.execute("SELECT gap FROM cutover.plan WHERE plan = %s", (plan.name,)).fetchone()
    if row is None:
        raise Refused(f"plan {plan.name} is not prepared in this database", cure="cutover prepare")
    gap = row[0] or check_slot(conn, plan).gap or log_gap(conn, plan.name, log)
    halted: dict[str, str] = dict(
        conn.execute(
            "SELECT move, halted FROM cutover.move WHERE plan = %s AND halted IS NOT NULL", (plan.name,)
        ).fetchall()
    )
    healing = Healing(gap, {name: why for name, why in halted.items() if gap or not moves or name in moves})
    healing.unfinished = [
        name
        for (name,) in conn.execute(load("heal/unfinished").encode(), {"plan": plan.name})
        if name not in healing.halts and (not moves or name in moves)
    ]
    if healing.gap:
        healing.unfinished.clear()  # they start anew
    return healing


def _refuse_blocked(conn: Connection, plan: Plan) -> None:
    """What healing would only cover up: a plan that must be mended, a source whose changes are not captured."""
    for name, why in plan.broken:
        raise Refused(f"the plan must be mended first: {name}: {why}", cure="cutover doctor")
    for finding in plan.findings:
        if finding.code in _LATER:
            _LOG.warning("%s: the stream goes on, and no flip before that is settled", finding.message)
        elif finding.severity == "block":
            raise Refused(
                f"the plan must be mended first: {finding.message}", cure="cutover plan --check", hint=finding.cure
            )
    row = conn.execute(
        "SELECT publication_mark IS NULL, cutover.publication_stands(publication_mark, slot)"
        " FROM cutover.plan WHERE plan = %s",
        (plan.name,),
    ).fetchone()
    if row and row[0]:  # until it is done nobody can say what the publication hides
        raise Refused(AT_WORK, cure="cutover prepare\ncutover heal")
    if not row or not row[1]:
        raise Refused(f"the publication {plan.publication} is not as prepare left it", cure="cutover prepare")
    for move in plan.moves:
        if not mapping_untouched(conn, move):
            what = f"the mapping's view of {move.name}, {move.view}, is not the one that was prepared"
            raise Refused(what, cure="cutover prepare")
    lacking = unpublished(conn, plan)
    if lacking:
        names = ", ".join(name.sql for name in lacking)
        raise Refused(f"{names} is not in the publication {plan.publication}", cure="cutover prepare")


def unpublished(conn: Connection, plan: Plan) -> list[Name]:
    """Sources that the publication lacks: never prepared, or another table has taken the name (C10)."""
    published = read_publication(conn, plan.publication)
    sources = {source.name for move in plan.moves for source in move.sources if source.keys}
    return sorted(sources - published.keys())


def _mend_log(conn: Connection, plan: Plan, log: Log, healing: Healing) -> None:
    """Topics first, then positions and identities in one transaction: an old position never meets a new topic."""
    for standing in read_standings(conn, plan.name):
        if standing.move not in healing.concerned(plan):
            continue
        move = plan.move(standing.move)
        identity = log.ensure_topic(move.topic, move.partitions)
        positions = _start_anew(conn, plan, move, log) if healing.gap else behind_unreadable(log, standing)
        with own(conn):
            conn.execute(load("heal/topic").encode(), {"plan": plan.name, "move": move.name, "identity": identity})
            parameters = {"plan": plan.name, "move": move.name, "partitions": move.partitions}
            conn.execute(load("prepare/positions").encode(), parameters)
            parameters |= {"partitions": list(positions), "offsets": list(positions.values())}
            conn.execute(load("heal/positions").encode(), parameters | {"anew": healing.gap is not None})
        if positions:
            healing.positions_moved[move.name] = positions
        if identity != standing.topic_identity:
            healing.topics_recreated.append(move.name)
    with own(conn):  # last: until then the log is another one, which is a gap
        conn.execute(
            "UPDATE cutover.plan SET log = %s, log_identity = %s WHERE plan = %s",
            (log.address, log.identity(), plan.name),
        )


def _start_anew(conn: Connection, plan: Plan, move: Move, log: Log) -> dict[int, int]:
    """Where each partition ends; from there on the log says what comes behind the slot's position."""
    ends = log.end_offsets(move.topic)[: move.partitions]
    writer = log.writer()
    try:
        turn_page(conn, plan, move, writer)
        if not writer.wait(writer.queued(), _PATIENCE):
            raise Unreachable(f"the log {log.address} has not taken a watermark in {_PATIENCE:.0f} s")
    finally:
        writer.close()
    return dict(enumerate(ends))


@contextmanager
def _no_backfill(conn: Connection, plan: Plan, moves: Sequence[str]) -> Iterator[None]:
    """Keep backfills away for a moment: one that runs would write its own cursor over the new start."""
    held: list[str] = []
    try:
        for move in moves:
            row = conn.execute(_BACKFILL_ALONE, (plan.name, move)).fetchone()
            if not row or not row[0]:
                raise Busy(f"a backfill of {move} runs", cure="stop it, then heal again; healing touches every key")
            held.append(move)
        yield
    finally:
        for move in held:
            if not conn.closed:
                conn.execute(_BACKFILL_ENDED, (plan.name, move))


def _clear(conn: Connection, plan: Plan, moves: Sequence[str], healing: Healing) -> None:
    detail = {"gap": healing.gap, "halts": healing.halts, "slot_recreated": healing.slot_recreated}
    with own(conn):
        if healing.gap:
            conn.execute(
                "UPDATE cutover.plan SET gap = NULL, gap_since = NULL, healed = healed + 1 WHERE plan = %s",
                (plan.name,),
            )
        conn.execute(
            "UPDATE cutover.move SET healed_lsn = greatest(healed_lsn, halted_lsn), halted = NULL, halted_lsn = NULL,"
            " touched_until = pg_current_wal_insert_lsn(), touched_offsets = NULL WHERE plan = %s AND move = ANY(%s)",
            (plan.name, list(moves)),
        )
        conn.execute(load("heal/restart_backfill").encode(), {"plan": plan.name, "moves": list(moves)})
        conn.execute(load("heal/event").encode(), {"plan": plan.name, "moves": list(moves), "detail": Jsonb(detail)})
    _LOG.info("healed %s; touching every key", ", ".join(moves))
