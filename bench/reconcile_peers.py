"""Reconcile beside reladiff and beside the bare join in two sessions, on the same tables: equal, and 1 % differing."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from psycopg.conninfo import conninfo_to_dict

from bench.stage import Stage, stage
from reconcile.run import reconcile
from sql.connection import connect, own

CHUNK = 50_000  # keys of the bare join's chunks
COLUMNS = ("purchase_price", "sale_price", "currency", "updated_at")
HALVES = (
    ("00000000-0000-0000-0000-000000000000", "80000000-0000-0000-0000-000000000000"),
    ("80000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
)
BOUND = "SELECT id FROM b.stock WHERE id > %s AND id < %s ORDER BY id OFFSET %s LIMIT 1"
JOIN = """
SELECT count(*), count(*) FILTER (WHERE v.purchase_price IS DISTINCT FROM t.purchase_price
           OR v.sale_price IS DISTINCT FROM t.sale_price OR v.currency IS DISTINCT FROM t.currency
           OR v.updated_at IS DISTINCT FROM t.updated_at)
  FROM (SELECT * FROM {view} WHERE id > %(low)s AND id <= %(high)s) v
  FULL JOIN (SELECT * FROM b.stock WHERE id > %(low)s AND id <= %(high)s) t USING (id)
"""
SPOIL = """
UPDATE b.stock SET sale_price = sale_price + 1 WHERE id IN (SELECT id FROM b.numbered WHERE n % 100 = 0)
"""


@dataclass(frozen=True, slots=True)
class Beside:
    """Seconds for all rows of ours, the bare join in two sessions, and reladiff's two algorithms."""

    rows: int
    differing: int
    ours: float
    join: float
    hashdiff: float
    joindiff: float

    def line(self) -> str:
        rates = {
            "ours": self.ours,
            "two bare joins": self.join,
            "reladiff hash": self.hashdiff,
            "reladiff join": self.joindiff,
        }
        told = "   ".join(f"{name} {self.rows / seconds:>9,.0f}/s" for name, seconds in rates.items())
        return (
            f"reconcile, {self.differing:>6,} of {self.rows:,} differ   {told}   ratios"
            f" {self.join / self.ours:.2f}, {self.hashdiff / self.ours:.1f}, {self.joindiff / self.ours:.1f}"
        )


def measure(server: str, log: str, rows: int = 1_000_000) -> list[Beside]:
    found = []
    with stage(server, log, rows) as made, made.process("capture"), made.process("consume"):
        with made.process("backfill") as filling:
            filling.wait(300)
        made.applied(made.lsn())
        for differing in (0, rows // 100):
            if differing:
                with own(made.conn):
                    made.conn.execute(SPOIL)
            made.conn.execute("VACUUM ANALYZE")
            _join(made, differing)  # the first reader fills the caches
            join, ours = _join(made, differing), _ours(made, differing)
            found.append(Beside(rows, differing, ours, join, *_reladiff(made, differing)))
            print(found[-1].line(), flush=True)
    return found


def _ours(made: Stage, differing: int) -> float:
    started = time.perf_counter()
    (report,) = reconcile(made.dsn, made.plan, ["stock"], made.log, record=False, timeout=120).moves
    assert (report.rows.compared, report.rows.drift) == (made.rows, differing), report
    return time.perf_counter() - started


def _join(made: Stage, differing: int) -> float:
    """Seconds of the bare join, chunk by chunk in the order of the key, one half of the keys in each of two sessions."""
    counts: list[tuple[int, int]] = []
    threads = [threading.Thread(target=lambda half=half: counts.append(_half(made, *half))) for half in HALVES]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    assert [sum(each) for each in zip(*counts, strict=True)] == [made.rows, differing], counts
    return seconds


def _half(made: Stage, low: str, last: str) -> tuple[int, int]:
    view = made.plan.move("stock").view.sql
    rows = different = 0
    with connect(made.dsn, "bench", jit="off", max_parallel_workers_per_gather="0", work_mem="64MB") as conn:
        while True:
            row = conn.execute(BOUND, (low, last, CHUNK - 1)).fetchone()
            high = str(row[0]) if row else last
            found = conn.execute(JOIN.format(view=view).encode(), {"low": low, "high": high}).fetchone()
            assert found is not None
            rows, different = rows + int(found[0]), different + int(found[1])
            if row is None:
                return rows, different
            low = high


def _reladiff(made: Stage, differing: int) -> list[float]:
    """Seconds of both algorithms of reladiff, with as many threads as there are cores here."""
    try:
        from reladiff import Algorithm, connect_to_table, diff_tables
    except ImportError:
        raise SystemExit("reladiff is needed: pip install -e '.[bench]'") from None
    view, database = made.plan.move("stock").view, {"driver": "postgresql", **conninfo_to_dict(made.dsn)}
    seconds = []
    for algorithm in (Algorithm.HASHDIFF, Algorithm.JOINDIFF):
        sides = [
            connect_to_table(database, table, "id", extra_columns=COLUMNS, thread_count=2)
            for table in ((view.schema, view.relation), ("b", "stock"))
        ]
        started = time.perf_counter()
        keys = {row[0] for _, row in diff_tables(*sides, algorithm=algorithm, max_threadpool_size=2)}
        seconds.append(time.perf_counter() - started)
        assert len(keys) == differing, (algorithm, len(keys))
        for side in sides:
            side.database.close()
    return seconds
