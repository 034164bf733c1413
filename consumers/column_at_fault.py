"""Which column of a key is at fault, where PostgreSQL names its type only, or nothing: each one is tried alone."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import psycopg

from consumers.dead_letters import Key, Letter
from sql import render
from sql.connection import Connection, transient
from sql.model import Move, TargetColumn

_TYPE: Final = re.compile(r"\b(character(?: varying)?\(\d+\))")  # in any language of messages
_MOST: Final = 500  # keys of one batch that are looked up; the others' letters name no column
_LONGEST: Final = 2.0  # seconds for the trials of a batch: 0.2 ms each, or what the mapping takes to read a key


def named(conn: Connection, move: Move, letters: Sequence[Letter]) -> list[Letter]:
    """The letters, with the column where exactly one fails as the letter's key did: it has a text too long for the type
    that PostgreSQL named, or read and converted alone it raises the same SQLSTATE.

    Within the caller's transaction, which goes on whatever becomes of it. Two columns, or none (a trigger wrote
    elsewhere, the key, a condition or a join of the mapping fails, the row has changed since): no column is named, as
    nothing says which it was. Nor is one where trying took too long: the batch's positions are locked meanwhile.
    """
    too_long: dict[str, list[Key]] = {}
    failing: dict[str, list[Key]] = {}
    for each in letters:
        if each.column is None and each.sqlstate.startswith("22"):
            found = _TYPE.search(each.message) if each.sqlstate == "22001" else None
            if found is not None:
                too_long.setdefault(found[1], []).append(each.key)
            else:
                failing.setdefault(each.sqlstate, []).append(each.key)
    columns: dict[Key, str] = {}
    for type_, keys in too_long.items():
        columns |= _measured(conn, move, type_, keys[:_MOST])
    until = time.monotonic() + _LONGEST
    for state, keys in failing.items():
        columns |= _tried(conn, move, state, keys[:_MOST], until)
    return [replace(each, column=each.column or columns.get(each.key)) for each in letters]


def _measured(conn: Connection, move: Move, type_: str, keys: Sequence[Key]) -> dict[Key, str]:
    """By key, the one column of this type whose value does not fit. (A cast would cut it, and be content.)"""
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
    return _only((tuple(key), c.name) for key, *long in rows for c, it in zip(columns, long, strict=True) if it)


def _tried(conn: Connection, move: Move, state: str, keys: Sequence[Key], until: float) -> dict[Key, str]:
    """By key, the one column that raises this SQLSTATE. Most columns are fine for all keys at once."""
    suspects: list[TargetColumn] = []
    for column in move.written:
        if time.monotonic() >= until:
            return {}
        if _fails(conn, move, (column,), state, keys):
            suspects.append(column)
    if not suspects:
        return {}
    found: dict[Key, str] = {}
    keyless = _fails(conn, move, (), state, keys)  # of a key that fails without any column, each would seem to be it
    for key in keys:
        if keyless and _fails(conn, move, (), state, [key]):
            continue
        failing: list[tuple[Key, str]] = []
        for column in suspects:
            if time.monotonic() >= until:
                return found
            if _fails(conn, move, (column,), state, [key]):
                failing.append((key, column.name))
        found |= _only(failing)
    return found


def _fails(conn: Connection, move: Move, columns: Sequence[TargetColumn], state: str, keys: Sequence[Key]) -> bool:
    try:
        with conn.transaction():
            conn.execute(render.alone(move, columns).encode(), render.key_parameters(keys, len(move.key)))
    except psycopg.Error as error:
        if transient(error):
            raise
        return error.sqlstate == state or len(keys) > 1  # another key's, met first, may hide it
    return False


def _only(failing: Iterable[tuple[Key, str]]) -> dict[Key, str]:
    """Of the pairs, the column of each key that has but one."""
    found: dict[Key, list[str]] = {}
    for key, name in failing:
        found.setdefault(key, []).append(name)
    return {key: names[0] for key, names in found.items() if len(names) == 1}
