"""Confirming: the slot is told, late and never too far, up to which commit all is safe in the log (C1, C2, L2)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from cdc.advance import Advance
from cdc.backlog import Backlog
from cdc.control import Control
from cdc.outbox import Outbox
from cdc.replication import ReplicationStream
from sql import faultpoints

Reading = ReplicationStream | Backlog

CONFIRM_BUSY: Final = 1.0  # seconds between confirmations where they are far apart, and of keepalives
CONFIRM_IDLE: Final = 10.0
ADVANCE: Final = 10.0  # seconds between moves of the slot in a backlog: the server looks through WAL for each
_FAR: Final = 1 << 20  # bytes of WAL


class Confirming:
    """One session's slot. LSNs: `confirmed`, every commit before it is safe in the log; `told`, what of it the slot was
    told; `slot_at`, where the slot stood when its reading began, or was moved to since."""

    def __init__(self, dsn: str, slot: str, control: Control, outbox: Outbox) -> None:
        self._control, self._outbox = control, outbox
        self.confirmed = self.told = self.slot_at = 0
        self._advance = Advance(dsn, slot)
        self._last_advance, self._pause = time.monotonic(), ADVANCE
        self._last_confirm = self._last_feedback = 0.0

    def begin(self) -> int:
        """Read where the slot stands: an LSN before which nothing comes any more."""
        self.confirmed = self.told = self.slot_at = self._control.slot().confirmed_lsn or 0
        return self.confirmed

    def acknowledge(self, now: float, reading: Reading) -> None:
        """Move the confirmed LSN over what the log has acknowledged, and tell the server from time to time."""
        self.confirmed = max(self.confirmed, self._outbox.acknowledged())
        if self.confirmed > self.told and now - self._last_confirm >= self._interval():
            self.confirm(reading)
            self._last_confirm = self._last_feedback = now
        elif now - self._last_feedback >= CONFIRM_BUSY:
            reading.feedback(self.told, self._outbox.processed)  # keeps wal_sender_timeout away (C14)
            self._last_feedback = now

    def passed(self) -> None:
        """Nothing is in hand or in flight: what a keepalive or a watermark reached may be confirmed (C1)."""
        self.confirmed = max(self.confirmed, self._outbox.marked)

    def _interval(self) -> float:
        return CONFIRM_BUSY if self.confirmed - self.told > _FAR else CONFIRM_IDLE

    def confirm(self, reading: Reading) -> None:
        """First our own record, then the slot: the slot is never ahead of what we know that we told it (C2)."""
        faultpoints.reached("capture.before-confirm")
        self._control.confirm(self.confirmed)
        self.told = self.confirmed
        reading.feedback(self.told, self._outbox.processed)
        faultpoints.reached("capture.after-confirm")
        if isinstance(reading, Backlog) and time.monotonic() - self._last_advance > self._pause:
            self._move()

    def _move(self) -> bool:
        """Move the slot itself, which a backlog's readers leave where it is, a step further; True once it is as far as
        the log. Nobody waits for the server, which may look through WAL for long."""
        sure = self._outbox.sure  # until then the slot must stand where it stood
        if self._advance.busy:
            if not self._advance.done():
                return False
            self.slot_at = self._control.slot().confirmed_lsn or 0
            self._last_advance = time.monotonic()
            self._pause = max(ADVANCE, 20 * self._advance.took)
        elif self.told > self.slot_at and sure:
            self._advance.ask(self.told)
            return False
        return self.told <= self.slot_at or not sure

    def move_whole(self, stop: threading.Event, turn: Callable[[], None]) -> None:
        """Move the slot as far as the log is: at the end of a backlog, before the stream can have it."""
        while not stop.is_set() and not self._move():
            turn()
            stop.wait(0.02)

    def close(self) -> None:
        """End the session that moves the slot."""
        self._advance.close()
