"""Whose turn it is after a backlog: the consumers', who have what is oldest.

What came while a backlog was read is for the most part what the consumers wrote meanwhile, and a walsender takes for
each of their rows half of what they took to write it. Nothing of it can be applied before the backlog is. So the stream
begins once they are through; or when they do not get on, or have had as long as the backlog took. Nobody moves the slot
meanwhile: where the server keeps only so much WAL for it, they may fill a quarter of that and no more (C3).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from cdc.replication import lsn_text
from sql.connection import Connection
from sql.files import load
from sql.model import Plan

LONGEST: Final = 10.0  # seconds: well below what a server may take for a slot that nobody uses
LOOK: Final = 0.02  # seconds between looks at how far they are
LEAST: Final = 64 << 20  # bytes of WAL, a few segments, that may be written before a slot is in danger
STILL: Final = 0.5  # seconds without any progress: more than a batch of theirs takes


def consumed(conn: Connection, plan: Plan, lsn: int, most: float, going: Callable[[float], bool]) -> bool:
    """Wait until the consumers have applied every commit before `lsn`: True. False when they have not, after `most`
    seconds, or LONGEST, or because they stand still, or there are none, or because the slot would be in danger. `going`
    waits so many seconds; False ends it."""
    deadline = time.monotonic() + min(most, LONGEST)
    asked = {"lsn": lsn_text(lsn), "plan": plan.name, "slot": plan.slot}
    last, moved, room = -1, 0.0, 0
    while True:
        row = conn.execute(load("capture/consumed"), asked, prepare=True).fetchone()
        assert row is not None
        done, mark, left, now = bool(row[0]), int(row[1]), row[2], time.monotonic()
        room = max(room, left or 0)
        if mark != last:
            last, moved = mark, now
        danger = left is not None and left < max(LEAST, 3 * room // 4)
        if done or danger or now >= deadline or now - moved >= STILL or not going(LOOK):
            return done
