"""Several sessions compare ranges of keys side by side; what they find comes in the order of the key, memory flat."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Queue
from typing import Final

from reconcile.diff import Chunk, Comparison, Failed, Key, Pace
from sql.connection import Connection
from sql.pairs import Side

_END: Final = None
_AHEAD: Final = 1  # ranges that are cut before a session is free for them
_HELD: Final = 2  # chunks of one range that wait to be taken; the range's session waits then, in no transaction


class Closed(Exception):
    """Nobody takes what is found any more."""


class Found:
    """What one session finds in one range, chunk by chunk, for one taker."""

    def __init__(self) -> None:
        self._queue: Queue[Chunk | Failed | BaseException | None] = Queue(_HELD)
        self._ended = False

    def put(self, found: Chunk | Failed | BaseException | None) -> None:
        """Waits for room. After `_END` or an error nothing comes."""
        self._queue.put(found)

    def taken(self) -> Iterator[Chunk | Failed]:
        """All of it, as it comes. Raises the error that ended it."""
        while not self._ended:
            found = self._queue.get()
            self._ended = found is _END or isinstance(found, BaseException)
            if isinstance(found, BaseException):
                raise found
            if found is not _END:
                yield found

    def discard(self) -> None:
        """Wait for the end of it."""
        with suppress(BaseException):
            deque(self.taken(), maxlen=0)


class Parallel:
    """Cuts a move's keys into ranges for the sessions `conns`; `first` finds the bounds, in a session of its own.

    Each range is compared in snapshots of its own, as by one session. A proof is of single keys, each with
    the LSN of the snapshot in which it differed, so the ranges need no snapshot in common.
    """

    def __init__(self, first: Comparison, conns: Sequence[Connection]) -> None:
        self.first, self.others = first, [first.twin(conn) for conn in conns]
        self._free: Queue[Comparison] = Queue()
        for other in self.others:
            self._free.put(other)
        self._closed = threading.Event()

    @property
    def longest(self) -> float:
        """Seconds of the longest snapshot of any of the sessions."""
        return max(each.longest for each in (self.first, *self.others))

    def chunks(self, pace: Pace, on_split: Callable[[], None], after: Key | None = None) -> Iterator[Chunk | Failed]:
        """As `Comparison.chunks`. Left early, it waits for the chunks in hand."""
        sides = self.first.sides()
        self.first.calibrate(pace, sides)
        waiting: deque[Found] = deque()
        low, more = after, True
        with ThreadPoolExecutor(len(self.others), "compare") as threads:
            try:
                while more or waiting:
                    while more and len(waiting) < len(self.others) + _AHEAD:
                        high = self.first.next_bound(sides, low, pace.keys)
                        waiting.append(Found())
                        threads.submit(self._compare, low, high, pace, sides, on_split, waiting[-1])
                        low, more = high, high is not None
                    yield from waiting[0].taken()
                    waiting.popleft()
            finally:
                self._close(waiting)

    def _compare(
        self, low: Key | None, high: Key | None, pace: Pace, sides: Sequence[Side], on_split: Callable[[], None],
        found: Found,
    ) -> None:  # fmt: skip
        def split() -> None:
            self._go_on()
            on_split()

        comparison = self._free.get()
        try:
            self._go_on()
            for each in comparison.range(low, high, pace, sides, split):
                found.put(each)
                self._go_on()
        except BaseException as error:  # raised again where it is taken
            found.put(error)
        else:
            found.put(_END)
        finally:
            self._free.put(comparison)

    def _go_on(self) -> None:
        if self._closed.is_set():
            raise Closed

    def _close(self, waiting: deque[Found]) -> None:
        """Let every session come to its end: none is stopped in a snapshot, none waits for room."""
        self._closed.set()
        for found in waiting:
            found.discard()
