"""Flat cost: the same changes over tables of 100 thousand and of 5 million rows.

Each change has a key of its own: drawn at random, a third of them would fall on keys of the small table that are there
already, which converge once, and hardly one in the large table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.end_to_end import drain
from bench.stage import Stage, stage


@dataclass(slots=True)
class Written:
    """WAL of the server while something is measured: whole pages, and bytes."""

    pages: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Side:
    """Seconds to drain the changes over a table of so many rows, and the WAL that the drain wrote."""

    rows: int
    seconds: float
    written: Written = field(default_factory=Written)


@dataclass(frozen=True, slots=True)
class Flat:
    """The same changes over a small and a large table."""

    changes: int
    small: Side
    large: Side

    def line(self) -> str:
        small, large = (1e6 * side.seconds / self.changes for side in (self.small, self.large))
        what = f"cost per change, {self.small.rows // 1000:,}k against {self.large.rows // 1000:,}k rows"
        return f"{what:<44} {small:,.1f} µs   {large:,.1f} µs   ratio {large / small:.2f}"


def measure(server: str, log: str, rows: int = 5_000_000, changes: int = 100_000) -> Flat:
    """As many changes over a table with just that many rows as over the large one."""
    found = Flat(changes, _side(server, log, changes, changes), _side(server, log, rows, changes))
    print(found.line(), flush=True)
    return found


def _side(server: str, log: str, rows: int, changes: int) -> Side:
    with stage(server, log, rows) as made:
        made.load_once(changes)
        end = made.lsn()
        with _written(made) as written:
            took = drain(made, end, 1)
        made.proven()
    print(
        f"    {rows:,} rows: {written.pages:,} whole pages in {written.size / 1e6:,.0f} MB of WAL",
        took.line(),
        sep="\n",
    )
    return Side(rows, took.seconds, written)


@contextmanager
def _written(made: Stage) -> Iterator[Written]:
    query = "SELECT wal_fpi, wal_bytes FROM pg_stat_wal"
    before = made.conn.execute(query).fetchone()
    found = Written()
    yield found
    after = made.conn.execute(query).fetchone()
    assert before
    assert after
    found.pages, found.size = int(after[0] - before[0]), int(after[1] - before[1])
