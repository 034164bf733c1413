"""How many keys a chunk takes, so that its snapshot is short (R7)."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Final

MOST_KEYS: Final = 500_000
_FEWEST_KEYS: Final = 500
_GROWTH: Final = 12  # a chunk is at most so many times the one that it is told from
_AIM: Final = 0.5  # seconds that a chunk should take; leaves room below one second
_LIMIT: Final = 0.9  # seconds after which a chunk larger than any in time is given up
_FEW: Final = 2  # a chunk below such a part of what they are is none to learn from
_LARGER: Final = 1.25  # so many times as large as chunks are now is too much

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
    _tried: bool = False  # a first chunk was given up, whatever its size
    _in_time: int = 0  # keys of the largest chunk that was
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
        times = self.aim / max(seconds, 0.001)
        wanted = keys * (times if times > 1 else max(0.5, times**0.7))  # too large is given up in time, see `limit`
        now = _Taken(keys, seconds, in_time=seconds <= _IN_TIME * self.aim)
        if now.in_time and keys < self.keys // _FEW:
            return  # the last of a range: it was cut by what is left, and tells of no larger one
        self._judge(now)
        self.keys = int(min(max(min(self.fewest, 2 * keys), wanted), keys * _GROWTH, self.most))

    def limit(self, keys: int) -> float | None:
        """Seconds after which a chunk of so many keys is to be given up; None: let it take what it takes.

        PostgreSQL may go about a larger chunk another way, at many times the cost, and only trying tells. What has been
        in time before is not given up: load makes it slow, and cutting it would add to that.
        """
        if not self._in_time:
            return None if self._tried or self._known else _LIMIT
        return _LIMIT if keys > self._in_time else None

    def too_many(self, keys: int) -> bool:
        """Is a range of so many keys one to be cut, since it was measured out when chunks were larger?"""
        return keys > _LARGER * self.keys

    def given_up(self, keys: int) -> None:
        """A chunk of so many keys was given up: back to what was in time, and no more than half-way up again."""
        self._tried = True
        if not self._in_time:
            self.keys = max(1, keys // 2)
            return
        self.most = max(_FEWEST_KEYS, min(self.most, isqrt(self._in_time * keys)))
        self.fewest = min(self.fewest, self._in_time)
        self.keys = min(self.keys, self._in_time, keys * 3 // 4)  # so that `too_many` says so of these

    def _judge(self, now: _Taken) -> None:
        """Was it worth its size?"""
        known = self._known
        if now.in_time:
            self._in_time = max(self._in_time, now.keys)
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
