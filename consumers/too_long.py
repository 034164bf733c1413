"""Which column a text was too long for: PostgreSQL names its type only, so the mapping's rows are measured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import psycopg

from consumers.dead_letters import Key, Letter
from sql import render
from sql.connection import Connection, transient
from sql.model import Move, TargetColumn

_TYPE: Final = re.compile(r"\b(character(?: varying)?\(\d+\))")  # in any language of messages
_MOST: Final = 500  # keys of one batch that are looked up; the others' letters name no column


def named(conn: Connection, move: Move, letters: Sequence[Letter]) -> list[Letter]:
    """The letters, with the column where exactly one has a value that is too long for the type that PostgreSQL named.

    Within the caller's transaction, which goes on whatever becomes of it. Two columns, or none (a trigger wrote
    elsewhere, or the row has changed since): no column is named, as nothing says which it was.
    """
    by_type: dict[str, list[Key]] = {}
    for each in letters:
        found = _TYPE.search(each.message) if each.sqlstate == "22001" and each.column is None else None
        if found is not None:
            by_type.setdefault(found[1], []).append(each.key)
    columns: dict[Key, str] = {}
    for type_, keys in by_type.items():
        columns |= _measured(conn, move, type_, keys[:_MOST])
    return [replace(each, column=each.column or columns.get(each.key)) for each in letters]


def _measured(conn: Connection, move: Move, type_: str, keys: Sequence[Key]) -> dict[Key, str]:
    """By key, the one column of this type whose value does not fit."""
    columns: list[TargetColumn] = [each for each in move.written if each.type == type_]
    limit = int(type_[type_.index("(") + 1 : -1])
    if not columns:
        return {}
    try:
        with conn.transaction():
            rows = conn.execute(
                render.too_long(move, columns, limit).encode(), render.key_parameters(keys, len(move.key))
            ).fetchall()
    except psycopg.Error as error:
        if transient(error):
            raise
        return {}
    found: dict[Key, str] = {}
    for key, *too_long in rows:
        names = [column.name for column, it in zip(columns, too_long, strict=True) if it]
        if len(names) == 1:
            found[tuple(key)] = names[0]
    return found
