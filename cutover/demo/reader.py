"""Live readers of the facades, and the probe that measures when a write shows on the consolidated side."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from typing import Any

import psycopg

from cutover.demo.perform import open_session, reopen
from cutover.demo.workload import Workload
from cutover.demo.writer import Timeline, Writer
from sql.connection import Connection

_LOOK = 0.001  # seconds between two looks of the probe
_PATIENCE = 60.0  # seconds until a probe's write is taken for lost


class Reader:
    """Reads rows by key through the facades, on one session with prepared statements, flips or not.

    As `role`, which may do nothing else: owners and superusers are never refused, and would not notice what others do.
    """

    def __init__(
        self, dsn: str, workload: Workload, number: int, rate: float, keys: dict[str, list[str]], role: str | None
    ) -> None:
        self.dsn, self.workload, self.number, self.rate, self.keys = dsn, workload, number, rate, keys
        self.role = role
        self.timeline = Timeline()
        self.failures: Counter[str] = Counter()

    def run(self, stop: threading.Event) -> None:
        """Read until stopped."""
        reads = [each for each in self.workload.reads if self.keys[each.pool]]
        if not reads:
            return
        chance, weights = random.Random(self.number), [each.weight for each in reads]
        name = f"demo reader {self.number}"
        conn = open_session(self.dsn, name, self.role)
        due = time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            read = chance.choices(reads, weights)[0]
            begun = time.monotonic()
            try:
                for statement in read.statements:
                    conn.execute(statement.text.encode(), {"key": chance.choice(self.keys[read.pool])}).fetchall()
            except psycopg.Error as error:
                self.failures[error.sqlstate or type(error).__name__] += 1
                conn = reopen(conn, self.dsn, name, self.role)
            self.timeline.add(begun)
            due = max(due + chance.uniform(0.5, 1.5) / self.rate, time.monotonic())
        conn.close()


class Probe:
    """Writes as a writer does, and looks at the consolidated table until the write is there."""

    def __init__(self, writer: Writer, rate: float) -> None:
        self.writer, self.rate = writer, rate
        self.lags: list[float] = []  # seconds from the acknowledged commit to the first sight
        self.missing: list[str] = []  # keys of writes that were never seen

    def run(self, stop: threading.Event) -> None:
        """Probe until stopped. A probe that is under way then counts neither way: the ledger has its write."""
        conn = open_session(self.writer.dsn, "demo probe")
        while not stop.wait(1 / self.rate):
            values = self.writer.write(self.writer.workload.probe.write)
            if values is None:
                continue
            committed = time.monotonic()
            while not stop.is_set():
                conn, seen = self._look(conn, values)
                waited = time.monotonic() - committed
                if seen:
                    self.lags.append(waited)
                    break
                if waited > _PATIENCE:
                    self.missing.append(values["key"])
                    break
                time.sleep(_LOOK)
        conn.close()

    def _look(self, conn: Connection, values: dict[str, Any]) -> tuple[Connection, bool]:
        try:
            return conn, conn.execute(self.writer.workload.probe.read.encode(), values).fetchone() is not None
        except psycopg.Error:
            return reopen(conn, self.writer.dsn, "demo probe"), False
