"""Dead letters: keys that could not be converged, with the reason, and never the value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg

from sql.connection import Connection
from sql.files import load
from sql.model import Move
from sql.render import array_literal

# Messages of data exceptions quote the offending value: 'invalid input syntax for type numeric: "…"'.
_QUOTED = re.compile(r'"([^"]*)"')
# Errors of the data (appendix A): the key is at fault, not the statement and not the server.
_OF_THE_DATA = ("21", "22", "23", "27", "2F", "38", "39", "44", "54", "P0")
_SAYS_ANYTHING = ("P0", "38", "39")  # raised by the plan's own functions and triggers, with any text
_FEW = 500  # keys that are looked up one by one, 14 µs each; beyond, all letters are read, 1.5 µs each

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Letter:
    """Why one key could not be applied, and where in the log it was asked for."""

    key: Key
    partition: int
    offset: int
    sqlstate: str
    message: str
    column: str | None


def of_the_data(error: psycopg.Error) -> bool:
    """Is it a key that is at fault?"""
    return (error.sqlstate or "").startswith(_OF_THE_DATA)


def letter(error: psycopg.Error, key: Key, partition: int, offset: int) -> Letter:
    """A dead letter from PostgreSQL's error: SQLSTATE, message and column, with the length of any value (A11)."""
    primary = error.diag.message_primary or type(error).__name__
    state = error.sqlstate or "XX000"
    message = primary
    if state.startswith("22"):
        message = _QUOTED.sub(lambda found: f"(a value of {len(found[1])} characters)", primary)
    elif state.startswith(_SAYS_ANYTHING):
        message = f"a function or trigger raised an error of {len(primary)} characters"
    constraint = error.diag.constraint_name
    if constraint:
        message += f" (constraint {constraint})"
    return Letter(key, partition, offset, state, message, error.diag.column_name)


def record(conn: Connection, move: Move, letters: Sequence[Letter]) -> None:
    """Write them, within the caller's transaction; one that is open already counts another attempt."""
    for each in letters:
        conn.execute(
            load("consume/dead_letter"),
            (
                move.plan,
                move.name,
                list(each.key),
                each.partition,
                each.offset,
                each.sqlstate,
                each.message,
                each.column,
            ),
            prepare=True,
        )


def waiting(conn: Connection, move: Move, keys: Sequence[Key]) -> dict[int, Key]:
    """The letters of these keys that are open or discarded, by number: applied in all columns, they are resolved."""
    where = (move.plan, move.name)
    if len(keys) <= _FEW:
        texts = [array_literal(key) for key in keys]
        rows = conn.execute(load("consume/waiting_letters_of"), (texts, *where), prepare=True).fetchall()
    else:
        rows = conn.execute(load("consume/waiting_letters"), where, prepare=True).fetchall()
    asked = set(keys)
    return {number: key for number, key in ((number, tuple(each)) for number, each in rows) if key in asked}


def open_keys(conn: Connection, move: Move, before: datetime) -> list[Key]:
    """The keys of all open letters that were last tried before a moment. A key that neither side has any more is in
    nobody's list of keys but this."""
    rows = conn.execute(load("consume/open_letters"), (move.plan, move.name, before, len(move.key))).fetchall()
    return [tuple(key) for (key,) in rows]


def resolve(conn: Connection, numbers: Sequence[int]) -> None:
    """Close letters whose keys have converged, within the caller's transaction. A discarded one is closed too: what was
    accepted was that the key could not be applied, and it must not hide what happens to the target afterwards."""
    if numbers:
        conn.execute(
            "UPDATE cutover.dead_letter SET state = 'resolved', last_seen = now() WHERE id = ANY (%s)", (numbers,)
        )
