"""Latency: from a commit on a source to its sight in the target, on an idle system, beside native replication."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass

from bench.stage import Native, Stage, stage
from sql.connection import Connection


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from commit to sight."""

    what: str
    p50: float
    p99: float

    def line(self) -> str:
        return f"latency, {self.what:<35} p50 {self.p50:>6.1f} ms   p99 {self.p99:>6.1f} ms"


def measure(server: str, log: str, rows: int = 10_000, samples: int = 300) -> list[Latency]:
    """Ours through the log, then native replication into a plain copy."""
    found = []
    with stage(server, log, rows) as made, ExitStack() as running:
        native = Native(made)
        running.enter_context(made.process("capture"))
        running.enter_context(made.process("consume"))
        made.applied(made.lsn())
        found.append(_sample("ours", made, made.conn, "SELECT sale_price FROM b.stock WHERE id = %s", samples))
        running.close()
        native.drain(made.lsn())
        native.conn.execute(f"ALTER SUBSCRIPTION {native.name} ENABLE".encode())
        query = "SELECT sale_price FROM b.stock_financial WHERE stock_id = %s"
        found.append(_sample("native", made, native.conn, query, samples))
        native.conn.execute(f"ALTER SUBSCRIPTION {native.name} DISABLE".encode())
        native.close()
    for latency in found:
        print(latency.line(), flush=True)
    return found


def _sample(what: str, made: Stage, reader: Connection, query: str, samples: int) -> Latency:
    made.conn.execute("SET synchronous_commit = on")  # else the WAL writer's 200 ms are what is measured
    keys = made.conn.execute("SELECT id FROM b.numbered WHERE n <= %s ORDER BY n", (samples + 20,)).fetchall()
    waits = []
    for number, (key,) in enumerate(keys):
        price = number + (0.25 if what == "ours" else 0.75)
        made.conn.execute(
            "UPDATE b.stock_financial SET sale_price = %s WHERE stock_id = %s", (price, key), prepare=True
        )
        started = time.perf_counter()
        while True:
            row = reader.execute(query.encode(), (key,), prepare=True).fetchone()
            if row is not None and float(row[0]) == price:
                break
        waits.append((time.perf_counter() - started) * 1000)
        time.sleep(0.02)  # the pace of an idle system: the next commit finds everything at rest
    waits = sorted(waits[20:])
    return Latency(what, statistics.median(waits), waits[int(len(waits) * 0.99)])
