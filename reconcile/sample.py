"""Draw keys at random, in flat memory, from both sides: also those that only the target has.

A key is drawn by a hash of its text and the seed. So the same seed draws the same keys again, wherever the bounds of
the ranges fall, and no key has to be remembered to be drawn once: a share of all hashes is a share of the keys, and the
N lowest hashes are N keys without replacement (a "bottom-k" sample: Cohen and Kaplan, PODC 2007).
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from reconcile.chunk import Key
from reconcile.diff import Comparison
from reconcile.pace import Pace
from reconcile.scope import Draw

_LOWEST, _HASHES = -(2**63), 2**64
_AT_ONCE = 20_000  # keys of a share that are drawn from one range


@dataclass(slots=True)
class Drawing:
    """One pass over the keys of both sides; `keys` counts them all."""

    comparison: Comparison
    draw: Draw
    pace: Pace
    keys: int = 0
    _kept: list[tuple[int, Key]] = field(default_factory=list)  # a heap by the negated hash: the highest goes first

    def batches(self) -> Iterator[list[Key]]:
        """The keys drawn, as they come. Raises psycopg.Error where a key cannot be computed."""
        if self.draw.fraction is not None:
            yield from self._share(self.draw.fraction)
            return
        yield from self._number(self.draw.number or 0)

    def _share(self, fraction: float) -> Iterator[list[Key]]:
        below = _LOWEST + int(fraction * _HASHES) - 1
        for found in self._ranges(below, most=max(1_000, int(_AT_ONCE / fraction))):
            yield [key for _, key in found]

    def _number(self, number: int) -> Iterator[list[Key]]:
        for found in self._ranges(_LOWEST + _HASHES - 1, most=None, number=number):
            for hashed, key in found:
                heapq.heappush(self._kept, (-hashed, key))
                if len(self._kept) > number:
                    heapq.heappop(self._kept)
        yield [key for _, key in sorted(self._kept, reverse=True)]
        self._kept.clear()

    def _ranges(self, below: int, most: int | None, number: int | None = None) -> Iterator[list[tuple[int, Key]]]:
        sides = self.comparison.sides()
        low: Key | None = None
        while True:
            keys = self.pace.keys if most is None else min(self.pace.keys, most)
            high = self.comparison.next_bound(sides, low, keys)
            if number is not None and len(self._kept) == number:
                below = -self._kept[0][0] - 1
            started = time.monotonic()
            count, found = self.comparison.drawn(low, high, self.draw.seed, below, number)
            self.pace.learn(count, time.monotonic() - started)
            self.keys += count
            yield found
            if high is None:
                return
            low = high
