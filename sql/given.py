"""Keys as a person gave them, brought into the one form that the log, the target and reports have.

A key is compared and partitioned by its text, and a person may write the same value otherwise: `2026-2-1` is the date
2026-02-01, and another text. PostgreSQL reads what was given as the key column's type, and prints it as pgoutput would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import psycopg

from sql.connection import Connection
from sql.errors import UsageError
from sql.keys import key_text
from sql.model import Move, TargetColumn
from sql.names import quote
from sql.render import array_literal, base_type, key_parameters, output

Key = tuple[str, ...]
_NOT_TAKEN: Final = (psycopg.DataError, psycopg.IntegrityError, UnicodeError)  # by the type; by a domain's CHECK; UTF-8


def as_printed(conn: Connection, move: Move, given: Sequence[tuple[str, Key]]) -> list[Key]:
    """The keys, each with the words that it was given by (`--key`), in their order and without repetitions.

    One statement for all of them; conn has the service's text output (`sql.connection`). UsageError for the first one
    with a part that its column's type does not take, with PostgreSQL's reason.
    """
    if not given:
        return []
    keys = [key for _, key in given]
    try:
        return list(dict.fromkeys(_read(conn, move, keys)))
    except _NOT_TAKEN:
        raise _refusal(conn, move, *given[_first_refused(conn, move, keys)]) from None


def _read(conn: Connection, move: Move, keys: Sequence[Key]) -> list[Key]:
    names = [f"k{at + 1}" for at in range(len(move.key))]
    arrays = ", ".join(f"%({name})s::{base_type(key)}[]" for name, key in zip(names, move.key, strict=True))
    texts = ", ".join(_text(f"given.{name}", key) for name, key in zip(names, move.key, strict=True))
    query = (
        f"SELECT {texts} FROM unnest({arrays}) WITH ORDINALITY AS given ({', '.join(names)}, place)"
        " ORDER BY given.place"
    )
    return conn.execute(query.encode(), key_parameters(keys, len(names)), prepare=False).fetchall()


def _text(value: str, key: TargetColumn) -> str:
    """With the column's modifier, by which numeric(10,2) prints 1 as 1.00, where it keeps the value as it is."""
    if base_type(key) == key.type:
        return _escaped(output(value))
    cast = f"{value}::{key.type}"
    return _escaped(f"CASE WHEN {cast} = {value} THEN {output(cast)} ELSE {output(value)} END")


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _first_refused(conn: Connection, move: Move, keys: Sequence[Key]) -> int:
    """Which of them PostgreSQL does not take, by halves: of a file's hundred thousand it does not say."""
    low, high = 0, len(keys) - 1  # the first one is among these
    while low < high:
        middle = (low + high) // 2
        try:
            _read(conn, move, keys[low : middle + 1])
            low = middle + 1
        except _NOT_TAKEN:
            high = middle
    return low


def _refusal(conn: Connection, move: Move, flag: str, key: Key) -> UsageError:
    for part, column in zip(key, move.key, strict=True):
        kind = base_type(column)
        query = f"SELECT {_text('given.part', column)} FROM unnest(%(part)s::{kind}[]) AS given (part)"
        try:
            conn.execute(query.encode(), {"part": array_literal([part])}, prepare=False)
        except _NOT_TAKEN as error:
            said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
            what = f"{quote(column.name)} is of type {column.type}, which does not take {part!r}"
            return UsageError(
                f"{flag} {key_text(key)}: {what}: {said or error}", hint=f"the key of {move.name}: {_described(move)}"
            )
    return UsageError(f"{flag} {key_text(key)}: not a key of {move.name}", hint=_described(move))


def _described(move: Move) -> str:
    return ", ".join(f"{quote(column.name)} {column.type}" for column in move.key)
