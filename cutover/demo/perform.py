"""Run a transaction of the workload, and know what it did."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg.types.json import set_json_loads

from cutover.demo.ledger import Effect
from cutover.demo.workload import Pool, Transaction, Workload
from sql.connection import Connection, connect
from sql.errors import Unreachable

_RECONNECT = 0.1  # seconds


@dataclass(slots=True)
class Done:
    """What a transaction did, if it commits. `touched`: the keys concerned, by pool; `writes`: rows written."""

    effects: list[Effect] = field(default_factory=list)
    touched: dict[str, set[str]] = field(default_factory=dict)
    writes: int = 0


def open_session(dsn: str, name: str, role: str | None = None) -> Connection:
    """A session of the application, with the rights of `role` alone: JSON stays the text that the server sent."""
    conn = connect(dsn, name, **({"role": role} if role is not None else {}))
    set_json_loads(_as_text, conn)
    return conn


def reopen(conn: Connection, dsn: str, name: str, role: str | None = None) -> Connection:
    """The session as it is, or another one in place of one that was lost; waits for the server."""
    while conn.closed:
        conn.close()
        try:
            return open_session(dsn, name, role)
        except Unreachable:
            time.sleep(_RECONNECT)
    return conn


def _as_text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


def choose_keys(conn: Connection, pool: Pool, writer: int, writers: int, limit: int) -> list[str]:
    """The keys of a pool that belong to one of `writers` writers."""
    values = {"writer": writer, "writers": writers, "limit": limit}
    return [str(key) for (key,) in conn.execute(pool.keys.encode(), values).fetchall()]


def read_rows(conn: Connection, pool: Pool, keys: list[str]) -> list[Effect]:
    """The legacy rows that belong to keys of a pool, as they are now."""
    rows = conn.execute(pool.rows.encode(), {"keys": keys}).fetchall()
    return [Effect(kind, str(key), image) for kind, key, image in rows]


def perform(conn: Connection, workload: Workload, transaction: Transaction, values: Mapping[str, Any]) -> Done:
    """Run the statements in the transaction that is open, up to a ROLLBACK of its own, which is the caller's to do.

    What follows a savepoint that is rolled back to has no effect here either.
    """
    done = Done()
    keys = {values["key"], values["other"]} if transaction.uses_other else {values["key"]}
    done.touched[transaction.pool] = keys
    savepoint = (0, 0)
    for statement in transaction.statements:
        if statement.mark == "ROLLBACK":
            break
        cursor = conn.execute(statement.text.encode(), values)
        if statement.mark == "SAVEPOINT":
            savepoint = (len(done.effects), done.writes)
        elif statement.mark == "ROLLBACK TO":
            del done.effects[savepoint[0] :]
            done.writes = savepoint[1]
        else:
            done.writes += max(cursor.rowcount, 0)
            if cursor.description is not None:
                gone = (cursor.statusmessage or "").startswith("DELETE")
                done.effects += [Effect(kind, str(key), image, gone) for kind, key, image in cursor.fetchall()]
    for each in done.effects:
        pool = workload.pool_of(each.kind)
        if each.kind == pool.kinds[0]:
            done.touched.setdefault(pool.name, set()).add(each.id)
    return done
