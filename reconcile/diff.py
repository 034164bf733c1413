"""Compare mapping and target chunk by chunk: each chunk of keys in one snapshot, each snapshot short (R7)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from reconcile.verdicts import Observation, state_of
from sql import faultpoints
from sql.catalog import read_tables
from sql.connection import Connection, transient
from sql.errors import CutoverError
from sql.files import load
from sql.model import Move
from sql.pairs import Pairs, Side
from sql.render import key_parameters

Key = tuple[str, ...]
Cells = tuple[list[str | None], list[str | None], list[str | None]]  # legacy, consolidated, how masked ones differ

SESSION = {
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "work_mem": "64MB",
    "random_page_cost": "1.1",  # chunks are short: rather look keys up than scan a table for each
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "60s",
    "default_transaction_read_only": "on",
}
MOST_DIFFERENCES = 5000  # of one chunk; a chunk with more is split, so that memory stays flat
_FEWEST_KEYS = 500
_MOST_KEYS = 500_000
_GROWTH = 12  # a chunk is at most so many times the one that it is told from
_AIM = 0.5  # seconds that a chunk should take; leaves room below one second
_TOO_LONG_MS = 5_000
_MOST_TEXTS = 1_000  # sets of differing columns that are remembered
_MOST_LOCKED = 12  # times that a chunk may run into `lock_timeout`: a minute
# What only the data of a row can cause: bad values, constraints of domains, a sub-query with two rows, RAISE.
FAILS = "a value of this row fails in the mapping"  # never the value itself
_DATA = ("21", "22", "23", "38", "39", "54", "P0")


@dataclass(frozen=True, slots=True)
class Chunk:
    """The keys in (low, high], compared in one snapshot; None is open. `lsn`: at least that of all the snapshot saw."""

    low: Key | None
    high: Key | None
    legacy: int
    consolidated: int
    others: int
    pairs: int
    kept: int
    different: tuple[Observation, ...]
    duplicates: dict[Side, int]
    lsn: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """Keys that could not be compared, and why. `keys` is empty when even they could not be read."""

    keys: tuple[Key, ...]
    rows: int
    sqlstate: str
    message: str


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
        self.fewest = min(_MOST_KEYS, max(_FEWEST_KEYS, 3 * (int(many[1] / each) - many[0])))
        if self.fewest > _FEWEST_KEYS:  # a first chunk of a few keys would cost nearly as much, and tell little
            self.keys = max(self.keys, min(self.fewest, int(self.keys * _GROWTH * self.aim / _AIM)))

    def learn(self, keys: int, seconds: float) -> None:
        """A chunk of so many keys took so long."""
        if keys > 0:
            wanted = keys * max(0.5, (self.aim / max(seconds, 0.001)) ** 0.7)
            self.keys = int(min(max(self.fewest, wanted), keys * _GROWTH, _MOST_KEYS))

    def split(self) -> None:
        """A chunk was too much."""
        self.fewest = max(1, self.fewest // 4)
        self.keys = max(1, self.keys // 4)


class Comparison:
    """One session that compares one move; every method that takes a snapshot lets it go before it returns."""

    def __init__(
        self, conn: Connection, move: Move, where: str | None = None, *, pairs: Pairs | None = None
    ) -> None:  # fmt: skip
        self.conn = conn
        self.move = move
        self.pairs = pairs or Pairs(move, *_sorting(conn, move), where)
        self.sources = [(source, columns) for source in move.sources for columns in source.keys]
        self.itself = self._itself()
        self.longest = 0.0
        self._columns: dict[str, tuple[str, ...]] = {}

    def twin(self, conn: Connection) -> Comparison:
        """The same comparison in another session."""
        return Comparison(conn, self.move, pairs=self.pairs)

    # -- snapshots -----------------------------------------------------------------------------------------------------

    @contextmanager
    def snapshot(self, limit_ms: int = _TOO_LONG_MS) -> Iterator[Connection]:
        """A short REPEATABLE READ READ ONLY transaction: every statement in it sees the same."""
        started = time.monotonic()
        with self.conn.transaction():
            self.conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self.conn.execute(f"SET LOCAL statement_timeout = {limit_ms:d}")
            yield self.conn
        self.longest = max(self.longest, time.monotonic() - started)

    def role(self) -> str:
        """Who compares, as the server knows it."""
        return str(self._one("SELECT session_user::text", {})[0])

    def lsn(self) -> int:
        """The WAL's end. Asked inside a snapshot, it is at or beyond every commit that the snapshot sees."""
        return int(self._one("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn", {})[0])

    # -- chunks --------------------------------------------------------------------------------------------------------

    def estimate(self) -> tuple[int, int]:
        """The planner's number of rows of the mapping and of the target."""
        return tuple(
            int(self._one(self.pairs.estimate(side), {})[0][0]["Plan"]["Plan Rows"])
            for side in ("legacy", "consolidated")
        )  # type: ignore[return-value]

    def chunks(
        self, pace: Pace, on_split: Callable[[], None] = lambda: None, after: Key | None = None
    ) -> Iterator[Chunk | Failed]:
        """Every key of either side behind `after`, in order of the key; open-ended at both ends."""
        sides = self.sides()
        self.calibrate(pace, sides)
        low = after
        while True:
            high = self.next_bound(sides, low, pace.keys)
            yield from self.range(low, high, pace, sides, on_split)
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
            costs.append((keys, float(self._one(sql, {**_bounds(None, bound), "cap": 1})[0][0]["Plan"]["Total Cost"])))
        pace.expect(*costs)

    def sides(self) -> tuple[Side, Side]:
        """The side that is expected to have more keys first."""
        legacy, consolidated = self.estimate()
        return ("consolidated", "legacy") if consolidated >= legacy else ("legacy", "consolidated")

    def next_bound(self, sides: Sequence[Side], low: Key | None, keys: int) -> Key | None:
        """The end of the next chunk: so many keys on, on the larger side, or where that has no more, on the other."""
        for side in sides:
            if (bound := self._try_bound(side, low, None, keys)) is not None:
                return bound
        return None

    def range(
        self, low: Key | None, high: Key | None, pace: Pace, sides: Sequence[Side], on_split: Callable[[], None]
    ) -> Iterator[Chunk | Failed]:
        """One chunk; in parts where it has too many differences, takes too long, or holds a row that fails."""
        waiting: list[tuple[Key | None, Key | None]] = [(low, high)]
        locked = 0
        while waiting:
            low, high = waiting.pop()
            try:
                chunk = self.compare(low, high)
            except psycopg.errors.LockNotAvailable:
                locked += 1
                if locked == _MOST_LOCKED:
                    raise
                waiting.append((low, high))  # somebody takes ACCESS EXCLUSIVE for a moment: let it pass
                continue
            except psycopg.Error as error:
                if not (isinstance(error, psycopg.errors.QueryCanceled) or of_data(error)):
                    raise
                on_split()
                middle = self._middle(low, high, sides)
                if middle is None:
                    yield self._failed(low, high, error)
                else:
                    pace.split()
                    waiting += [(middle, high), (low, middle)]
                continue
            if chunk is None:
                on_split()
                middle = self._middle(low, high, sides)
                if middle is None:
                    raise CutoverError(f"the keys {low} … {high} cannot be split")
                waiting += [(middle, high), (low, middle)]
                continue
            pace.learn(chunk.pairs if self.pairs.where is None else pace.keys, chunk.seconds)
            yield chunk

    def compare(self, low: Key | None, high: Key | None) -> Chunk | None:
        """Compare the keys in (low, high] in one snapshot; None when too many differ to be taken at once."""
        started = time.monotonic()
        ends = {"low": low is not None, "high": high is not None}
        bounds = _bounds(low, high)
        with self.snapshot():
            row = self._one(self.pairs.chunk(**ends), {**bounds, "cap": MOST_DIFFERENCES})
            legacy, consolidated, others, pairs, kept, number, keys = row
            if number > MOST_DIFFERENCES:
                return None
            duplicates = self._duplicates(ends, bounds)
            found = self.observed([tuple(key) for key in keys or ()])
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

    def disagreeing(self, low: Key | None, high: Key | None) -> list[Key]:
        """Keys in (low, high] whose row belongs to others and differs from the mapping's, in the open snapshot."""
        sql = self.pairs.disagreements(low=low is not None, high=high is not None)
        return [tuple(row) for row in self._all(sql, _bounds(low, high))]

    def drawn(
        self, low: Key | None, high: Key | None, seed: int, below: int, most: int | None
    ) -> tuple[int, list[tuple[int, Key]]]:
        """The number of keys in (low, high] of either side, and those whose hash by `seed` is at most `below`, with it.

        `most`: only so many, the lowest.
        """
        sql = self.pairs.drawn(low=low is not None, high=high is not None, capped=most is not None)
        given = {**_bounds(low, high), "seed": seed, "below": below, "cap": most}
        with self.snapshot():
            count, found = self._one(sql, given)
        return count, [(int(hashed), tuple(key)) for hashed, *key in found]

    def chosen(self, keys: Sequence[Key]) -> Chunk:
        """Compare these keys and no others, in one snapshot. A key that is on neither side does not count."""
        started = time.monotonic()
        with self.snapshot():
            found = self.observed(keys)
            lsn = self.lsn()
        there = [seen for seen in found.values() if seen.legacy is not None or seen.consolidated is not None]
        return Chunk(
            None, None,
            sum(seen.legacy is not None for seen in there), sum(seen.consolidated is not None for seen in there),
            0, len(there), sum(seen.state == "kept" for seen in there),
            tuple(seen for seen in there if seen.state not in ("same", "kept")),
            {}, lsn, time.monotonic() - started,
        )  # fmt: skip

    def _duplicates(self, ends: dict[str, bool], bounds: dict[str, str]) -> dict[Side, list[Key]]:
        """Keys with several rows, of a side where nothing rules them out."""
        found: dict[Side, list[Key]] = {}
        suspects: list[Side] = [] if self.move.unique else ["legacy"]
        if not self.pairs.target_unique:
            suspects.append("consolidated")
        for side in suspects:
            rows = self._all(self.pairs.duplicates(side, **ends), {**bounds, "cap": MOST_DIFFERENCES})
            if rows:
                found[side] = [tuple(row[:-1]) for row in rows]
        return found

    # -- single keys ---------------------------------------------------------------------------------------------------

    def observed(self, keys: Sequence[Key]) -> dict[Key, Observation]:
        """How the keys stand, in the snapshot that is open.

        Raises psycopg.Error when the mapping fails for one of them.
        """
        if not keys:
            return {}
        move, lsn = self.move, self.lsn()
        given = key_parameters(keys, len(move.key))
        versions: list[list[str]] = [[""] * len(self.sources) for _ in keys]
        for at, (source, columns) in enumerate(self.sources):
            if at == self.itself:
                continue
            for number, version in self._all(self.pairs.versions(source, columns), given):
                versions[number - 1][at] = version
        found = {}
        conflicting = move.rows == "add" and move.existing == "report"
        for number, legacy, consolidated, mine, flags, left, right, version in self._all(self.pairs.observe(), given):
            key = keys[number - 1]
            if self.itself is not None:
                versions[number - 1][self.itself] = version or ""
            columns = self._differing(flags)
            state = state_of(
                rows=move.rows, existing=move.existing, legacy=legacy, consolidated=consolidated, mine=mine,
                differs=bool(columns),
            )  # fmt: skip
            found[key] = Observation(
                key=key,
                state=state,
                columns=columns,
                legacy=left,
                consolidated=right,
                sources=tuple(versions[number - 1]),
                target=version,
                lsn=lsn,
                conflict=conflicting and bool(consolidated) and not mine,
            )
        return found

    def _differing(self, flags: str) -> tuple[str, ...]:
        """The columns whose flag is set in the text of a boolean[]; most keys share a few of these texts."""
        if len(self._columns) > _MOST_TEXTS:
            self._columns.clear()
        if flags not in self._columns:
            told = zip(self.move.written, flags.strip("{}").split(","), strict=True) if self.move.written else ()
            self._columns[flags] = tuple(column.name for column, flag in told if flag == "t")
        return self._columns[flags]

    def cells(self, keys: Sequence[Key]) -> dict[Key, Cells]:
        """Both sides' values of the compared columns as text, and how those of masked ones differ, for the keys given.

        In the snapshot that is open.
        """
        if not keys:
            return {}
        rows = self._all(self.pairs.cells(), key_parameters(keys, len(self.move.key)))
        return {keys[number - 1]: (legacy, consolidated, masked) for number, legacy, consolidated, masked in rows}

    def different(self, most: int) -> list[Observation]:
        """Every key that differs in the snapshot that is open, `most` of them at most; ready to be proven."""
        low: Key | None = None
        found: list[Observation] = []
        while len(found) < most:
            high = self._bound("consolidated", low, None, _MOST_KEYS) or self._bound("legacy", low, None, _MOST_KEYS)
            sql = self.pairs.chunk(low=low is not None, high=high is not None)
            keys = self._one(sql, {**_bounds(low, high), "cap": most - len(found)})[-1]
            found += self.observed([tuple(key) for key in keys or ()]).values()
            if high is None:
                break
            low = high
        return found

    def null_keys(self, side: Side, limit_ms: int) -> int:
        """Rows of one side whose key has a NULL in it. Raises psycopg.errors.QueryCanceled beyond the limit."""
        with self.snapshot(limit_ms):
            return int(self._one(self.pairs.null_keys(side), {})[0])

    def _itself(self) -> int | None:
        """The place among the sources of the target itself: its row's version is read anyway."""
        names = tuple(key.name for key in self.move.key)
        for at, (source, columns) in enumerate(self.sources):
            if source.is_target and columns == names and self.pairs.target_unique:
                return at
        return None

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _bound(self, side: Side, low: Key | None, high: Key | None, skip: int) -> Key | None:
        sql = self.pairs.bound(side, low=low is not None, high=high is not None)
        rows = self._all(sql, {**_bounds(low, high), "skip": skip - 1})
        return tuple(rows[0]) if rows else None

    def _middle(self, low: Key | None, high: Key | None, sides: Sequence[Side]) -> Key | None:
        """A key that cuts (low, high] in two parts with keys in each, of the side with more of them; None: one key."""
        for side in sides:
            try:
                keys = [*self._keys(side, low, high, 2)]
                if len(set(keys)) < 2:
                    continue
                number = self._count(side, low, high)
                middle = self._bound(side, low, high, max(1, number // 2))
            except psycopg.Error as error:
                if not of_data(error):
                    raise
                continue
            if middle is not None and middle != high:
                return middle
        return self._between(low, high)

    def _between(self, low: Key | None, high: Key | None) -> Key | None:
        """Where each side has one key at most: the lower of two different ones."""
        firsts = {bound for side in ("legacy", "consolidated") if (bound := self._try_bound(side, low, high))}
        if len(firsts) < 2:
            return None
        # Which of the two sorts first is for PostgreSQL to say: the one that leaves the other above it.
        for key in firsts:
            if any(self._try_bound(side, key, high) for side in ("legacy", "consolidated")):
                return key
        return None

    def _try_bound(self, side: Side, low: Key | None, high: Key | None, skip: int = 1) -> Key | None:
        try:
            return self._bound(side, low, high, skip)
        except psycopg.Error as error:
            if not of_data(error):
                raise
            return None

    def _keys(self, side: Side, low: Key | None, high: Key | None, cap: int) -> list[Key]:
        sql = self.pairs.keys_between(side, low=low is not None, high=high is not None)
        return [tuple(row) for row in self._all(sql, {**_bounds(low, high), "cap": cap})]

    def _count(self, side: Side, low: Key | None, high: Key | None) -> int:
        sql = self.pairs.count_between(side, low=low is not None, high=high is not None)
        return int(self._one(sql, _bounds(low, high))[0])

    def _failed(self, low: Key | None, high: Key | None, error: psycopg.Error) -> Failed:
        keys: set[Key] = set()
        for side in ("legacy", "consolidated"):
            try:
                keys.update(self._keys(side, low, high, 100))
            except psycopg.Error as other:
                if not of_data(other):
                    raise
        message = error.diag.message_primary or "" if not of_data(error) else "a value of this row fails in the mapping"
        return Failed(tuple(sorted(keys)), max(1, len(keys)), error.sqlstate or "", message)

    def _one(self, sql: str, parameters: dict[str, Any]) -> Any:
        return self.conn.execute(sql.encode(), parameters, prepare=False).fetchone()

    def _all(self, sql: str, parameters: dict[str, Any]) -> list[Any]:
        return self.conn.execute(sql.encode(), parameters, prepare=False).fetchall()


def of_data(error: psycopg.Error) -> bool:
    """Is it the fault of a row, and not of the connection, the plan or the server?"""
    return not transient(error) and (error.sqlstate or "").startswith(_DATA)


def _bounds(low: Key | None, high: Key | None) -> dict[str, str]:
    given = {f"lo{at + 1}": text for at, text in enumerate(low or ())}
    return given | {f"hi{at + 1}": text for at, text in enumerate(high or ())}


def _sorting(conn: Connection, move: Move) -> tuple[tuple[str | None, ...], bool]:
    """The collation to sort each key column by, where the sides have different ones; is the target's key unique?"""
    names = [key.name for key in move.key]
    by_side: list[dict[str, str | None]] = [
        dict(conn.execute(load("reconcile/sorting").encode(), {"relation": relation.sql, "names": names}).fetchall())
        for relation in (move.view, move.target)
    ]
    collations = tuple(by_side[1].get(name) if by_side[0].get(name) != by_side[1].get(name) else None for name in names)
    target = read_tables(conn, [move.target])[move.target]
    return collations, any(index.complete and set(index.columns) <= set(names) for index in target.unique)
