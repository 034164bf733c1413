"""Replay: the log read again from its start beside capture and a consumer, against the rate at which it was applied live."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass

from bench.end_to_end import drain
from bench.stage import Stage, stage
from cdc import stretch
from consumers.replay import Replayed, Replayer

CORRUPT = "UPDATE b.stock SET sale_price = -1, currency = NULL WHERE id IN (SELECT id FROM b.numbered WHERE n % 3 = 0)"


@dataclass(frozen=True, slots=True)
class Again:
    """Changes per second live and again, and the rows that two replays changed: of a healthy target, and of a damaged."""

    changes: int
    live: float
    again: float
    healthy: int
    damaged: int
    mended: int

    def lines(self) -> list[str]:
        return [
            f"replay of {self.changes:,} changes{'':<18} again {self.changes / self.again:>9,.0f}/s   live {self.changes / self.live:>9,.0f}/s"
            f"   ratio {self.live / self.again:.2f}   ({self.healthy} rows changed)",
            f"replay over {self.damaged:,} damaged rows: {self.mended:,} rows changed, both sides equal",
        ]


def measure(server: str, log: str, rows: int = 200_000, transactions: int = 400_000) -> Again:
    """Transactions of one row each, and then every row five times in transactions of all rows."""
    with stage(server, log, rows) as made:
        made.load(transactions)
        for _ in range(5):
            made.load_whole()
        changes = transactions + 5 * rows
        live = drain(made, made.lsn(), 1).seconds
        with ExitStack() as running:
            running.enter_context(made.process("consume"))
            running.enter_context(made.process("capture"))
            made.applied(made.lsn())
            started = time.perf_counter()
            healthy = _replay(made)
            again = time.perf_counter() - started
        # Damaged while nobody looks: a write to the target of its own source would be mended by the stream.
        row = made.conn.execute(CORRUPT.encode())
        mended = _replay(made)
        made.proven()
    found = Again(changes, live, again, healthy.changed, row.rowcount, mended.changed)
    print(*found.lines(), sep="\n", flush=True)
    return found


def _replay(made: Stage) -> Replayed:
    move = made.plan.move("stock")
    replayer = Replayer(made.dsn, made.plan, move, made.log, threading.Event())
    done = replayer.run(f"bench {time.monotonic_ns()}", stretch.whole(made.log, move))
    assert done.finished
    return done
