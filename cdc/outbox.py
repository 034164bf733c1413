"""What capture appends to the log: frames, watermarks, and how far the log has acknowledged them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cdc import beginning, frame
from cdc.control import Control
from cdc.frame import CHANGES, WATERMARK
from cdc.log import LogWriter
from cdc.pace import Pace
from cdc.router import Buffer
from sql import faultpoints

IN_FLIGHT_BYTES: Final = 32 << 20  # appended and not acknowledged: capture stops reading beyond it (C9, C14)
FLUSH_BUSY: Final = 0.004  # seconds to collect more changes while the last flush is still under way
WATERMARK_BUSY: Final = 0.025  # seconds between watermarks while the application commits
WATERMARK_IDLE: Final = 1.0


@dataclass(slots=True)
class Totals:
    """What a capture has done since its start."""

    changes: int = 0  # captured
    frames: int = 0  # appended …
    bytes: int = 0  # … and their size


class Outbox:
    """The buffers of all partitions on their way into the log.

    `processed`: an LSN before which nothing is still to come from the server.
    `marked`: every partition's newest frame or watermark reaches it: no slot is told more (L2).
    `foreign`: the application committed something since the last watermark.
    `demanded`: somebody asked for a watermark.
    `sure`: False while the log may be ahead of this database; a watermark would hide what stands before it (C3).
    """

    def __init__(
        self, buffers: Sequence[Buffer], control: Control, writer: LogWriter, totals: Totals, now: float
    ) -> None:
        self.buffers, self._control, self.writer, self._totals = buffers, control, writer, totals
        self.processed = self.marked = 0
        self.foreign = self.demanded = False
        self.sure = True
        self.pace = Pace(now)
        self.last_flush = 0.0
        self._last_watermark = 0.0
        self._in_flight: deque[tuple[int, int, int]] = deque()  # sequence, what may be confirmed with it, bytes
        self._bytes_in_flight = 0  # appended and not acknowledged …
        self._appended = 0  # … and since the last flush of all partitions
        self._flushed = totals.changes  # up to the last flush of all partitions

    @property
    def pending(self) -> bool:
        """Is there anything to append?"""
        return self.demanded or any(buffer.changes or buffer.keys for buffer in self.buffers)

    @property
    def idle(self) -> bool:
        """Has the log acknowledged all that was appended, whether or not it was taken note of?"""
        return self.writer.acknowledged() >= self.writer.queued()

    @property
    def in_flight(self) -> bool:
        """Was something appended of which no acknowledgement was taken note of?"""
        return bool(self._in_flight)

    @property
    def full(self) -> bool:
        """Is more in flight than should be?"""
        return self._bytes_in_flight > IN_FLIGHT_BYTES

    def wait(self, timeout: float) -> None:
        """Wait until the log has acknowledged what has been in flight for longest."""
        self.writer.wait(self._in_flight[0][0] if self._in_flight else self.writer.queued(), timeout)

    def acknowledged(self) -> int:
        """Take note of what the log has acknowledged. Returns the LSN up to which all is safe in it by that, or 0."""
        done, safe = self.writer.acknowledged(), 0
        while self._in_flight and self._in_flight[0][0] <= done:
            _, marked, size = self._in_flight.popleft()
            self._bytes_in_flight -= size
            safe = max(safe, marked)
        return safe

    def due(self, now: float, *, idle: bool) -> bool:
        """Is it time to append what there is, or a watermark?"""
        if not self.pending:
            return self._watermark_due(now)
        if idle:
            return self.demanded or self.pace.due(now)
        return now - self.last_flush > max(FLUSH_BUSY, self.pace.pause)

    def _watermark_due(self, now: float) -> bool:
        since = now - self._last_watermark
        return (self.foreign and since >= WATERMARK_BUSY) or since >= WATERMARK_IDLE

    def flush_all(self, now: float, *, last: bool = False) -> None:
        """Append what every partition has; those with nothing get a watermark when one is due, or it is the `last`."""
        watermark = self.sure and (self.demanded or self._watermark_due(now))
        for buffer in self.buffers:
            changed = bool(buffer.changes or buffer.keys)
            if changed:
                self.flush(buffer)
            if watermark and (buffer.lsn < self.processed or (last and not changed)):
                self._append(buffer, self._watermark(buffer.move.name))
                buffer.lsn = self.processed
        if watermark:
            for topic, partition in self._control.silent:
                self.writer.append(topic, partition, beginning.passing(self.processed, self._control.clock.now_us()))
            self.demanded = self.foreign = False
            self._last_watermark = now
            self.marked = min(buffer.lsn for buffer in self.buffers) if self.buffers else self.processed
        self.writer.commit()
        self._in_flight.append((self.writer.queued(), self.marked, self._appended))
        self._bytes_in_flight += self._appended
        self._appended = 0
        self.last_flush = now
        self.pace.passed(self._totals.changes - self._flushed, now)
        self._flushed = self._totals.changes
        faultpoints.reached("capture.after-append")

    def _watermark(self, move: str) -> bytes:
        """Where something of a move is left out, it says how far capture has read, and not that all of it is there."""
        now = self._control.clock.now_us()
        if move in self._control.lacking:
            return beginning.passing(self.processed, now)
        return frame.encode(WATERMARK, lsn=self.processed, time=now)

    def flush(self, buffer: Buffer) -> None:
        """Append what one partition has, as a frame."""
        whole = buffer.move.name not in self._control.lacking
        value = frame.encode(
            CHANGES,
            lsn=self.processed if whole else 0,  # of a transaction that is not read whole: what was before it
            time=buffer.txns[-1][2] if buffer.txns else self._control.clock.now_us(),
            keys=buffer.keys,
            sources=buffer.sources,
            relations=buffer.relations,
            transactions=buffer.txns,
            changes=buffer.changes,
        )
        faultpoints.reached("capture.before-append")
        self._append(buffer, value)
        if whole:  # else a watermark tells, or the end of the log would seem to be lost
            buffer.lsn = self.processed
        buffer.clear()

    def _append(self, buffer: Buffer, value: bytes) -> None:
        self.writer.append(buffer.move.topic, buffer.partition, value)
        self._appended += len(value)
        self._totals.frames += 1
        self._totals.bytes += len(value)
