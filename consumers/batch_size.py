"""How many keys a batch of a move has, and how long one that is not full may wait to be filled."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from cdc.frame import Frame

FIRST_BATCH, MIN_BATCH, MAX_BATCH = 1_000, 50, 50_000  # keys
TARGET_SECONDS = 0.4  # a batch's; with the lock timeout it stays below PostgreSQL's deadlock_timeout of 1 s (A5)
BEHIND = 1_000_000  # microseconds of lag from which on a batch may wait to be filled: …
COLLECT = 0.25  # … so many seconds; the more changes of a key meet in one batch, the fewer times its row is written
LEAST_FRESH = 0.02  # of what frames name, at least so much is taken to be still to be applied


class BatchSize:
    """One move's, in one worker: it grows while the worker is behind and its batches are fast."""

    def __init__(self) -> None:
        self.limit = FIRST_BATCH  # keys
        self.collect_until = 0.0  # on the monotonic clock
        self._fresh = 1.0  # part of what the frames of the last batch name that was still to be applied

    def waiting(self, frames: Collection[Frame]) -> float:
        """Keys to apply, about. Of what frames name, many keys are named again, or were seen."""
        return self._fresh * sum(len(each.keys) for each in frames)

    def many(self, frames: Collection[Frame], now: int) -> bool:
        """A backlog with enough of them to share out? (now: as for `collecting`)"""
        old = now - min(each.time for each in frames) > BEHIND
        return old and self.waiting(frames) >= min(FIRST_BATCH, self.limit)

    def collecting(self, frames: Collection[Frame], now: int) -> bool:
        """Far behind, with a batch that is not full yet: what comes in the meantime may fall together with it.

        now: microseconds since 2000-01-01 by the server's clock.
        """
        more = now - max(each.time for each in frames) > BEHIND
        return time.monotonic() < self.collect_until and more and self.waiting(frames) < self.limit

    def applied(self, keys: Sequence[int], named: int, seconds: float) -> None:
        """Learn from a batch, in parts of so many keys that were applied at the same time, the longest in `seconds`;
        its frames named keys `named` times."""
        self.collect_until = time.monotonic() + COLLECT
        total = sum(keys)
        if named:
            self._fresh = max(LEAST_FRESH, total / named)
        if not total:
            return
        if seconds > TARGET_SECONDS and max(keys) > MIN_BATCH:
            self.limit = max(MIN_BATCH, int(total * TARGET_SECONDS / seconds))
        elif total >= self.limit // 2 and seconds < TARGET_SECONDS / 2:
            self.limit = min(MAX_BATCH, self.limit * 2)
