"""Look first, then lock: DDL that never makes the application queue behind it for longer than a moment.

A request for a lock that must wait makes everybody behind it wait too, readers included. So: look who holds a
conflicting lock, try only when all of them began a moment ago, give up after a short `lock_timeout`, and try again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

import psycopg

from sql.connection import Connection, own, unreachable
from sql.errors import Busy
from sql.files import load
from sql.names import Name

Mode = Literal["SHARE UPDATE EXCLUSIVE", "SHARE ROW EXCLUSIVE", "ACCESS EXCLUSIVE"]

LOCK_TIMEOUT_MS: Final = 75
TOTAL_TIMEOUT: Final = 60.0  # seconds over all attempts
BUILD_TIMEOUT: Final = 600.0  # seconds for each older transaction that an index build waits for
MOMENT: Final = 0.02  # seconds: a holder that began this recently is expected to be gone within the lock timeout
STATEMENT_TIMEOUT_MS: Final = 2_000
IDLE_TIMEOUT_MS: Final = 400  # a frozen tool gives its locks back within half a second (S2)
_LOOK_PAUSE: Final = 0.01
_FIRST_BACKOFF: Final = 0.05
_LAST_BACKOFF: Final = 1.0

_ROW_LOCKS: Final = ("RowShareLock", "RowExclusiveLock")
_STRONG: Final = (
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
# Which held modes conflict with the mode asked for (PostgreSQL documentation, chapter 13.3.1, "Table-Level Locks").
CONFLICTS: Final[dict[Mode, tuple[str, ...]]] = {
    "SHARE UPDATE EXCLUSIVE": _STRONG,
    "SHARE ROW EXCLUSIVE": ("RowExclusiveLock", *_STRONG),
    "ACCESS EXCLUSIVE": ("AccessShareLock", *_ROW_LOCKS, *_STRONG),
}


@dataclass(frozen=True, slots=True)
class LockResult:
    """How a change under a lock went.

    `lock_ms` is measured from asking for the lock to the end of the commit, in milliseconds: nobody can have waited
    behind the change for longer. `longest_ms` is the same over all attempts, the ones that gave up included.
    """

    attempts: int
    lock_ms: float
    longest_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Holder:
    """A session or a prepared transaction in the way. Never its query's text, which may hold secrets."""

    pid: int | None  # None: a prepared transaction
    transaction: str  # the virtual transaction id
    relation: str
    mode: str
    granted: bool
    age: float  # seconds since its transaction began, as far as this session may see
    state: str
    prepared: str | None

    def __str__(self) -> str:
        who = f"pid {self.pid} ({self.state})" if self.pid is not None else f"prepared transaction {self.prepared}"
        verb = "holds" if self.granted else "waits for"
        return f"{who} {verb} {self.mode} on {self.relation} in a transaction {self.age:.1f} s old"


def with_lock(
    conn: Connection,
    tables: Sequence[Name],
    action: Callable[[Connection], object],
    *,
    mode: Mode = "ACCESS EXCLUSIVE",
    lock_timeout_ms: int = LOCK_TIMEOUT_MS,
    total_timeout: float = TOTAL_TIMEOUT,
    statement_timeout_ms: int = STATEMENT_TIMEOUT_MS,
    before: Callable[[], object] = lambda: None,
) -> LockResult:
    """Run `action(conn)` in one short transaction of the service's own that locks `tables` in `mode`.

    The action's statements take the locks themselves, and it may run more than once: a failed attempt is rolled back
    whole. `before()` runs ahead of each attempt, outside of its transaction; what it raises ends the waiting. `conn` is
    in autocommit mode. The older a holder may be, the longer this has waited already: from a moment up to the lock
    timeout, since an attempt cannot outwait more.

    Raises Busy, naming who is in the way, after `total_timeout` seconds; Unreachable when the connection is lost. A
    lost connection leaves the transaction undone or done whole: run the command again.
    """
    lower_deadlock_timeout = _guard_session(conn)
    began = time.monotonic()
    deadline = began + total_timeout
    seen: dict[str, float] = {}
    attempts, longest = 0, 0.0
    backoff = _FIRST_BACKOFF
    while True:
        patience = (time.monotonic() - began) / total_timeout
        moment = MOMENT + max(0.0, lock_timeout_ms / 1000 - MOMENT) * min(1.0, 4 * patience)
        holders = blockers(conn, tables, mode, seen, ignore_autovacuum=lower_deadlock_timeout)
        old = [holder for holder in holders if holder.age > moment]
        if old:
            if time.monotonic() > deadline:
                raise _busy(tables, attempts, total_timeout, old)
            time.sleep(_LOOK_PAUSE * random.uniform(1, 2))
            continue
        before()
        attempts += 1
        asked = time.monotonic()
        try:
            with own(conn):
                _guard_transaction(conn, lock_timeout_ms, statement_timeout_ms, lower_deadlock_timeout)
                asked = time.monotonic()
                action(conn)
            held = (time.monotonic() - asked) * 1000
            return LockResult(attempts, round(held, 3), round(max(longest, held), 3))
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            longest = max(longest, (time.monotonic() - asked) * 1000)
            if time.monotonic() > deadline:
                raise _busy(tables, attempts, total_timeout, holders) from error
        except psycopg.errors.QueryCanceled as error:
            raise Busy(
                f"changing {_names(tables)} took longer than {statement_timeout_ms} ms and was undone",
                cure="try again when the server is less busy",
            ) from error
        except psycopg.Error as error:
            if conn.closed or conn.broken:
                raise unreachable(error) from error
            raise
        time.sleep(min(backoff, max(0.0, deadline - time.monotonic())) * random.uniform(0.5, 1.0))
        backoff = min(backoff * 2, _LAST_BACKOFF)


def blockers(
    conn: Connection,
    tables: Sequence[Name],
    mode: Mode,
    seen: dict[str, float] | None = None,
    *,
    ignore_autovacuum: bool = False,
) -> list[Holder]:
    """Who holds, or waits for, a lock on `tables` or their partitions that conflicts with `mode`.

    `seen` remembers between calls when a transaction was first met: without `pg_read_all_stats` another role's
    transaction hides its start. An autovacuum worker that yields to a deadlock check need not be waited for.
    """
    rows = conn.execute(
        load("lock/holders"),
        {
            "tables": [table.sql for table in tables],
            "modes": list(CONFLICTS[mode]),
            "autovacuum": not ignore_autovacuum,
        },
    ).fetchall()
    now = time.monotonic()
    first = {} if seen is None else seen
    return [
        Holder(
            pid=pid,
            transaction=transaction,
            relation=relation,
            mode=held,
            granted=granted,
            age=max(float(age or 0), now - first.setdefault(transaction, now)),
            state=state or "state hidden",
            prepared=prepared,
        )
        for pid, transaction, relation, held, granted, age, state, prepared in rows
    ]


def build_patiently(conn: Connection, tables: Sequence[Name], statement: str, timeout: float = BUILD_TIMEOUT) -> None:
    """Run a statement that locks nobody out and waits for every older transaction on `tables`, in autocommit mode:
    CREATE INDEX CONCURRENTLY. Raises Busy, naming who is in the way, when one does not end within `timeout` seconds."""
    conn.execute("SELECT set_config('lock_timeout', %s, false)", (f"{int(timeout * 1000)}ms",))
    try:
        conn.execute(statement.encode(), prepare=False)
    except psycopg.errors.LockNotAvailable as error:
        raise _busy(tables, 1, timeout, blockers(conn, tables, "SHARE ROW EXCLUSIVE")) from error
    finally:
        if not conn.closed and not conn.broken:
            conn.execute("SET lock_timeout = 0", prepare=False)


def writers(conn: Connection) -> list[str]:
    """Who has written and not ended, on the whole server, the oldest first: `pid 7 in shop (idle in transaction), 9 s
    old`, `prepared transaction x in shop, 9 s old`."""
    found = []
    for pid, gid, database, state, age in conn.execute(load("lock/writers")).fetchall():
        who = f"pid {pid} in {database} ({state or 'state hidden'})" if gid is None else _prepared(gid, database)
        found.append(who if age is None else f"{who}, {age:.0f} s old")
    return found


def _prepared(gid: str, database: str) -> str:
    return f"prepared transaction {gid} in {database}"


def _guard_session(conn: Connection) -> bool:
    """Prepare the session; True when it may lower `deadlock_timeout`."""
    with suppress(psycopg.errors.DataError):
        # A backend in the middle of a statement notices that its client is gone. Not every platform has it.
        conn.execute("SET client_connection_check_interval = '100ms'", prepare=False)
    row = conn.execute("SELECT has_parameter_privilege('deadlock_timeout', 'SET')").fetchone()
    return bool(row and row[0])


def _guard_transaction(conn: Connection, lock_ms: int, statement_ms: int, lower_deadlock_timeout: bool) -> None:
    settings = {
        "lock_timeout": lock_ms,
        "statement_timeout": statement_ms,
        "idle_in_transaction_session_timeout": IDLE_TIMEOUT_MS,
    }
    if lower_deadlock_timeout:
        # Below the lock timeout: in a deadlock this session is the victim, and an autovacuum in the way is cancelled.
        settings["deadlock_timeout"] = max(1, lock_ms // 3)
    conn.execute(
        "SELECT set_config(name, value, true) FROM unnest(%s::text[], %s::text[]) AS setting (name, value)",
        (list(settings), [f"{value}ms" for value in settings.values()]),
    )


def _busy(tables: Sequence[Name], attempts: int, total_timeout: float, holders: Sequence[Holder]) -> Busy:
    who = "; ".join(str(holder) for holder in holders[:5]) or "the holders are gone by now"
    more = f"; and {len(holders) - 5} more" if len(holders) > 5 else ""
    return Busy(
        f"{_names(tables)} stayed locked for {total_timeout:g} s ({attempts} attempts): {who}{more}",
        cure="end or wait for these transactions, then run the same command again; a higher --lock-timeout lets"
        " longer ones finish, and lets the application wait as long",
    )


def _names(tables: Sequence[Name]) -> str:
    return ", ".join(table.sql for table in tables)
