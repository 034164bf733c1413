"""The log's tail: what its newest records claim, held against the database that goes on from there (C3).

The database and all that is recorded in it may be set back to an earlier time, slot and positions included: a snapshot
of its disk restored, a standby promoted that had not received everything. Only the log remembers what was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cdc import frame
from cdc.beginning import reached
from cdc.frame import Frame, Transaction
from cdc.log import Log, LogReader
from cdc.replication import lsn_text
from sql.errors import Gap
from sql.model import Move

_WIDER = 8  # times as many records in each look further back
_POLL = 1.0  # seconds


def set_back(claimed: int, end: int) -> str:
    """Why a log that is ahead of its database is a gap. Both are LSNs."""
    return f"the database was set back: the log reaches {lsn_text(claimed)}, the server's WAL ends at {lsn_text(end)}"


@dataclass(slots=True)
class Tail:
    """What the records behind the newest one that is sure claim. `newest`: the commit that was captured last.

    `lost`: why a partition does not reach `confirmed`, which every one did when the slot was told (L2).
    """

    reaches: int = 0
    newest: Transaction | None = None
    lost: str | None = None

    def add(self, other: Tail) -> None:
        """The further of both."""
        self.reaches = max(self.reaches, other.reaches)
        if other.newest and (self.newest is None or other.newest.commit_lsn > self.newest.commit_lsn):
            self.newest = other.newest


def read_tail(log: Log, moves: Iterable[Move], confirmed: int) -> Tail:
    """What the log claims beyond `confirmed`, an LSN up to which the database vouches for it.

    Reads each partition backwards in growing stretches, as far as the newest record that ends at or before it.
    Raises Unreachable.
    """
    begins: dict[tuple[str, int], int] = {}
    ends: dict[tuple[str, int], int] = {}
    for move in moves:
        bounds = zip(log.begin_offsets(move.topic), log.end_offsets(move.topic), strict=True)
        for partition, (begin, end) in enumerate(bounds):
            if begin < end:
                begins[move.topic, partition], ends[move.topic, partition] = begin, end
    tail, width = Tail(), 1
    unclear = set(ends)  # partitions of which no record has said yet how far they reach
    reader = log.reader()
    try:
        while ends:
            starts = {at: max(begins[at], end - width) for at, end in ends.items()}
            ends = {
                at: starts[at]
                for at, sure in _read(reader, starts, ends, confirmed, tail, unclear).items()
                if not sure and starts[at] > begins[at]
            }
            width *= _WIDER
    except Gap:  # retention was quicker, or the topic is gone: whoever reads on from its position finds out
        pass
    finally:
        reader.close()
    return tail


def _read(
    reader: LogReader,
    starts: dict[tuple[str, int], int],
    ends: dict[tuple[str, int], int],
    confirmed: int,
    tail: Tail,
    unclear: set[tuple[str, int]],
) -> dict[tuple[str, int], bool]:
    """Read from starts to ends; which partitions have a record there that the database vouches for."""
    found = {at: Tail() for at in starts}
    sure = dict.fromkeys(starts, False)
    says: dict[tuple[str, int], int] = {}
    left = set(starts)
    reader.assign(starts)
    while left:
        for record in reader.poll(_POLL):
            at = (record.topic, record.partition)
            if at not in left:
                continue
            if record.offset < ends[at]:
                claim = _claim(record.value)
                says[at] = claim.reaches or says.get(at, 0)
                if 0 < claim.reaches <= confirmed:
                    sure[at], found[at] = True, Tail()
                else:
                    found[at].add(_beyond(claim, confirmed))
            if record.offset + 1 >= ends[at]:
                left.discard(at)
    for each in found.values():
        tail.add(each)
    for (topic, partition), lsn in says.items():
        if lsn and (topic, partition) in unclear:
            unclear.discard((topic, partition))
            if lsn < confirmed:
                tail.lost = (
                    f"the end of topic {topic}, partition {partition}, is lost: it reaches {lsn_text(lsn)},"
                    f" and {lsn_text(confirmed)} was acknowledged"
                )
    return sure


def _claim(value: bytes) -> Tail:
    try:
        read: Frame = frame.decode(value)
    except frame.UnreadableFrame:  # stops its consumer; here it says nothing
        return Tail()
    transactions = read.transactions()
    return Tail(reached(read), transactions[-1] if transactions else None)


def _beyond(claim: Tail, confirmed: int) -> Tail:
    """A commit before `confirmed` does not come again."""
    again = claim.newest if claim.newest and claim.newest.commit_lsn >= confirmed else None
    return Tail(claim.reaches, again)
