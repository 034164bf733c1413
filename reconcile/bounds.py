"""Where ranges of keys end, and where one that is too much can be cut: by the keys of both sides, as they sort."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import psycopg

from reconcile.chunk import Key
from reconcile.session import Session, of_data, patiently
from sql.pairs import Side

_FEW_OTHERS: Final = 1.1  # to look one up takes as long as to join eight or so (measured: 0.6 µs, 0.08)
BOTH: tuple[Side, Side] = ("legacy", "consolidated")


class Bounds(Session):
    """A session that finds bounds of ranges (low, high]; None is open."""

    def estimate(self) -> tuple[int, int]:
        """The planner's number of rows of the mapping and of the target."""
        return patiently(self._estimate)

    def _estimate(self) -> tuple[int, int]:
        return tuple(int(self._one(self.pairs.estimate(side), {})[0][0]["Plan"]["Plan Rows"]) for side in BOTH)  # type: ignore[return-value]

    def few_others(self) -> bool:
        """Are there hardly any rows in the target that the mapping does not have?"""
        legacy, consolidated = self.estimate()
        return consolidated <= _FEW_OTHERS * legacy

    def sides(self) -> tuple[Side, Side]:
        """The side that is expected to have more keys first."""
        legacy, consolidated = self.estimate()
        return ("consolidated", "legacy") if consolidated >= legacy else ("legacy", "consolidated")

    def next_bound(self, sides: Sequence[Side], low: Key | None, keys: int) -> Key | None:
        """The end of the next chunk: so many keys on, on the larger side, or where that has no more, on the other."""
        for side in sides:
            if (bound := patiently(partial(self._try_bound, side, low, None, keys))) is not None:
                return bound
        return None

    def middle(self, low: Key | None, high: Key | None, sides: Sequence[Side]) -> Key | None:
        """A key that cuts (low, high] in two parts with keys in each, of the side with more of them; None: one key."""
        for side in sides:
            try:
                keys = [*self.keys(side, low, high, 2)]
                if len(set(keys)) < 2:
                    continue
                number = self._count(side, low, high)
                middle = self.bound(side, low, high, max(1, number // 2))
            except psycopg.Error as error:
                if not of_data(error):
                    raise
                continue
            if middle is not None and middle != high:
                return middle
        return self._between(low, high)

    def _between(self, low: Key | None, high: Key | None) -> Key | None:
        """Where each side has one key at most: the lower of two different ones."""
        firsts = {bound for side in BOTH if (bound := self._try_bound(side, low, high))}
        if len(firsts) < 2:
            return None
        # Which of the two sorts first is for PostgreSQL to say: the one that leaves the other above it.
        for key in firsts:
            if any(self._try_bound(side, key, high) for side in BOTH):
                return key
        return None

    def bound(self, side: Side, low: Key | None, high: Key | None, skip: int) -> Key | None:
        """The key `skip` places behind low on one side; None: there is none, up to high."""
        sql = self.pairs.bound(side, low=low is not None, high=high is not None)
        rows = self._all(sql, {**bounds(low, high), "skip": skip - 1})
        return tuple(rows[0]) if rows else None

    def _try_bound(self, side: Side, low: Key | None, high: Key | None, skip: int = 1) -> Key | None:
        try:
            return self.bound(side, low, high, skip)
        except psycopg.Error as error:
            if not of_data(error):
                raise
            return None

    def keys(self, side: Side, low: Key | None, high: Key | None, cap: int) -> list[Key]:
        """Keys of one side in (low, high], `cap` at most."""
        sql = self.pairs.keys_between(side, low=low is not None, high=high is not None)
        return [tuple(row) for row in self._all(sql, {**bounds(low, high), "cap": cap})]

    def _count(self, side: Side, low: Key | None, high: Key | None) -> int:
        sql = self.pairs.count_between(side, low=low is not None, high=high is not None)
        return int(self._one(sql, bounds(low, high))[0])


def bounds(low: Key | None, high: Key | None) -> dict[str, str]:
    """The ends of a range as a statement's parameters."""
    given = {f"lo{at + 1}": text for at, text in enumerate(low or ())}
    return given | {f"hi{at + 1}": text for at, text in enumerate(high or ())}
