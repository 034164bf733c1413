"""Gather: what is read of a move's partitions becomes one batch, whole frames of each in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from cdc.frame import ASKED, CHANGES, Frame
from cdc.router import decode_key
from consumers.converge import Batch
from consumers.lease import Lease
from consumers.positions import Advance
from consumers.seen import Seen
from sql.model import Move


@dataclass(slots=True)
class Partition:
    """What is read of one leased partition and not applied yet."""

    lease: Lease
    offset: int  # next to apply
    frames: deque[tuple[int, Frame, int]] = field(default_factory=deque)  # offset, frame, bytes


@dataclass(frozen=True, slots=True)
class Gathered:
    """A batch, its keys as the log has them, and how many frames of each partition it is made of."""

    batch: Batch
    keys: dict[bytes, tuple[int, int]]
    taken: list[tuple[Partition, int]]

    @property
    def named(self) -> int:
        """How often its frames name a key, one of `keys` or one that was seen."""
        return sum(
            len(frame.keys) for partition, count in self.taken for _, frame, _ in islice(partition.frames, count)
        )

    def done(self) -> int:
        """The batch is applied: its partitions stand behind these frames. Returns the bytes of them."""
        size = 0
        for partition, count in self.taken:
            for _ in range(count):
                size += partition.frames.popleft()[2]
            partition.offset = self.batch.steps[partition.lease.partition].offset
        return size


def gather(move: Move, partitions: Sequence[Partition], limit: int, seen: Seen, now: int) -> Gathered:
    """Of each of these partitions of a move, all with frames, at least one, and up to `limit` keys of all together.

    now: microseconds since 2000-01-01 by the server's clock.
    """
    batch = Batch(move, {}, set(), [], {}, {})
    found = Gathered(batch, {}, [])
    share = max(1, limit // len(partitions))
    everything, newest = False, 0
    for partition in partitions:
        count = lsn = time = 0
        before = len(found.keys)
        for offset, frame, _ in partition.frames:
            keys = seen.unseen(frame)
            if len(found.keys) > before and len(found.keys) + len(keys) > before + share:
                break
            count += 1
            found.keys.update(dict.fromkeys(keys, (partition.lease.partition, offset)))
            lsn, time = max(lsn, frame.lsn), frame.time
            everything = everything or frame.kind in ASKED
            if frame.kind == CHANGES:
                newest = max(newest, frame.time)
                if keys:
                    batch.sources.update(frame.sources)
                    batch.frames.append(frame)
                else:
                    batch.left_out.append(frame)
        found.taken.append((partition, count))
        batch.expected[partition.lease.partition] = partition.offset
        batch.steps[partition.lease.partition] = Advance(partition.frames[count - 1][0] + 1, lsn, time, None)
    if everything:
        batch.sources.clear()
    batch.keys = {decode_key(key): found.keys[key] for key in sorted(found.keys)}
    if newest:
        latency = max(0, now - newest) / 1000
        batch.steps = {at: Advance(s.offset, s.lsn, s.time, latency) for at, s in batch.steps.items()}
    return found
