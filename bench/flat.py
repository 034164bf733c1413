"""Flat cost: the same changes over tables of 100 thousand and of 5 million rows.

Each change has a key of its own: drawn at random, a third of them would fall on keys of the small table that are there
already, which converge once, and hardly one in the large table."""

from __future__ import annotations

from dataclasses import dataclass

from bench.end_to_end import drain
from bench.stage import stage


@dataclass(frozen=True, slots=True)
class Flat:
    """Microseconds a change over a small and a large table."""

    changes: int
    small: float
    large: float
    rows: int

    def line(self) -> str:
        return (
            f"cost per change, {self.changes // 1000:,}k against {self.rows // 1000:,}k rows{'':<8}"
            f" {self.small:,.1f} µs   {self.large:,.1f} µs   ratio {self.large / self.small:.2f}"
        )


def measure(server: str, log: str, rows: int = 5_000_000, changes: int = 100_000) -> Flat:
    """So many changes over a table of just as many rows, and over one of `rows`; never more changes than rows."""
    changes = min(changes, rows)
    costs = []
    for size in (changes, rows):
        with stage(server, log, size) as made:
            made.load_once(changes)
            end = made.lsn()
            made.conn.execute("CHECKPOINT")
            took = drain(made, end, 1)
            costs.append(1e6 * took.seconds / changes)
            made.proven()
        print(took.line(), flush=True)
    found = Flat(changes, costs[0], costs[1], rows)
    print(found.line(), flush=True)
    return found
