"""Prefetch: a thread reads and decodes the next frames while PostgreSQL works on the batch before."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cdc import frame
from cdc.frame import Frame, UnreadableFrame
from cdc.log import Log, LogReader

AHEAD_BYTES = 16 << 20  # read and not taken yet: the thread pauses beyond it (C9)
_POLL = 0.1  # seconds a poll waits for records; a change of assignment waits for it, at most


@dataclass(frozen=True, slots=True)
class Fetched:
    """A record of the log, decoded; or why it cannot be."""

    topic: str
    partition: int
    offset: int
    size: int
    frame: Frame | UnreadableFrame


class Prefetcher:
    """Owns a reader, in a thread of its own. What goes wrong there is raised by the next call here."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._changed = threading.Condition()
        self._ready: deque[Fetched] = deque()
        self._bytes = 0
        self._order: Mapping[tuple[str, int], int] | None = None  # an assignment that the thread has not made yet
        self._error: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
        self._thread.start()

    def assign(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Read exactly these partitions from exactly these offsets; what was read ahead is dropped."""
        with self._changed:
            self._order = dict(positions)
            self._changed.notify_all()
            self._await(lambda: self._order is None, None)

    def take(self, timeout: float) -> list[Fetched]:
        """What is there, in order within each partition; waits up to `timeout` seconds for the first."""
        with self._changed:
            self._await(lambda: bool(self._ready), timeout)
            taken = list(self._ready)
            self._ready.clear()
            self._bytes = 0
            self._changed.notify_all()
        return taken

    def close(self) -> None:
        """End the thread and its reader."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _await(self, what: Callable[[], bool], timeout: float | None) -> None:
        self._changed.wait_for(lambda: what() or self._error is not None, timeout)
        if self._error is not None and not what():
            raise self._error

    def _run(self) -> None:
        try:
            reader = self._log.reader()
            try:
                while self._next(reader):
                    pass
            finally:
                reader.close()
        except BaseException as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _next(self, reader: LogReader) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._order is not None or self._bytes < AHEAD_BYTES)
            if self._closed:
                return False
            order = self._order
        if order is not None:
            reader.assign(order)
            with self._changed:
                self._ready.clear()
                self._bytes = 0
                if self._order is order:
                    self._order = None
                self._changed.notify_all()
            return True
        fetched = [
            Fetched(each.topic, each.partition, each.offset, len(each.value), _decoded(each.value))
            for each in reader.poll(_POLL)
        ]
        if fetched:
            with self._changed:
                if self._order is None:
                    self._ready += fetched
                    self._bytes += sum(each.size for each in fetched)
                    self._changed.notify_all()
        return True


def _decoded(value: bytes) -> Frame | UnreadableFrame:
    try:
        return frame.decode(value)
    except UnreadableFrame as error:
        return error
