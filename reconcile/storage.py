"""Which files the compared tables are in: what tells, after the comparison, that one was emptied or replaced."""

from __future__ import annotations

from sql.connection import Connection
from sql.model import Move


def tables(move: Move) -> list[str]:
    """The target and the sources, as SQL: what a proof of the move is about."""
    return list(dict.fromkeys((move.target.sql, *(source.name.sql for source in move.sources))))


def storage(conn: Connection, move: Move) -> dict[str, str]:
    """By table, the oids and files of it and of its partitions, as committed now. Needs no right on the tables."""
    row = conn.execute("SELECT cutover.storage(%s)", (tables(move),)).fetchone()
    assert row is not None
    found: dict[str, str] = row[0]
    return found
