"""Flat cost: the same changes over tables of 100 thousand and of 5 million rows."""

from __future__ import annotations

from dataclasses import dataclass

from bench.end_to_end import drain
from bench.stage import stage


@dataclass(frozen=True, slots=True)
class Flat:
    """Changes per second over a small and a large table."""

    small: float
    large: float
    rows: int

    def line(self) -> str:
        return (
            f"cost per change, 100k against {self.rows // 1000:,}k rows{'':<8} {1e6 / self.small:,.1f} µs   {1e6 / self.large:,.1f} µs"
            f"   ratio {self.small / self.large:.2f}"
        )


def measure(server: str, log: str, rows: int = 5_000_000, changes: int = 100_000) -> Flat:
    rates = []
    for size in (100_000, rows):
        with stage(server, log, size) as made:
            made.load(changes)
            end = made.lsn()
            made.conn.execute("CHECKPOINT")
            rates.append(changes / drain(made, end, 1).seconds)
            made.proven()
    found = Flat(rates[0], rates[1], rows)
    print(found.line(), flush=True)
    return found
