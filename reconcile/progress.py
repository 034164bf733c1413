"""How far a move is applied, and what else still has to reach its target."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cdc.replication import lsn_number
from sql.connection import Connection
from sql.errors import CutoverError
from sql.files import load
from sql.model import Move


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the move is applied. `complete`: every partition has a position.

    `awaited`: nobody has begun the backfill; `filling`: it has begun, and is not applied yet. Both in words.
    """

    applied: int | None
    complete: bool
    halted: str | None
    gap: str | None
    refreshed_until: datetime | None
    refresh_applied: bool
    awaited: str | None
    filling: str | None
    capturing: bool | None
    mark: str | None

    @property
    def blocked(self) -> str | None:
        """Why waiting is of no use."""
        if not self.complete:
            return "not every partition has a position: cutover prepare"
        if self.gap:
            return f"there is a gap between the database and the log: {self.gap}"
        return f"the move is halted: {self.halted}" if self.halted else None


def progress(conn: Connection, move: Move) -> Progress:
    """Read how far a move is applied."""
    row = conn.execute(load("reconcile/progress").encode(), {"plan": move.plan, "move": move.name}).fetchone()
    if row is None:
        raise CutoverError(f"move {move.name} is not prepared", cure=f"cutover prepare {move.name}")
    applied, positions, partitions, *rest = row
    halted, gap, refreshed_until, refresh_applied, awaited, filling, capturing, mark = rest
    return Progress(
        applied=None if applied is None else lsn_number(applied),
        complete=positions == partitions,
        halted=halted,
        gap=gap,
        refreshed_until=refreshed_until,
        refresh_applied=refresh_applied,
        awaited=awaited,
        filling=filling,
        capturing=capturing,
        mark=mark,
    )
