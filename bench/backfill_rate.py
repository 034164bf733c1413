"""Backfill: touch every key and converge it, beside one UPDATE … FROM of the same mapping.

The command's start is in its time, a quarter of it over the small table, and less the more rows there are: so both."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass

from bench.stage import stage

EMPTY = "UPDATE b.stock SET purchase_price = NULL, sale_price = NULL, currency = NULL, updated_at = NULL"


@dataclass(frozen=True, slots=True)
class Backfill:
    """Seconds for all rows."""

    rows: int
    ours: float
    update: float

    def line(self) -> str:
        return (
            f"{f'backfill of {self.rows // 1000:,}k rows':<44} ours {self.rows / self.ours:>9,.0f}/s   UPDATE FROM {self.rows / self.update:>9,.0f}/s"
            f"   ratio {self.update / self.ours:.2f}"
        )


def measure(server: str, log: str, rows: int | None = None) -> list[Backfill]:
    """Over the rows given, else over a small and a large table."""
    return [_one(server, log, each) for each in ((rows,) if rows else (200_000, 1_000_000))]


def _one(server: str, log: str, rows: int) -> Backfill:
    with stage(server, log, rows) as made:
        view = made.plan.move("stock").view
        made.conn.execute(EMPTY)
        made.conn.execute("VACUUM ANALYZE")
        started = time.perf_counter()
        made.conn.execute(
            "UPDATE b.stock s SET purchase_price = v.purchase_price, sale_price = v.sale_price, currency = v.currency,"
            f" updated_at = v.updated_at FROM {view} v WHERE v.id = s.id".encode()
        )
        update = time.perf_counter() - started
        made.conn.execute(EMPTY)
        made.conn.execute("VACUUM ANALYZE")
        with ExitStack() as running:
            running.enter_context(made.process("consume"))
            running.enter_context(made.process("capture"))
            made.applied(made.lsn())
            started = time.perf_counter()
            with made.process("backfill") as child:
                child.wait()
            ends = made.log.end_offsets(made.plan.move("stock").topic)
            while True:
                row = made.conn.execute(
                    'SELECT sum("offset") FROM cutover.position WHERE plan = %s', (made.name,)
                ).fetchone()
                if row and row[0] >= sum(ends):
                    break
                time.sleep(0.01)
            ours = time.perf_counter() - started
        made.proven()
    found = Backfill(rows, ours, update)
    print(found.line(), flush=True)
    return found
