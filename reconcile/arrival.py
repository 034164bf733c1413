"""Wait until the log is applied beyond an LSN in every partition of a move (R2), or say why that does not come."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from cdc.replication import lsn_text
from consumers.lease import workers
from reconcile.progress import Progress, progress
from sql import faultpoints
from sql.connection import Connection, own
from sql.model import Move

# Capture answers this message with a watermark to every partition at once. Alone it would be neither committed nor
# flushed, and then never decoded (S4); inside `own` the commit flushes it, and capture still meets it first.
_WATERMARK = "SELECT pg_logical_emit_message(false, 'cutover', 'watermark')"
_PATIENCE = 10.0  # seconds without any progress until the stream is taken to stand still
_PATIENCE_WITHOUT_CAPTURE = 5.0


@dataclass(frozen=True, slots=True)
class Wait:
    """How waiting ended. `stopped`: why the LSN was not reached; `moving`: it would have been, with more time."""

    progress: Progress
    stopped: str | None = None
    moving: bool = False


class Stopped(Exception):
    """Nobody waits for the proof any more."""


class Arrival:
    """Waits for the stream of one move. `writer` commits the marker; `timeout`: seconds without progress at most."""

    def __init__(self, writer: Connection, move: Move, timeout: float) -> None:
        self.writer, self.move, self.timeout = writer, move, timeout
        self._stood_at: str | None = None  # where the stream stood when it was given up
        self._told = threading.Event()

    def stop(self) -> None:
        """From another thread: let whoever waits, now or later, get Stopped."""
        self._told.set()

    def anew(self) -> None:
        """Wait for a stream that was given up as long as for any other."""
        self._stood_at = None

    def progress(self) -> Progress:
        """Read how far the move is applied."""
        return progress(self.writer, self.move)

    def wait(self, lsn: int, deadline: float) -> Wait:
        """Wait until `lsn` is applied in every partition, and the touches of the refresh that are in the log."""
        with own(self.writer):
            self.writer.execute(_WATERMARK)
            faultpoints.reached("reconcile.in-marker")
        mark, moves, moved, pause = self.progress().mark, 0, time.monotonic(), 0.001
        while True:
            state = self.progress()
            now = time.monotonic()
            if state.blocked:
                return Wait(state, state.blocked)
            if state.applied is not None and state.applied >= lsn and state.refresh_applied:
                return Wait(state)
            if state.mark == self._stood_at:
                return self._given_up(state, lsn, moving=False)
            if state.mark != mark:
                mark, moves, moved = state.mark, moves + 1, now
            patience = _PATIENCE_WITHOUT_CAPTURE if state.capturing is False else _PATIENCE
            if now - moved > min(patience, self.timeout) or now > deadline:
                return self._given_up(state, lsn, moving=moves > 0 and now - moved < 1.0)
            self.pause(pause)
            pause = min(pause * 1.5, 0.05)

    def pause(self, seconds: float) -> None:
        """Raises Stopped as soon as it is told to."""
        if self._told.wait(seconds):
            raise Stopped

    def _given_up(self, state: Progress, lsn: int, *, moving: bool) -> Wait:
        self._stood_at = None if moving else state.mark
        where = f"applied up to {lsn_text(state.applied or 0)}, {lsn_text(lsn)} is needed"
        if moving:
            return Wait(state, f"the stream is still behind: {where}", moving=True)
        return Wait(state, f"{self._who(state)}: {where}")

    def _who(self, state: Progress) -> str:
        """Who does not do his part, with the command that mends it."""
        consuming = workers(self.writer, self.move.plan) > 0
        if state.capturing is False:
            if consuming:
                return "capture is not running (cutover capture, or cutover run)"
            return "neither capture nor a consumer is running (cutover run, or cutover capture and cutover consume)"
        if not consuming:
            return "no consumer is running (cutover consume, or cutover run)"
        return "the consumers do not move (cutover doctor says why)"
