"""Compare mapping and target chunk by chunk: each chunk of keys in one snapshot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import inf
from typing import Any, Final

import psycopg

from reconcile.bounds import BOTH, Bounds, bounds
from reconcile.chunk import Chunk, Failed, Key
from reconcile.pace import MOST_KEYS, Pace
from reconcile.session import BRIEF_LOCK_MS, FAILS, TOO_LONG_MS, of_data, patiently
from reconcile.single import Singles
from reconcile.verdicts import Observation
from sql import faultpoints
from sql.errors import CutoverError
from sql.pairs import Side

MOST_DIFFERENCES: Final = 5000  # of one chunk; a chunk with more is split, so that memory stays flat
_MISJUDGED: Final = 8  # times as many keys as the planner expects of a side are too many


class Comparison(Bounds, Singles):
    """One session that compares one move; every method that takes a snapshot lets it go before it returns."""

    def chunks(
        self, pace: Pace, on_split: Callable[[], None] = lambda: None, after: Key | None = None
    ) -> Iterator[Chunk | Failed]:
        """Every key of either side behind `after`, in order of the key; open-ended at both ends."""
        sides = self.sides()
        self.calibrate(pace, sides)
        low = after
        while True:
            keys = pace.keys
            high = self.next_bound(sides, low, keys)
            yield from self.range(low, high, keys, pace, sides, on_split)
            if high is None:
                return
            low = high

    def calibrate(self, pace: Pace, sides: Sequence[Side]) -> None:
        """Ask the planner what a small chunk costs, and what a large one."""
        costs = []
        for keys in (1_000, 16_000):
            bound = self.next_bound(sides, None, keys)
            if bound is None:
                return
            sql = f"EXPLAIN (FORMAT JSON) {self.pairs.chunk(low=False, high=True)}"
            costs.append((keys, float(self._one(sql, {**bounds(None, bound), "cap": 1})[0][0]["Plan"]["Total Cost"])))
        pace.expect(*costs)

    def range(
        self, low: Key | None, high: Key | None, keys: int, pace: Pace, sides: Sequence[Side],
        on_split: Callable[[], None],
    ) -> Iterator[Chunk | Failed]:  # fmt: skip
        """One chunk of about `keys`; in parts where it has too many differences, takes too long, or holds a row that
        fails."""
        waiting: list[tuple[Key | None, Key | None, int]] = [(low, high, keys)]
        while waiting:
            low, high, keys = waiting.pop()
            size = pace.keys
            if pace.too_many(keys) and (cut := self._cut(low, high, size, sides)) is not None:
                on_split()
                waiting += [(cut, high, max(1, keys - size)), (low, cut, size)]
                continue
            limit = pace.limit(keys)
            try:
                # Somebody takes ACCESS EXCLUSIVE for a moment: it is let pass.
                chunk = patiently(partial(self.compare, low, high, keys, limit))
            except psycopg.Error as error:
                if not (isinstance(error, psycopg.errors.QueryCanceled) or of_data(error)):
                    raise
                if limit is not None and not of_data(error):
                    pace.given_up(keys)
                    waiting.append((low, high, keys))
                    continue
                on_split()
                middle = self.middle(low, high, sides)
                if middle is None:
                    yield self._failed(low, high, error)
                else:
                    pace.split(too_long=not of_data(error))
                    waiting += [(middle, high, keys // 2), (low, middle, keys // 2)]
                continue
            if chunk is None:
                on_split()
                middle = self.middle(low, high, sides)
                if middle is None:
                    raise CutoverError(f"the keys {low} … {high} cannot be split")
                waiting += [(middle, high, keys // 2), (low, middle, keys // 2)]
                continue
            # Rows of others cost their part too: ranges are cut by all rows, whoever's they are.
            pace.learn(chunk.pairs + chunk.others if self.pairs.where is None else pace.keys, chunk.seconds)
            yield chunk

    def _cut(self, low: Key | None, high: Key | None, keys: int, sides: Sequence[Side]) -> Key | None:
        """The key so many places behind `low`, where that leaves some of (low, high] behind it."""
        for side in sides:
            if (cut := patiently(partial(self._try_bound, side, low, high, keys))) is not None:
                return None if cut == high else cut
        return None

    def compare(self, low: Key | None, high: Key | None, keys: int, limit: float | None = None) -> Chunk | None:
        """Compare the about so many keys in (low, high] in one snapshot; None when too many differ to be taken at once.

        Raises psycopg.errors.QueryCanceled when it takes longer than `limit` seconds (None: than a snapshot may).
        """
        started = time.monotonic()
        ends = {"low": low is not None, "high": high is not None}
        given = bounds(low, high)
        limit_ms = TOO_LONG_MS if limit is None else round(1000 * limit)
        with self.snapshot(limit_ms, BRIEF_LOCK_MS):
            row = self._one(self._chunk(low, high, keys), {**given, "cap": MOST_DIFFERENCES})
            legacy, consolidated, others, pairs, kept, number, differ = row
            if number > MOST_DIFFERENCES:
                return None
            duplicates = self._duplicates(ends, given)
            found = self.observed([tuple(key) for key in differ or ()])
            doubled: set[Key] = {key for keys in duplicates.values() for key in keys}
            found.update(self.observed([key for key in doubled if key not in found]))
            lsn = self.lsn()
            faultpoints.reached("reconcile.in-snapshot")
        return Chunk(
            low, high, legacy, consolidated, others, pairs, kept,
            tuple(seen for seen in found.values() if seen.state not in ("same", "kept")),
            {side: len(keys) for side, keys in duplicates.items()},
            lsn, time.monotonic() - started,
        )  # fmt: skip

    def _chunk(self, low: Key | None, high: Key | None, keys: int) -> str:
        """The statement for a chunk of about so many keys, with its range in the mapping's sources or around it.

        Of a range within one bucket of a histogram PostgreSQL expects no row at all, where it cannot subtract values of
        the type, as of uuid (convert_to_scalar in selfuncs.c). Of sources that have none it joins each row of the one
        with all of the other's range: n * n. Around the mapping, the range leaves it to look each row up by its key.
        """
        ends = {"low": low is not None, "high": high is not None}
        sql = self.pairs.chunk(**ends)
        if self.pairs.narrowed is None:
            return sql
        plan = self._one(f"EXPLAIN (FORMAT JSON) {sql}", {**bounds(low, high), "cap": 1})[0][0]["Plan"]
        return sql if _expected(plan) * _MISJUDGED >= keys else self.pairs.chunk(**ends, narrowed=False)

    def drawn(
        self, low: Key | None, high: Key | None, seed: int, below: int, most: int | None
    ) -> tuple[int, list[tuple[int, Key]]]:
        """The number of keys in (low, high] of either side, and those whose hash by `seed` is at most `below`, with it.

        `most`: only so many, the lowest.
        """
        sql = self.pairs.drawn(low=low is not None, high=high is not None, capped=most is not None)
        given = {**bounds(low, high), "seed": seed, "below": below, "cap": most}

        def attempt() -> tuple[int, list[Any]]:
            with self.snapshot(lock_ms=BRIEF_LOCK_MS):
                count, found = self._one(sql, given)
                return count, found

        count, found = patiently(attempt)
        return count, [(int(hashed), tuple(key)) for hashed, *key in found]

    def null_keys(self, side: Side, limit_ms: int) -> int:
        """Rows of one side whose key has a NULL in it. Raises psycopg.errors.QueryCanceled beyond the limit."""
        with self.snapshot(limit_ms):
            return int(self._one(self.pairs.null_keys(side), {})[0])

    # -- in the open snapshot ------------------------------------------------------------------------------------------

    def disagreeing(self, low: Key | None, high: Key | None) -> list[Key]:
        """Keys in (low, high] whose row belongs to others and differs from the mapping's, in the open snapshot."""
        sql = self.pairs.disagreements(low=low is not None, high=high is not None)
        return [tuple(row) for row in self._all(sql, bounds(low, high))]

    def different(self, most: int) -> list[Observation]:
        """Every key that differs in the snapshot that is open, `most` of them at most; ready to be proven."""
        low: Key | None = None
        found: list[Observation] = []
        while len(found) < most:
            high = self.bound("consolidated", low, None, MOST_KEYS) or self.bound("legacy", low, None, MOST_KEYS)
            keys = self._one(self._chunk(low, high, MOST_KEYS), {**bounds(low, high), "cap": most - len(found)})[-1]
            found += self.observed([tuple(key) for key in keys or ()]).values()
            if high is None:
                break
            low = high
        return found

    def _duplicates(self, ends: dict[str, bool], given: dict[str, str]) -> dict[Side, list[Key]]:
        """Keys with several rows, of a side where nothing rules them out."""
        found: dict[Side, list[Key]] = {}
        suspects: list[Side] = [] if self.move.unique else ["legacy"]
        if not self.pairs.target_unique:
            suspects.append("consolidated")
        for side in suspects:
            rows = self._all(self.pairs.duplicates(side, **ends), {**given, "cap": MOST_DIFFERENCES})
            if rows:
                found[side] = [tuple(row[:-1]) for row in rows]
        return found

    def _failed(self, low: Key | None, high: Key | None, error: psycopg.Error) -> Failed:
        keys: set[Key] = set()
        for side in BOTH:
            try:
                keys.update(self.keys(side, low, high, 100))
            except psycopg.Error as other:
                if not of_data(other):
                    raise
        message = error.diag.message_primary or "" if not of_data(error) else FAILS
        return Failed(tuple(sorted(keys)), max(1, len(keys)), error.sqlstate or "", message)


def _expected(plan: dict[str, Any]) -> float:
    """Rows that the planner expects of the side with fewer, of the topmost join in its plan of a chunk."""
    inputs = [each for each in plan.get("Plans", ()) if each["Parent Relationship"] in ("Outer", "Inner", "Subquery")]
    if "Join Type" in plan:
        return min(float(each["Plan Rows"]) for each in inputs)
    return _expected(inputs[0]) if inputs else inf
