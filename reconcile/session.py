"""A session that reads both sides of one move, in snapshots that are short (R7)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, Self, TypeVar

import psycopg

from sql.catalog import read_tables
from sql.connection import Connection, transient
from sql.model import Move
from sql.narrowed import Narrowed
from sql.one_order import one_order
from sql.pairs import Pairs
from sql.retry import for_a_while

T = TypeVar("T")

SESSION = {
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "work_mem": "64MB",
    "random_page_cost": "1.1",  # chunks are short: rather look keys up than scan a table for each
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "60s",
    "default_transaction_read_only": "on",
}
TOO_LONG_MS: Final = 5_000  # one statement of a snapshot
_LOCK_MS: Final = 5_000
BRIEF_LOCK_MS: Final = 1_000  # where a lock is waited for again and again: no snapshot is as old as the lock
_LOCKED: Final = 60.0  # seconds that somebody may hold ACCESS EXCLUSIVE while a comparison waits
FAILS = "a value of this row fails in the mapping"  # never the value itself
# What only the data of a row can cause: bad values, constraints of domains, a sub-query with two rows, RAISE.
_DATA = ("21", "22", "23", "38", "39", "54", "P0")


class Session:
    """One session, and the statements that compare one move in it; every snapshot is let go where it was taken.

    `where`: a condition on both sides' rows. `pairs`: the statements, where they are rendered already.
    """

    def __init__(
        self, conn: Connection, move: Move, where: str | None = None, *, pairs: Pairs | None = None
    ) -> None:  # fmt: skip
        self.conn, self.move = conn, move
        self.pairs = pairs or Pairs(move, *_sorting(conn, move), where)
        self.longest = 0.0  # seconds of the longest snapshot

    def twin(self, conn: Connection) -> Self:
        """The same in another session."""
        return type(self)(conn, self.move, pairs=self.pairs)

    def carry(self, narrowed: Narrowed | None, *, few_others: bool = False) -> None:
        """Let chunks write their range into the mapping's sources, and take rows of others as few."""
        self.pairs = replace(self.pairs, narrowed=narrowed, few_others=few_others)

    @contextmanager
    def snapshot(self, limit_ms: int = TOO_LONG_MS, lock_ms: int = _LOCK_MS) -> Iterator[Connection]:
        """A short REPEATABLE READ READ ONLY transaction: every statement in it sees the same.

        A statement in it lasts `limit_ms` at most, and waits `lock_ms` for a lock.
        """
        started = time.monotonic()
        with self.conn.transaction():
            self.conn.execute(
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;"
                # The lock's limit ends first, so that waiting for one is never taken for a statement that takes long.
                f"SET LOCAL statement_timeout = {limit_ms:d}; SET LOCAL lock_timeout = {min(lock_ms, limit_ms // 2):d}",
                prepare=False,
            )
            yield self.conn
        self.longest = max(self.longest, time.monotonic() - started)

    def role(self) -> str:
        """Who compares, as the server knows it."""
        return str(self._one("SELECT session_user::text", {})[0])

    def lsn(self) -> int:
        """The WAL's end. Asked inside a snapshot, it is at or beyond every commit that the snapshot sees."""
        return int(self._one("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn", {})[0])

    def _one(self, sql: str, parameters: dict[str, Any]) -> Any:
        return self.conn.execute(sql.encode(), parameters, prepare=False).fetchone()

    def _all(self, sql: str, parameters: dict[str, Any]) -> list[Any]:
        return self.conn.execute(sql.encode(), parameters, prepare=False).fetchall()


def patiently(attempt: Callable[[], T]) -> T:
    """`attempt()`, again while somebody has what it needs under ACCESS EXCLUSIVE, for a minute.

    It is to begin outside any transaction. Raises psycopg.errors.LockNotAvailable after that.
    """
    return for_a_while(_LOCKED, lambda error: isinstance(error, psycopg.errors.LockNotAvailable), attempt)


def of_data(error: psycopg.Error) -> bool:
    """Is it the fault of a row, and not of the connection, the plan or the server?"""
    return not transient(error) and (error.sqlstate or "").startswith(_DATA)


def _sorting(conn: Connection, move: Move) -> tuple[tuple[str | None, ...], bool]:
    """The collation to sort each key column by, where the sides have different ones; is the target's key unique?"""
    names = [key.name for key in move.key]
    target = read_tables(conn, [move.target])[move.target]
    return one_order(conn, move), any(index.complete and set(index.columns) <= set(names) for index in target.unique)
