"""Reconcile beside reladiff and beside the bare join in two sessions, on the same tables: equal, and 1 % differing.

First through a mapping that joins two tables with random keys, then over two plain tables that were filled in key order
and have five times as many rows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.conninfo import conninfo_to_dict

from bench.stage import JOINED, Stage, Tables, stage
from reconcile.run import reconcile
from sql.connection import connect, own
from sql.model import Move

CHUNK = 50_000  # keys of the bare join's chunks
COLUMNS = ("purchase_price", "sale_price", "currency", "updated_at")
BOUND = "SELECT id FROM {target} WHERE id > %s AND id < %s ORDER BY id OFFSET %s LIMIT 1"
JOIN = """
SELECT count(*), count(*) FILTER (WHERE v.purchase_price IS DISTINCT FROM t.purchase_price
           OR v.sale_price IS DISTINCT FROM t.sale_price OR v.currency IS DISTINCT FROM t.currency
           OR v.updated_at IS DISTINCT FROM t.updated_at)
  FROM (SELECT * FROM {legacy} WHERE id > %(low)s AND id <= %(high)s) v
  FULL JOIN (SELECT * FROM {target} WHERE id > %(low)s AND id <= %(high)s) t USING (id)
"""
SPOIL = """
UPDATE b.stock SET sale_price = sale_price + 1 WHERE id IN (SELECT id FROM b.numbered WHERE n % 100 = 0)
"""
PLAIN = Tables(
    """
CREATE SCHEMA b;
CREATE TABLE b.fragment (id bigint PRIMARY KEY, purchase_price numeric(10,2), sale_price numeric(10,2), currency text,
                         updated_at timestamp);
CREATE TABLE b.whole (LIKE b.fragment INCLUDING ALL);
INSERT INTO b.fragment SELECT n, 10 + n % 90, 20 + n % 80, 'EUR', now() FROM generate_series(1, {rows}) n;
""",
    """
name = "{name}"
[moves.plain]
target  = "b.whole"
mapping = "plain.sql"
key     = ["id"]
rows    = "add"
""",
    {"plain.sql": "SELECT id, purchase_price, sale_price, currency, updated_at FROM b.fragment"},
)


@dataclass(frozen=True, slots=True)
class Case:
    """Tables to compare. `ends`: the first key's lower bound, the middle and the last; `spoil`: make 1 % differ.

    `fill`: what makes the target right before anything else does, with {owned} for the move's memory of its own rows.
    """

    title: str
    rows: int
    tables: Tables
    ends: tuple[object, object, object]
    spoil: str
    fill: str | None = None


def cases(rows: int) -> list[Case]:
    many = 5 * rows  # these take a fifth of the time for a row, and what a run begins with is to be as small a share
    zero, last = ("-".join(digit * n for n in (8, 4, 4, 4, 12)) for digit in "0f")
    return [
        Case(
            "two tables joined",
            rows,
            JOINED,
            (zero, zero.replace("0", "8", 1), last),
            SPOIL,
        ),
        Case(
            "plain tables",
            many,
            PLAIN,
            (0, many // 2, many),
            "UPDATE b.whole SET sale_price = sale_price + 1 WHERE id % 100 = 0",
            "INSERT INTO b.whole SELECT * FROM b.fragment ORDER BY id;"
            " INSERT INTO {owned} SELECT id FROM b.fragment ORDER BY id",
        ),
    ]


@dataclass(frozen=True, slots=True)
class Beside:
    """Seconds for all rows of ours, the bare join in two sessions, and reladiff's two algorithms."""

    title: str
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
            f"reconcile, {self.title}, {self.differing:>6,} of {self.rows:,} differ   {told}   ratios"
            f" {self.join / self.ours:.2f}, {self.hashdiff / self.ours:.1f}, {self.joindiff / self.ours:.1f}"
        )


def measure(server: str, log: str, rows: int = 1_000_000) -> list[Beside]:
    return [beside for case in cases(rows) for beside in _measured(server, log, case)]


def _measured(server: str, log: str, case: Case) -> list[Beside]:
    found, rows = [], case.rows
    with stage(server, log, rows, case.tables) as made, made.process("capture"), made.process("consume"):
        (move,) = made.plan.moves
        if case.fill:
            made.conn.execute(case.fill.format(owned=move.owned).encode(), prepare=False)
        with made.process("backfill") as filling:
            filling.wait(300)
        made.applied(made.lsn())
        for differing in (0, rows // 100):
            if differing:
                with own(made.conn):
                    made.conn.execute(case.spoil.encode())
            made.conn.execute("VACUUM ANALYZE")
            _join(made, case, differing)  # the first reader fills the caches
            join, ours = _join(made, case, differing), _ours(made, differing)
            found.append(Beside(case.title, rows, differing, ours, join, *_reladiff(made, move, differing)))
            print(found[-1].line(), flush=True)
    return found


def _ours(made: Stage, differing: int) -> float:
    started = time.perf_counter()
    (report,) = reconcile(made.dsn, made.plan, None, made.log, record=False, timeout=120).moves
    assert (report.rows.compared, report.rows.drift) == (made.rows, differing), report
    return time.perf_counter() - started


def _join(made: Stage, case: Case, differing: int) -> float:
    """Seconds of the bare join, chunk by chunk in the order of the key, one half of the keys in each of two sessions."""
    counts: list[tuple[int, int]] = []
    halves = (case.ends[:2], case.ends[1:])
    threads = [threading.Thread(target=lambda half=half: counts.append(_half(made, *half))) for half in halves]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    assert [sum(each) for each in zip(*counts, strict=True)] == [made.rows, differing], counts
    return seconds


def _half(made: Stage, low: object, last: object) -> tuple[int, int]:
    (move,) = made.plan.moves
    bound = BOUND.format(target=move.target).encode()
    join = JOIN.format(legacy=move.view, target=move.target).encode()
    rows = different = 0
    with connect(made.dsn, "bench", jit="off", max_parallel_workers_per_gather="0", work_mem="64MB") as conn:
        while True:
            row = conn.execute(bound, (low, last, CHUNK - 1)).fetchone()
            high = row[0] if row else last
            found = conn.execute(join, {"low": low, "high": high}).fetchone()
            assert found is not None
            rows, different = rows + int(found[0]), different + int(found[1])
            if row is None:
                return rows, different
            low = high


def _reladiff(made: Stage, move: Move, differing: int) -> Sequence[float]:
    """Seconds of both algorithms of reladiff, with as many threads as there are cores here."""
    try:
        from reladiff import Algorithm, connect_to_table, diff_tables
    except ImportError:
        raise SystemExit("reladiff is needed: pip install -e '.[bench]'") from None
    database = {"driver": "postgresql", **conninfo_to_dict(made.dsn)}
    seconds = []
    for algorithm in (Algorithm.HASHDIFF, Algorithm.JOINDIFF):
        sides = [
            connect_to_table(database, (table.schema, table.relation), "id", extra_columns=COLUMNS, thread_count=2)
            for table in (move.view, move.target)
        ]
        started = time.perf_counter()
        keys = {row[0] for _, row in diff_tables(*sides, algorithm=algorithm, max_threadpool_size=2)}
        seconds.append(time.perf_counter() - started)
        assert len(keys) == differing, (algorithm, len(keys))
        for side in sides:
            side.database.close()
    return seconds
