"""How many keys a chunk takes, so that its snapshot is short (R7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MOST_KEYS: Final = 500_000
_FEWEST_KEYS: Final = 500
_GROWTH: Final = 12  # a chunk is at most so many times the one that it is told from
_AIM: Final = 0.5  # seconds that a chunk should take; leaves room below one second


@dataclass(slots=True)
class Pace:
    """How many keys the next chunk takes: as many as make a snapshot of acceptable length (R7), the more the better.

    `fewest`: below that, a quarter of a chunk's time or more would be what it costs whatever its size: the scan of a
    source that PostgreSQL would rather hash than look up key by key. Smaller chunks would multiply that.
    """

    keys: int
    fewest: int = _FEWEST_KEYS
    aim: float = _AIM

    def expect(self, few: tuple[int, float], many: tuple[int, float]) -> None:
        """Keys and cost of a small and of a large chunk, in the planner's unit: cost = fixed + each * keys."""
        each = max((many[1] - few[1]) / (many[0] - few[0]), 0.02 * many[1] / many[0])
        self.fewest = min(MOST_KEYS, max(_FEWEST_KEYS, 3 * (int(many[1] / each) - many[0])))
        if self.fewest > _FEWEST_KEYS:  # a first chunk of a few keys would cost nearly as much, and tell little
            self.keys = max(self.keys, min(self.fewest, int(self.keys * _GROWTH * self.aim / _AIM)))

    def learn(self, keys: int, seconds: float) -> None:
        """A chunk of so many keys took so long."""
        if keys > 0:
            wanted = keys * max(0.5, (self.aim / max(seconds, 0.001)) ** 0.7)
            self.keys = int(min(max(self.fewest, wanted), keys * _GROWTH, MOST_KEYS))

    def split(self) -> None:
        """A chunk was too much."""
        self.fewest = max(1, self.fewest // 4)
        self.keys = max(1, self.keys // 4)
