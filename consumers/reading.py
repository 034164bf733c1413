"""Reading a stretch of the log once, from where to where, ahead of whoever works on it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from cdc import frame
from cdc.frame import Frame, UnreadableFrame
from cdc.log import Log, LogReader
from cdc.router import decode_key
from cdc.stretch import Stretch
from consumers.prefetch import Fetched, Prefetcher
from sql.errors import Halted, Unreachable, UsageError
from sql.model import Move

GATHER: Final = 100_000  # keys in one portion, about: those of several records fall together
SILENCE: Final = 60.0  # seconds without a record until the log is taken to be away


class Named(Protocol):
    """What reading needs of a move: its topic, and its name for messages."""

    @property
    def name(self) -> str: ...

    @property
    def topic(self) -> str: ...


class Reading:
    """A stretch in portions, read ahead in a thread."""

    def __init__(self, log: Log, move: Named, starts: Mapping[int, int]) -> None:
        self._log, self._move, self._starts = log, move, dict(starts)
        self._prefetch: Prefetcher | None = None

    def until(self, ends: Mapping[int, int], stop: threading.Event) -> Iterator[list[Fetched]]:
        """What is there, about GATHER keys at a time, until every partition has reached its end or `stop` is set."""
        waiting = {at for at, start in self._starts.items() if start < ends[at]}
        if not waiting:
            return
        self._refuse_lost(waiting)
        self._prefetch = Prefetcher(self._log)
        self._prefetch.assign({(self._move.topic, at): self._starts[at] for at in waiting})
        heard = time.monotonic()
        while waiting and not stop.is_set():
            portion: list[Fetched] = []
            keys = 0
            for each in self._prefetch.take(0.5):
                heard = time.monotonic()
                if each.partition not in waiting:
                    continue
                portion.append(each)
                keys += len(each.frame.keys) if isinstance(each.frame, Frame) else 0
                if each.offset + 1 >= ends[each.partition]:
                    waiting.discard(each.partition)
                if keys >= GATHER:
                    yield portion
                    portion, keys = [], 0
            if portion:
                yield portion
            if time.monotonic() - heard > SILENCE:
                raise Unreachable(f"{self._log.address}: nothing comes of {self._move.topic} for {SILENCE:.0f} s")

    def frames(self, ends: Mapping[int, int]) -> Iterator[tuple[int, Frame]]:
        """The frames with their offsets, one by one. Raises Halted at one that cannot be read."""
        for portion in self.until(ends, threading.Event()):
            for each in portion:
                yield each.offset, readable(self._move, each)

    def close(self) -> None:
        if self._prefetch is not None:
            self._prefetch.close()

    def _refuse_lost(self, partitions: Iterable[int]) -> None:
        begins = self._log.begin_offsets(self._move.topic)
        for at in partitions:
            if self._starts[at] < begins[at]:
                raise UsageError(
                    f"{self._move.name}: offset {self._starts[at]} of partition {at} is no longer in the log,"
                    f" which begins at {begins[at]}",
                    hint="--from-start --restart takes all that is there; `cutover backfill` touches every key",
                )


def frames_between(reader: LogReader, move: Named, stretch: Stretch) -> Iterator[tuple[int, Frame]]:
    """The frames of one stretch with their offsets, by a reader that may be used for the next one then.

    Raises Halted at a frame that cannot be read, Gap, Unreachable.
    """
    offset, heard = stretch.start, time.monotonic()
    if offset < stretch.end:
        reader.assign({(move.topic, stretch.partition): offset})
    while offset < stretch.end:
        for record in reader.poll(1.0):
            heard = time.monotonic()
            if record.offset >= stretch.end:
                return
            offset = record.offset + 1
            try:
                yield record.offset, frame.decode(record.value)
            except UnreadableFrame as error:
                where = f"{move.name}: partition {record.partition}, offset {record.offset}"
                raise Halted(f"{where}: {error}", cure="what follows it cannot be told from the log") from error
        if time.monotonic() - heard > SILENCE:
            raise Unreachable(f"nothing comes of {move.topic} for {SILENCE:.0f} s")


def readable(move: Named, fetched: Fetched) -> Frame:
    if isinstance(fetched.frame, UnreadableFrame):
        raise Halted(
            f"{move.name}: partition {fetched.partition}, offset {fetched.offset}: {fetched.frame}",
            cure=f"--from-offset {fetched.partition}:{fetched.offset + 1} goes on behind it",
        )
    return fetched.frame


def keys_in(log: Log, move: Move, stretches: Sequence[Stretch]) -> list[tuple[str, ...]]:
    """The distinct keys that a stretch of the log names, in order."""
    reading = Reading(log, move, {each.partition: each.start for each in stretches})
    found: set[bytes] = set()
    try:
        for _, each in reading.frames({each.partition: each.end for each in stretches}):
            found.update(each.keys)
    finally:
        reading.close()
    return [decode_key(key) for key in sorted(found)]
