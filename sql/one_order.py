"""One order of a move's keys, over relations whose key columns may sort by different collations."""

from __future__ import annotations

from collections.abc import Sequence

from sql.connection import Connection
from sql.files import load
from sql.model import Move
from sql.names import Name


def one_order(conn: Connection, move: Move, *more: tuple[Name, Sequence[str]]) -> tuple[str | None, ...]:
    """By key column the target's collation, as SQL, where the mapping, the target or one of `more` has another one.

    `more`: a relation and its columns, in the key's order. None where all sort alike: an index is of use then.
    """
    names = tuple(key.name for key in move.key)
    target, *others = (_collations(conn, *each) for each in ((move.target, names), (move.view, names), *more))
    return tuple(own if any(other[at] != own for other in others) else None for at, own in enumerate(target))


def _collations(conn: Connection, relation: Name, columns: Sequence[str]) -> list[str | None]:
    given = {"relation": relation.sql, "names": list(columns)}
    found: dict[str, str | None] = dict(conn.execute(load("reconcile/sorting").encode(), given).fetchall())
    return [found.get(name) for name in columns]
