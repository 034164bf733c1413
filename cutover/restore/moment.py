"""Moments of a restore, and snapshots of a backfill: what came before them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cdc import rows

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Moment:
    """Everything committed before it: an LSN, or a time in microseconds since 2000-01-01 UTC. `given`: as it was."""

    lsn: int | None = None
    time: int | None = None
    given: str = "that moment"

    def __str__(self) -> str:
        """The LSN, or the time in UTC."""
        if self.lsn is not None:
            return f"{self.lsn >> 32:X}/{self.lsn & 0xFFFFFFFF:X}"
        return (_EPOCH + timedelta(microseconds=self.time or 0)).isoformat(timespec="seconds")

    def after(self, lsn: int, time: int) -> bool:
        """Is a commit before the moment?"""
        return lsn < self.lsn if self.lsn is not None else time < (self.time or 0)

    def holds(self, seen: rows.Seen) -> bool:
        """Does the moment come after all that was read there?"""
        return seen.lsn <= self.lsn if self.lsn is not None else seen.time <= (self.time or 0)


class Snapshot:
    """What `pg_current_snapshot()` saw, asked for the 32-bit transaction ids of the log."""

    def __init__(self, text: str) -> None:
        low, high, listed = text.split(":")
        self._low, self._high = int(low), int(high)
        self._running = frozenset(int(xid) for xid in listed.split(",") if xid)

    def sees(self, xid: int) -> bool:
        """Had this transaction, which has committed by now, committed for the snapshot?"""
        far = (xid - self._high) & 0xFFFFFFFF
        full = self._high + (far - (1 << 32) if far >= 1 << 31 else far)
        return full < self._low or (full < self._high and full not in self._running)
