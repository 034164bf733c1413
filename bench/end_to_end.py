"""End to end: a backlog drained through the log into the target, beside native logical replication of the same."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass

from bench.cpu import Spent, spent
from bench.stage import Native, Stage, stage


@dataclass(frozen=True, slots=True)
class Drained:
    """Seconds to drain one backlog of `changes` row changes, ours and PostgreSQL's own."""

    what: str
    changes: int
    ours: float
    native: float

    @property
    def ratio(self) -> float:
        return self.native / self.ours

    def line(self) -> str:
        return (
            f"{self.what:<44} ours {self.changes / self.ours:>9,.0f}/s   native {self.changes / self.native:>9,.0f}/s"
            f"   ratio {self.ratio:.2f}"
        )


def measure(server: str, log: str, rows: int = 200_000, transactions: int = 200_000, times: int = 3) -> list[Drained]:
    """The goals' backlogs: random keys and one large transaction with one and two consumers, the latter alone, hot keys.
    Each several times, for one drain differs from the next by a tenth and more; returned is the one in the middle."""
    found = []
    for what, singles, whole, hot, consumers, sessions in (
        ("random keys + one transaction, 1 consumer", transactions, True, 0.0, 1, 1),
        ("random keys + one transaction, 2 consumers", transactions, True, 0.0, 2, 1),
        ("one transaction alone, 1 consumer", 0, True, 0.0, 1, 1),
        ("the same, --sessions 2", 0, True, 0.0, 1, 2),
        ("hot keys (90 % on 1 %), 1 consumer", transactions, False, 0.9, 1, 1),
    ):
        several = [_one(server, log, rows, what, singles, whole, hot, consumers, sessions) for _ in range(times)]
        found.append(sorted(several, key=lambda each: each.ratio)[times // 2])
    return found


def _one(
    server: str, log: str, rows: int, what: str, singles: int, whole: bool, hot: float, consumers: int, sessions: int
) -> Drained:
    with stage(server, log, rows) as made:
        native = Native(made)
        try:
            if singles:
                made.load(singles, hot)
            if whole:
                made.load_whole()
            end = made.lsn()
            made.conn.execute("CHECKPOINT")  # as before ours: whole pages are written to WAL after one
            theirs = native.drain(end)
            ours = drain(made, end, consumers, sessions)
            made.proven()
            drained = Drained(what, singles + (rows if whole else 0), ours.seconds, theirs)
            print(drained.line(), ours.line(), sep="\n", flush=True)
            return drained
        finally:
            native.close()


def drain(made: Stage, end: str, consumers: int, sessions: int = 1) -> Spent:
    """The time from the first captured change to the last applied one, without the start of the interpreters."""
    made.conn.execute("CHECKPOINT")
    with ExitStack() as running:
        children = {
            f"consumer {at + 1}": running.enter_context(made.process("consume", "--sessions", str(sessions))).pid
            for at in range(consumers)
        }
        while True:  # the consumers are there once they have their leases
            row = made.conn.execute(
                "SELECT count(DISTINCT pid) FROM pg_stat_activity WHERE application_name LIKE 'cutover consume%%' AND datname = %s",
                (made.name,),
            ).fetchone()
            if row and row[0] >= consumers * sessions:
                break
            time.sleep(0.02)
        children["capture"] = running.enter_context(made.process("capture")).pid
        while True:
            row = made.conn.execute("SELECT cutover.captured(%s)", (made.name,)).fetchone()
            if row and row[0]:
                break
            time.sleep(0.005)
        with spent(made, **children) as found:
            made.applied(end)
        return found
