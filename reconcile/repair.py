"""Repair: touch the keys that drifted, so that the move's one writer makes them right, and wait until it has."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from psycopg.types.json import Jsonb

from cdc.log import Log
from cdc.touch import touch
from consumers import positions
from consumers.lease import workers
from reconcile.chunk import Key
from sql import faultpoints
from sql.connection import Connection, connect, own
from sql.counted import counted
from sql.errors import NotProven, Unreachable
from sql.model import Move, Plan

_ACKNOWLEDGE: Final = 60.0  # seconds that the log has to take the touches
_LOOK: Final = 0.02
_NAMED: Final = 10_000  # keys that one event of a repair names
_EVENT: Final = "INSERT INTO cutover.event (plan, move, what, detail) VALUES (%s, %s, 'repair', %s)"


def repair(
    dsn: str,
    plan: Plan,
    log: Log,
    keys: Mapping[str, Sequence[Key]],
    *,
    patience: float = 60.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Record in cutover.event which keys are to be touched, all of them, and then `mend` them.

    The record comes first: whatever becomes of this process, nothing was touched that it does not name.
    """
    with connect(dsn, f"repair {plan.name}") as conn:
        for name, found in keys.items():
            _record(conn, plan.move(name), found)
    faultpoints.reached("repair.after-record")
    mend(dsn, plan, log, keys, patience=patience, progress=progress)


def mend(
    dsn: str,
    plan: Plan,
    log: Log,
    keys: Mapping[str, Sequence[Key]],
    *,
    patience: float = 60.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Touch these keys, by move, and wait until the consumers have applied the touches.

    Nothing is written to a target here: converge decides anew, by what the mapping says then. Raises NotProven when the
    consumers make no progress for `patience` seconds (the touches stay in the log), Unreachable.
    """
    with connect(dsn, f"repair {plan.name}") as conn:
        ends = {name: _touch(plan.move(name), log, found) for name, found in keys.items()}
        faultpoints.reached("repair.after-touch")
        _wait(conn, plan, ends, patience, progress)


def _record(conn: Connection, move: Move, keys: Sequence[Key]) -> None:
    """One event for each portion of the keys, in one transaction."""
    parts = -(-len(keys) // _NAMED)
    with own(conn):
        for part in range(parts):
            named = [list(key) for key in keys[part * _NAMED : (part + 1) * _NAMED]]
            detail = {"keys": len(keys), "part": part + 1, "parts": parts, "named": named}
            conn.execute(_EVENT, (move.plan, move.name, Jsonb(detail)))


def _touch(move: Move, log: Log, keys: Sequence[Key]) -> list[int]:
    """Append the touches; the offsets at which they end."""
    writer = log.writer()
    try:
        touch(writer, move, keys)
        if not writer.wait(writer.queued(), _ACKNOWLEDGE):
            raise Unreachable("the log does not acknowledge touches", cure="check the log, then try again")
    finally:
        writer.close()
    return log.end_offsets(move.topic)


def _wait(
    conn: Connection,
    plan: Plan,
    ends: Mapping[str, Sequence[int]],
    patience: float,
    progress: Callable[[int, int], None],
) -> None:
    total = left = _left(conn, plan, ends)
    moved = time.monotonic()
    while left:
        time.sleep(_LOOK)  # positions are rows of another process: there is no signal to wait for
        before, left = left, _left(conn, plan, ends)
        progress(total - left, total)
        if left < before:
            moved = time.monotonic()
        elif time.monotonic() - moved > patience:
            working = workers(conn, plan.name)
            raise NotProven(
                f"the keys are touched, and {counted(left, 'record')} before them not applied after {patience:.0f} s;"
                f" {counted(working, 'consumer', 'works')}",
                cure="cutover doctor" if working else "cutover consume",
                hint="then reconcile again" if working else "or cutover run",
            )


def _left(conn: Connection, plan: Plan, ends: Mapping[str, Sequence[int]]) -> int:
    """Records that are still to be applied."""
    count = 0
    for name, offsets in ends.items():
        at = positions.read(conn, plan.move(name), range(len(offsets)))
        count += sum(max(0, end - at.get(number, 0)) for number, end in enumerate(offsets))
    return count
