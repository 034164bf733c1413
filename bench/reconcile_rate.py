"""Reconcile: every key compared and proven, beside the bare chunked keyed FULL JOIN and one count(*) of the mapping."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.stage import Stage, stage
from reconcile.run import reconcile

CHUNK = 50_000  # keys of the bare join's chunks
BOUND = "SELECT id FROM b.stock WHERE id > %s ORDER BY id OFFSET %s LIMIT 1"
FIRST = "00000000-0000-0000-0000-000000000000"
LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff"
JOIN = """
SELECT count(*), count(*) FILTER (WHERE v.purchase_price IS DISTINCT FROM t.purchase_price
           OR v.sale_price IS DISTINCT FROM t.sale_price OR v.currency IS DISTINCT FROM t.currency
           OR v.updated_at IS DISTINCT FROM t.updated_at)
  FROM (SELECT * FROM {view} WHERE id > %(low)s AND id <= %(high)s) v
  FULL JOIN (SELECT * FROM b.stock WHERE id > %(low)s AND id <= %(high)s) t USING (id)
"""


@dataclass(frozen=True, slots=True)
class Compared:
    """Seconds for all rows, three ways; `longest_ms` of our chunks' transactions."""

    rows: int
    ours: float
    join: float
    count: float
    longest_ms: float

    def lines(self) -> list[str]:
        return [
            f"reconcile, every key{'':<25} ours {self.rows / self.ours:>9,.0f}/s   bare FULL JOIN {self.rows / self.join:>9,.0f}/s"
            f"   ratio {self.join / self.ours:.2f}   (longest chunk {self.longest_ms:.0f} ms)",
            f"reconcile, every key{'':<25} ours {self.rows / self.ours:>9,.0f}/s   count(*) of the mapping {self.rows / self.count:>9,.0f}/s"
            f"   ratio {self.count / self.ours:.2f}",
        ]


def measure(server: str, log: str, rows: int = 1_000_000) -> Compared:
    with stage(server, log, rows) as made:
        made.conn.execute("VACUUM ANALYZE")
        view = made.plan.move("stock").view.sql
        _join(made, view)  # the first reader fills the caches
        join = _join(made, view)
        started = time.perf_counter()
        made.conn.execute(f"SELECT count(*) FROM {view}".encode())
        count = time.perf_counter() - started
        started = time.perf_counter()
        document = reconcile(made.dsn, made.plan, ["stock"], made.log, record=False)
        ours = time.perf_counter() - started
        (report,) = document.moves
        assert (report.rows.compared, report.rows.match) == (rows, rows), report
    found = Compared(rows, ours, join, count, report.chunks.longest_ms)
    print(*found.lines(), sep="\n", flush=True)
    return found


def _join(made: Stage, view: str) -> float:
    """Seconds of the bare join, chunk by chunk in the order of the key."""
    started = time.perf_counter()
    low, done = FIRST, 0
    while True:
        row = made.conn.execute(BOUND, (low, CHUNK - 1)).fetchone()
        high = str(row[0]) if row else LAST
        found = made.conn.execute(JOIN.format(view=view).encode(), {"low": low, "high": high}).fetchone()
        assert found is not None
        assert found[1] == 0
        done += int(found[0])
        if row is None:
            break
        low = high
    assert done == made.rows
    return time.perf_counter() - started
