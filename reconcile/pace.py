"""How many keys a chunk takes, so that its snapshot is short (R7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MOST_KEYS: Final = 500_000
_FEWEST_KEYS: Final = 500
_GROWTH: Final = 12  # a chunk is at most so many times the one that it is told from
_AIM: Final = 0.5  # seconds that a chunk should take; leaves room below one second


_IN_TIME: Final = 1.2  # of that time
_FAR_TOO_LONG: Final = 2.0
_WORTH: Final = 0.8  # of the time a key in a smaller chunk: a larger one that takes more than that was not worth it
_ANOTHER_PLAN: Final = (
    2.0  # so many times as much: this is no load of the machine, PostgreSQL went about it another way
)
_FORGIVEN: Final = 1.01  # a chunk in time lets `most` grow so much again


@dataclass(frozen=True, slots=True)
class _Taken:
    """A chunk of so many keys took so many seconds."""

    keys: int
    seconds: float
    in_time: bool

    @property
    def each(self) -> float:
        return self.seconds / self.keys


@dataclass(slots=True)
class Pace:
    """How many keys the next chunk takes: as many as make a snapshot of acceptable length (R7), the more the better.

    `fewest`: below that, a quarter of a chunk's time or more would be what it costs whatever its size: the scan of a
    source that PostgreSQL would rather hash than look up key by key. Smaller chunks would multiply that. So says the
    planner, and it is believed as long as larger chunks take less time a key. `most`: beyond that they took far too
    long, because PostgreSQL reads a large source whole for them.
    """

    keys: int
    fewest: int = _FEWEST_KEYS
    aim: float = _AIM
    most: int = MOST_KEYS
    _known: _Taken | None = None  # the latest chunk that was in time; before there is one, the latest that was worth it

    def expect(self, few: tuple[int, float], many: tuple[int, float]) -> None:
        """Keys and cost of a small and of a large chunk, in the planner's unit: cost = fixed + each * keys."""
        each = max((many[1] - few[1]) / (many[0] - few[0]), 0.02 * many[1] / many[0])
        self.fewest = min(MOST_KEYS, max(_FEWEST_KEYS, 3 * (int(many[1] / each) - many[0])))
        if self.fewest > _FEWEST_KEYS:  # a first chunk of a few keys would cost nearly as much, and tell little
            self.keys = max(self.keys, min(self.fewest, int(self.keys * _GROWTH * self.aim / _AIM)))

    def learn(self, keys: int, seconds: float) -> None:
        """A chunk of so many keys took so long."""
        if keys <= 0:
            return
        wanted = keys * max(0.5, (self.aim / max(seconds, 0.001)) ** 0.7)
        self._judge(_Taken(keys, seconds, in_time=seconds <= _IN_TIME * self.aim))
        self.keys = int(min(max(min(self.fewest, 2 * keys), wanted), keys * _GROWTH, self.most))

    def _judge(self, now: _Taken) -> None:
        """Was it worth its size?"""
        known = self._known
        if known is None or now.in_time:
            self._known = now
            self.most = min(MOST_KEYS, int(self.most * _FORGIVEN) + 1)
            return
        if now.keys < 1.5 * known.keys:
            return
        saved = now.each / known.each
        if saved > _WORTH:
            self.fewest = max(_FEWEST_KEYS, min(self.fewest, known.keys if known.in_time else known.keys // 2))
        elif not known.in_time:
            self._known = now
        if known.in_time and saved > _ANOTHER_PLAN and now.seconds > _FAR_TOO_LONG * self.aim:
            self.most = min(self.most, (known.keys + now.keys) // 2)

    def split(self, *, too_long: bool) -> None:
        """A chunk was too much: it took too long, or holds a row that fails."""
        self.fewest = max(1, self.fewest // 4)
        if too_long:
            self.most = max(_FEWEST_KEYS, min(self.most, self.keys // 2))
        self.keys = max(1, self.keys // 4)
