"""A live writer: transactions at a steady rate on keys of its own, and the ledger of what was acknowledged."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg

from cutover.demo.ledger import Ledger
from cutover.demo.perform import Done, choose_keys, open_session, perform, read_rows, reopen
from cutover.demo.workload import Transaction, Workload

KEYS = 400  # of each pool for each writer, to begin with
_HOT, _HOT_SHARE = 8, 0.25  # a quarter of the writes go to a few keys
# Each writer's newest transaction, written by that transaction: what became of one that nobody answered for. Not
# pg_xact_status(): after a crash, the id of a transaction that left nothing in the WAL is given out again.
_TABLE = (
    "CREATE SCHEMA IF NOT EXISTS cutover_demo",
    "CREATE TABLE IF NOT EXISTS cutover_demo.progress (writer int PRIMARY KEY, number bigint NOT NULL)",
)
_ENTER = "INSERT INTO cutover_demo.progress VALUES (%s, 0) ON CONFLICT (writer) DO UPDATE SET number = 0"
_COUNT = "UPDATE cutover_demo.progress SET number = %s WHERE writer = %s"
_NEWEST = (
    "SELECT number, EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s) FROM cutover_demo.progress WHERE writer = %s"
)
_LOOK = 0.1  # seconds


class Keys:
    """The keys that a writer may choose: added and removed at once, chosen at random."""

    def __init__(self, keys: list[str], chance: random.Random) -> None:
        self._keys, self._chance = list(dict.fromkeys(keys)), chance
        self._at = {key: at for at, key in enumerate(self._keys)}

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: str) -> None:
        if key not in self._at:
            self._at[key] = len(self._keys)
            self._keys.append(key)

    def remove(self, key: str) -> None:
        at = self._at.pop(key, None)
        if at is not None:
            last = self._keys.pop()
            if last != key:
                self._keys[at], self._at[last] = last, at

    def two(self) -> tuple[str, str]:
        """Two different keys, the first one often a hot one."""
        hot = self._chance.random() < _HOT_SHARE
        first = self._chance.randrange(min(_HOT, len(self._keys)) if hot else len(self._keys))
        second = (first + 1 + self._chance.randrange(len(self._keys) - 1)) % len(self._keys)
        return self._keys[first], self._keys[second]

    def all(self) -> list[str]:
        return list(self._keys)


@dataclass(slots=True)
class Timeline:
    """When something was asked (time.monotonic()) and how long it took, in seconds."""

    begun: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)

    def add(self, begun: float) -> None:
        self.took.append(time.monotonic() - begun)
        self.begun.append(begun)


class Writer:
    """One writer of `writers`, on its own session. A transaction that fails is undone and counted, never repeated."""

    def __init__(self, dsn: str, workload: Workload, number: int, writers: int, rate: float) -> None:
        self.dsn, self.workload, self.number, self.writers, self.rate = dsn, workload, number, writers, rate
        self.ledger, self.timeline = Ledger(), Timeline()
        self.failures: Counter[str] = Counter()
        self.unknown = 0  # commits that nobody answered; their outcome was asked for afterwards
        self.pools: dict[str, Keys] = {}
        self._chance = random.Random(number)
        self._count = 0
        self._pid = 0  # of the session that was asked to commit last
        self._name = f"demo writer {number}"

    def prepare(self) -> None:
        """Choose the keys and enter what they have: all writers do, before the first one writes."""
        self.conn = open_session(self.dsn, self._name)
        for statement in _TABLE:
            self.conn.execute(statement)
        self.conn.execute(_ENTER, (self.number,))
        for name, pool in self.workload.pools.items():
            keys = choose_keys(self.conn, pool, self.number, self.writers, KEYS)
            self.ledger.open(read_rows(self.conn, pool, keys))
            self.pools[name] = Keys(keys, self._chance)

    def run(self, stop: threading.Event) -> None:
        """Write until stopped."""
        kinds = self.workload.transactions
        weights = [each.weight for each in kinds]
        due = time.monotonic() + self._chance.random() / self.rate
        while not stop.wait(max(0.0, due - time.monotonic())):
            self.write(self._chance.choices(kinds, weights)[0])
            due = max(due + self._chance.uniform(0.5, 1.5) / self.rate, time.monotonic())
        self.conn.close()

    def write(self, transaction: Transaction) -> dict[str, Any] | None:
        """One transaction. Returns its parameters when it committed and wrote something, else None."""
        keys = self.pools[transaction.pool]
        if len(keys) < 2:
            return None
        values = self._values(*keys.two())
        begun = time.monotonic()
        written = self._transact(transaction, values)
        self.timeline.add(begun)
        return values if written else None

    def _values(self, key: str, other: str) -> dict[str, Any]:
        self._count += 1
        new = str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
        return {"key": key, "other": other, "new": new, "number": str(self._count), "writer": str(self.number)}

    def _transact(self, transaction: Transaction, values: dict[str, Any]) -> int:
        """Rows written and acknowledged."""
        asked = False  # for the commit
        done = Done()
        try:
            self.conn.execute("BEGIN")
            done = perform(self.conn, self.workload, transaction, values)
            if not transaction.commits:
                self.conn.execute("ROLLBACK")
                return 0
            self.conn.execute(_COUNT, (values["number"], self.number))
            asked, self._pid = True, self.conn.info.backend_pid
            self.conn.execute("COMMIT")
        except psycopg.Error as error:
            if not (self.conn.closed and asked and self._did_commit(int(values["number"]))):
                self.failures[error.sqlstate or type(error).__name__] += 1
                self._recover()
                return 0
        self.ledger.acknowledge(done.touched, done.effects, done.writes)
        for each in done.effects:
            pool = self.workload.pool_of(each.kind)
            if each.kind == pool.kinds[0]:
                (self.pools[pool.name].remove if each.gone else self.pools[pool.name].add)(each.id)
        return done.writes

    def _did_commit(self, number: int) -> bool:
        """The answer to COMMIT was lost with the connection: ask a new one what became of the transaction."""
        self.unknown += 1
        before = self._pid
        while True:
            self._recover()
            with suppress(psycopg.Error):
                row = self.conn.execute(_NEWEST, (before, self.number)).fetchone()
                if row is not None and not row[1]:  # the session that was asked has ended
                    return bool(row[0] == number)
            time.sleep(_LOOK)

    def _recover(self) -> None:
        """Leave the failed transaction; connect again where the session was lost."""
        with suppress(psycopg.Error):
            self.conn.execute("ROLLBACK")
        self.conn = reopen(self.conn, self.dsn, self._name)
