"""Several sessions compare ranges of keys side by side; what they find comes in the order of the key, memory flat."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Queue
from typing import Final

from reconcile.chunk import Chunk, Failed, Key
from reconcile.diff import Comparison
from reconcile.pace import Pace
from sql.connection import Connection
from sql.pairs import Side

_END: Final = None
_AHEAD: Final = 1  # ranges that are begun beyond one for each session, while the first is taken
_PARTS: Final = 3  # a last range is no less than such a part of one: each may read a source whole
_HELD: Final = 2  # chunks of one range that wait to be taken; the range's session waits then, in no transaction


class Closed(Exception):
    """Nobody takes what is found any more."""


class Found:
    """What one session finds in the keys of (low, high], about `keys` of them, chunk by chunk, for one taker."""

    def __init__(self, low: Key | None, high: Key | None, keys: int) -> None:
        self.low, self.high, self.keys = low, high, keys
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


class Ranges:
    """Cuts the keys behind `after` into ranges in the order of the key, one whenever a session is free for it.

    A range has as many keys as the pace says, and towards the end fewer, so that no session works long while the others
    have nothing left: `expected` keys are shared out among `sessions` of them.
    """

    def __init__(
        self, pace: Pace, sides: Sequence[Side], after: Key | None, sessions: int, expected: int
    ) -> None:  # fmt: skip
        self.pace, self.sides, self.sessions = pace, sides, sessions
        self._low, self._left, self._more = after, expected, True
        self._begun: deque[Found] = deque()
        self._changed = threading.Condition()
        self.closed = False

    def begin(self, comparison: Comparison) -> Found | None:
        """The next range, its end found in the session of `comparison`; waits for room. None: there is none."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or len(self._begun) < self.sessions + _AHEAD)
            if self.closed or not self._more:
                return None
            high, error = None, None
            keys = self._size()
            try:
                high = comparison.next_bound(self.sides, self._low, keys)
                self._left -= keys
            except BaseException as failed:  # raised again where it is taken
                error = failed
            found = Found(self._low, high, keys)
            self._low, self._more = high, high is not None
            self._begun.append(found)
            self._changed.notify_all()
        if error is None:
            return found
        found.put(error)
        return None

    def taken(self) -> Iterator[Chunk | Failed]:
        """What is found in every range. Raises the error that ended one of them."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._begun or not self._more)
                if not self._begun:
                    return
                found = self._begun[0]
            yield from found.taken()
            with self._changed:
                self._begun.popleft()
                self._changed.notify_all()

    def close(self) -> None:
        """Let every range that is begun come to its end: no session is stopped in a snapshot, none waits for room."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
            begun = list(self._begun)
        for found in begun:
            found.discard()

    def _size(self) -> int:
        if self._left <= 0:  # more than the planner knew of
            return self.pace.keys
        return min(self.pace.keys, max(self.pace.fewest, self._left // self.sessions, self.pace.keys // _PARTS))


class Parallel:
    """Compares a move's keys in the sessions `conns`, side by side; `first` looks at them before that, in its own.

    Each range is compared in snapshots of its own, as by one session. A proof is of single keys, each with
    the LSN of the snapshot in which it differed, so the ranges need no snapshot in common.
    """

    def __init__(self, first: Comparison, conns: Sequence[Connection]) -> None:
        self.first, self.others = first, [first.twin(conn) for conn in conns]

    @property
    def longest(self) -> float:
        """Seconds of the longest snapshot of any of the sessions."""
        return max(each.longest for each in (self.first, *self.others))

    def chunks(self, pace: Pace, on_split: Callable[[], None], after: Key | None = None) -> Iterator[Chunk | Failed]:
        """As `Comparison.chunks`. Left early, it waits for the chunks in hand.

        `first` is free for others' use as soon as a chunk has come.
        """
        sides = self.first.sides()
        self.first.calibrate(pace, sides)
        ranges = Ranges(pace, sides, after, len(self.others), max(self.first.estimate()))
        with ThreadPoolExecutor(len(self.others), "compare") as threads:
            try:
                for comparison in self.others:
                    threads.submit(_compare, comparison, ranges, on_split)
                yield from ranges.taken()
            finally:
                ranges.close()


def _compare(comparison: Comparison, ranges: Ranges, on_split: Callable[[], None]) -> None:
    """One session: range after range, as long as there is one."""

    def go_on() -> None:
        if ranges.closed:
            raise Closed

    def split() -> None:
        go_on()
        on_split()

    while (found := ranges.begin(comparison)) is not None:
        try:
            go_on()
            for each in comparison.range(found.low, found.high, found.keys, ranges.pace, ranges.sides, split):
                found.put(each)
                go_on()
        except BaseException as error:  # raised again where it is taken
            found.put(error)
            return
        found.put(_END)
