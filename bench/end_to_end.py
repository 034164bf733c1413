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


@dataclass(frozen=True, slots=True)
class Case:
    """A backlog: `singles` one-row transactions, of which `hot` out of 1 fall on one hundredth of the keys, and, if
    `whole`, one transaction over every row. Who drains it: so many consumers, alone each in so many sessions."""

    what: str
    singles: int
    whole: bool = True
    hot: float = 0.0
    consumers: int = 1
    sessions: int = 2  # as `consume` has it


def measure(server: str, log: str, rows: int = 200_000, transactions: int = 200_000, times: int = 3) -> list[Drained]:
    """The goals' backlogs, each several times, for one drain differs from the next by a tenth and more: what counts is
    the one in the middle, which is printed last."""
    found = []
    for case in (
        Case("random keys + one transaction, 1 consumer", transactions),
        Case("random keys + one transaction, 2 consumers", transactions, consumers=2),
        Case("one transaction alone, 1 consumer", 0),
        Case("one transaction alone, --sessions 1", 0, sessions=1),
        Case("hot keys (90 % on 1 %), 1 consumer", transactions, whole=False, hot=0.9),
    ):
        several = sorted((_one(server, log, rows, case) for _ in range(times)), key=lambda each: each.ratio)
        found.append(several[times // 2])
        print(f"{found[-1].line()}   (of {times}: {several[0].ratio:.2f} to {several[-1].ratio:.2f})", flush=True)
    return found


def _one(server: str, log: str, rows: int, case: Case) -> Drained:
    with stage(server, log, rows) as made:
        native = Native(made)
        try:
            if case.singles:
                made.load(case.singles, case.hot)
            if case.whole:
                made.load_whole()
            end = made.lsn()
            made.conn.execute("CHECKPOINT")  # as before ours: whole pages are written to WAL after one
            theirs = native.drain(end)
            ours = drain(made, end, case.consumers, case.sessions)
            made.proven()
            drained = Drained(case.what, case.singles + (rows if case.whole else 0), ours.seconds, theirs)
            print(f"    ratio {drained.ratio:.2f}", ours.line(), sep="\n", flush=True)
            return drained
        finally:
            native.close()


def drain(made: Stage, end: str, consumers: int, sessions: int = 2) -> Spent:
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
            if row and row[0] >= consumers:
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
