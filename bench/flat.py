"""Flat cost: the same changes over tables of 100 thousand and of 5 million rows.

Each change has a key of its own: drawn at random, a third of them would fall on keys of the small table that are there
already, which converge once, and hardly one in the large table. PostgreSQL's own replication of the same changes, which has
only one table to look keys up in, says how much dearer the large table's pages are by themselves."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from bench.end_to_end import drain
from bench.stage import Native, stage


@dataclass(frozen=True, slots=True)
class Flat:
    """Microseconds a change over a small and a large table, ours and PostgreSQL's own."""

    changes: int
    small: float
    large: float
    rows: int
    native: tuple[float, float]

    def line(self) -> str:
        return (
            f"cost per change, {self.changes // 1000:,}k against {self.rows // 1000:,}k rows{'':<8}"
            f" {self.small:,.1f} µs   {self.large:,.1f} µs   ratio {self.large / self.small:.2f}"
            f"   (native {self.native[0]:,.1f} µs   {self.native[1]:,.1f} µs   ratio {self.native[1] / self.native[0]:.2f})"
        )


def measure(server: str, log: str, rows: int = 5_000_000, changes: int = 100_000) -> Flat:
    """So many changes over a table of just as many rows, and over one of `rows`; never more changes than rows."""
    changes = min(changes, rows)
    costs, natives = [], []
    for size in (changes, rows):
        with stage(server, log, size) as made, closing(Native(made)) as native:
            made.load_once(changes)
            end = made.lsn()
            made.conn.execute("CHECKPOINT")
            natives.append(1e6 * native.drain(end) / changes)
            took = drain(made, end, 1)
            costs.append(1e6 * took.seconds / changes)
            made.proven()
        print(took.line(), flush=True)
    found = Flat(changes, costs[0], costs[1], rows, (natives[0], natives[1]))
    print(found.line(), flush=True)
    return found
