"""A fresh database per test, and nothing of it left behind."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from tests.services.postgres import PostgresServer

_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
_DROP_SLOTS = """
    SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s AND NOT active
"""
_SLOTS = "SELECT slot_name FROM pg_replication_slots WHERE database = %s"
_PREPARED = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"


@contextmanager
def fresh_database(server: PostgresServer, encoding: str = "UTF8") -> Iterator[str]:
    """An empty database's connection string; the database goes with its slots and prepared transactions."""
    name = f"cutover_test_{secrets.token_hex(6)}"
    with psycopg.connect(server.dsn, autocommit=True) as conn:
        options = "" if encoding == "UTF8" else f" TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING '{encoding}'"
        # Files that are copied cost a third of pages that go through WAL, which every walsender would have to read.
        conn.execute(sql.SQL("CREATE DATABASE {} STRATEGY file_copy" + options).format(sql.Identifier(name)))
    try:
        yield server.dsn_of(name)
    finally:
        _drop(server, name)


def _drop(server: PostgresServer, name: str) -> None:
    # A prepared transaction holds its database, and only a session of that database can end it.
    with psycopg.connect(server.dsn_of(name), autocommit=True) as conn:
        for (gid,) in conn.execute(_PREPARED).fetchall():
            conn.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))
    with psycopg.connect(server.dsn, autocommit=True) as conn:
        # A capture that outlived its test would come back between the next two steps.
        conn.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        deadline = time.monotonic() + 10
        while True:
            conn.execute(_TERMINATE, [name])
            conn.execute(_DROP_SLOTS, [name])
            left = [slot for (slot,) in conn.execute(_SLOTS, [name]).fetchall()]
            if not left:
                break
            assert time.monotonic() < deadline, f"slots still in use after the test: {', '.join(left)}"
            time.sleep(0.02)  # the walsender is on its way out
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
