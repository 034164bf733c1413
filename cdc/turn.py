"""Whose turn it is after a backlog: the consumers', who have what is oldest.

What came while a backlog was read is for the most part what the consumers wrote meanwhile, and a walsender takes for
each of their rows half of what they took to write it. Nothing of it can be applied before the backlog is. So the stream
begins once they are through; or when they do not get on, or have had as long as the backlog took.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from cdc.replication import lsn_text
from sql.connection import Connection
from sql.files import load

LOOK: Final = 0.02  # seconds between looks at how far they are
STILL: Final = 0.5  # seconds without any progress: more than a batch of theirs takes


def consumed(conn: Connection, plan: str, lsn: int, most: float, going: Callable[[float], bool]) -> bool:
    """Wait until the consumers have applied every commit before `lsn`: True. False when they have not, after `most`
    seconds, or because they stand still, or there are none. `going` waits so many seconds; False ends it."""
    deadline = time.monotonic() + most
    last, moved = -1, 0.0
    while True:
        row = conn.execute(load("capture/consumed"), {"lsn": lsn_text(lsn), "plan": plan}, prepare=True).fetchone()
        assert row is not None
        done, mark, now = bool(row[0]), int(row[1]), time.monotonic()
        if mark != last:
            last, moved = mark, now
        if done or now >= deadline or now - moved >= STILL or not going(LOOK):
            return done
