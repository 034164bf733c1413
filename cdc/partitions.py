"""Partitions of a source that come, go or are emptied by themselves: the stream says nothing of it.

`publish_via_partition_root` sends what is written to a partition under the root's name, and no TRUNCATE of it; ATTACH,
DETACH and DROP write no rows. What hung below a move's sources is marked, and compared with what does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from psycopg.types.json import Jsonb

from cdc.identity import remedies
from sql.connection import Connection, own
from sql.errors import Refused
from sql.files import load
from sql.model import Move
from sql.names import Name

_BACKFILL_ENDED: Final = "SELECT pg_advisory_unlock(hashtextextended('cutover.backfill.' || %s || '.' || %s, 0))"
_BACKFILL_ALONE: Final = "SELECT pg_try_advisory_lock(hashtextextended('cutover.backfill.' || %s || '.' || %s, 0))"
Mark = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Changed:
    """What hung below the sources, and does now, by oid."""

    before: Mark | None
    now: Mark

    @property
    def added(self) -> list[int]:
        """Oids of what was not there."""
        return [int(oid) for oid in self.now if oid not in (self.before or {})]

    @property
    def nothing_lost(self) -> bool:
        """Does all that was there hang there unchanged?"""
        return all(self.now.get(oid) == sign for oid, sign in (self.before or {}).items())

    def detail(self) -> dict[str, int]:
        """How many came, went and were emptied or set otherwise."""
        before = self.before or {}
        return {
            "added": len(self.added),
            "removed": len(before.keys() - self.now.keys()),
            "altered": sum(oid in self.now and self.now[oid] != sign for oid, sign in before.items()),
        }


def changed(conn: Connection, move: Move) -> Changed | None:
    """What differs from the mark; None where nothing does, and while the move is halted."""
    row = conn.execute(load("partitions/look"), _parameters(move), prepare=True).fetchone()
    return None if row is None or row[0] == row[1] else Changed(row[0], row[1])


def mark(conn: Connection, move: Move) -> None:
    """In the caller's transaction: what hangs below the move's sources now, unless an older mark is there."""
    found = changed(conn, move)
    if found is not None and found.before is None:
        conn.execute(load("partitions/mark"), _parameters(move) | {"before": None, "now": Jsonb(found.now)})


def hidden(conn: Connection, move: Move) -> list[tuple[str, str]]:
    """What hangs below the move's sources and its target and is not in the WAL: why, and the cure."""
    tables = [*_parameters(move)["tables"], *([move.target_oid] if move.target_oid else [])]
    rows = conn.execute(load("partitions/unstreamed"), {"tables": tables}).fetchall()
    return [(f"{Name(schema, table)} {why}", cure) for schema, table, why, cure in rows]


def unstreamed(conn: Connection, move: Move) -> tuple[str, str] | None:
    """What of a source's rows the stream does not have, or not whole, and the cure; None when it has all."""
    for why, cure in hidden(conn, move):
        return f"{why}: ALTER TABLE with {cure}", "cutover heal"
    try:
        needed = remedies(conn, [move])
    except Refused as error:
        return f"{error.args[0]}: {error.cure or error.hint}", "cutover heal"
    if needed:
        why = f"{needed[0].table} has no replica identity with the target's key: its UPDATE and DELETE fail, or hide it"
        return why, "cutover prepare --set-identity\ncutover heal"
    return None


def touch_again(conn: Connection, move: Move, found: Changed) -> None:
    """Mark what is there now, and have every key touched again where rows came or went with it. Idempotent.

    Nothing is done while a backfill runs, which would write its cursor over the new start: ask again.
    """
    key = (move.plan, move.name)
    if conn.execute(_BACKFILL_ALONE, key).fetchone() != (True,):
        return
    try:
        with own(conn):
            parameters = _parameters(move)
            given = {"before": None if found.before is None else Jsonb(found.before), "now": Jsonb(found.now)}
            marked = conn.execute(load("partitions/mark"), parameters | given).fetchone()
            if marked is not None and found.before is not None and not _harmless(conn, found):
                conn.execute(load("partitions/again"), parameters | {"detail": Jsonb(found.detail())})
    finally:
        if not conn.closed:
            conn.execute(_BACKFILL_ENDED, key)


def due(conn: Connection, move: Move) -> bool:
    """Has `touch_again` begun what is not finished?"""
    return conn.execute(load("partitions/due"), _parameters(move), prepare=True).fetchone() == (True,)


def _harmless(conn: Connection, found: Changed) -> bool:
    """A partition that comes empty: all that it gets is streamed."""
    if not found.nothing_lost:
        return False
    return conn.execute(load("partitions/empty"), {"tables": found.added}).fetchone() == (True,)


def _parameters(move: Move) -> dict[str, Any]:
    return {
        "plan": move.plan,
        "move": move.name,
        "tables": [source.oid for source in move.sources if source.keys],
    }
