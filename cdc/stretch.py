"""A stretch of the log: from where to where in each partition, by offset, time or LSN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from cdc import frame
from cdc.beginning import reached
from cdc.frame import ASKED, Frame
from cdc.log import Log, LogReader
from sql.errors import Unreachable, UsageError
from sql.model import Move

_SECONDS: Final = 30.0  # that a record may take to come


@dataclass(frozen=True, slots=True)
class Stretch:
    """The records of one partition from `start` up to, and without, `end`."""

    partition: int
    start: int
    end: int


class _Topic(Protocol):
    """A move as far as its log is concerned."""

    @property
    def topic(self) -> str: ...


def whole(log: Log, move: _Topic) -> list[Stretch]:
    """All that is in the log now."""
    begins, ends = log.begin_offsets(move.topic), log.end_offsets(move.topic)
    return [Stretch(at, begin, end) for at, (begin, end) in enumerate(zip(begins, ends, strict=True))]


def from_offsets(log: Log, move: Move, offsets: Mapping[int, int]) -> list[Stretch]:
    """The named partitions from these offsets on. UsageError, with what is there, for one outside the log."""
    there = _there(log, move, offsets)
    return [Stretch(partition, offset, there[partition].end) for partition, offset in sorted(offsets.items())]


def until_offsets(log: Log, move: Move, stretches: list[Stretch], offsets: Mapping[int, int]) -> list[Stretch]:
    """Of the same stretches those of the named partitions, without these offsets and what follows."""
    _there(log, move, offsets)
    return [
        Stretch(each.partition, each.start, _within(each, offsets[each.partition]))
        for each in stretches
        if each.partition in offsets
    ]


def _there(log: Log, move: Move, offsets: Mapping[int, int]) -> dict[int, Stretch]:
    """All that is in the log now. UsageError, with what is there, for an offset outside."""
    there = {each.partition: each for each in whole(log, move)}
    for partition, offset in sorted(offsets.items()):
        known = there.get(partition)
        if known is None:
            raise UsageError(
                f"{move.name} has no partition {partition}", cure=f"its partitions are 0 to {len(there) - 1}"
            )
        if not known.start <= offset <= known.end:
            raise UsageError(
                f"offset {offset} of partition {partition} of {move.name} is not in the log",
                cure=f"it has {known.start} to {known.end}; --from-start takes all that is there",
            )
    return there


def from_time(log: Log, move: Move, time_ms: int) -> list[Stretch]:
    """What was appended at or after a time (Unix milliseconds)."""
    starts = log.offsets_at(move.topic, time_ms)
    return [Stretch(each.partition, max(each.start, starts[each.partition]), each.end) for each in whole(log, move)]


def from_lsn(log: Log, move: Move, lsn: int) -> list[Stretch]:
    """All that may hold a commit at or after an LSN."""
    reader = log.reader()
    try:
        return [
            Stretch(each.partition, _first_reaching(reader, move.topic, each, lsn), each.end)
            for each in whole(log, move)
        ]
    finally:
        reader.close()


def until_time(log: Log, move: Move, stretches: list[Stretch], time_ms: int) -> list[Stretch]:
    """The same stretches without what was appended at or after a time (Unix milliseconds)."""
    ends = log.offsets_at(move.topic, time_ms)
    return [Stretch(each.partition, each.start, _within(each, ends[each.partition])) for each in stretches]


def until_lsn(log: Log, move: Move, stretches: list[Stretch], lsn: int) -> list[Stretch]:
    """The same stretches up to the record that completes all commits up to an LSN."""
    reader = log.reader()
    try:
        return [
            Stretch(
                each.partition,
                each.start,
                _within(each, _first_reaching(reader, move.topic, each, lsn) + 1),
            )
            for each in stretches
        ]
    finally:
        reader.close()


def _within(stretch: Stretch, end: int) -> int:
    return max(stretch.start, min(stretch.end, end))


def _first_reaching(reader: LogReader, topic: str, stretch: Stretch, lsn: int) -> int:
    """The first offset whose frame reaches an LSN, by halving: what frames reach never falls within a partition."""
    low, high = stretch.start, stretch.end
    while low < high:
        middle = (low + high) // 2
        offset, reached = _reach(reader, topic, stretch.partition, middle, high)
        if reached is None or reached >= lsn:
            high = middle
        else:
            low = offset + 1
    return low


def _reach(reader: LogReader, topic: str, partition: int, offset: int, end: int) -> tuple[int, int | None]:
    """How far the first frame from `offset` on that knows it reaches, and its own offset; None where none does."""
    reader.assign({(topic, partition): offset})
    while offset < end:
        records = reader.poll(_SECONDS)
        if not records:
            raise Unreachable(f"partition {partition} of {topic} does not answer at offset {offset}")
        for record in records:
            offset = record.offset
            found = frame.decode(record.value)
            if found.kind not in ASKED and reach(found):
                return offset, reach(found)
            if offset + 1 >= end:
                break
        offset += 1
    return offset, None


def reach(found: Frame) -> int:
    """The LSN of the newest commit that a frame knows of: the one it completes, or one whose changes it begins."""
    return max([reached(found), *(each.commit_lsn for each in found.transactions())])
