"""Dead letters from the operator's side: see them, try them again, or discard them with a reason."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row
from psycopg.types.json import Jsonb
from pydantic import BaseModel, field_validator
from rich.markup import escape
from rich.table import Table

from reconcile.discards import accept_as_is
from sql.connection import Connection, own
from sql.counted import counted
from sql.errors import UsageError
from sql.files import load
from sql.keys import key_text
from sql.layout import Fitting
from sql.model import Plan

_DISCARD = """
UPDATE cutover.dead_letter SET state = 'discarded', reason = %s, last_seen = now() WHERE id = %s AND state <> 'resolved'
"""
_EVENT = "INSERT INTO cutover.event (plan, move, what, detail) VALUES (%s, %s, 'discard', %s)"
_OPEN_AGAIN = """
SELECT id FROM cutover.dead_letter WHERE plan = %s AND move = %s AND key = %s::text[] AND state = 'open' AND id <> %s
"""
OPEN = ("open",)
ALL = ("open", "resolved", "discarded")


class DeadLetter(BaseModel):
    """A key that could not be converged, and why. Never the value that was at fault."""

    id: int
    move: str
    key: list[str]
    partition: int
    offset: int
    sqlstate: str
    message: str
    column: str | None
    attempts: int
    first_seen: datetime
    last_seen: datetime
    state: str
    reason: str | None


class Cause(BaseModel):
    """Dead letters of one cause and in one state. `examples` are the numbers of a few, `example_keys` their keys."""

    move: str
    sqlstate: str
    column: str | None
    state: str
    message: str
    keys: int
    first_seen: datetime
    last_seen: datetime
    attempts: int
    examples: list[int]
    example_keys: list[str]

    @field_validator("example_keys", mode="before")
    @classmethod
    def _written(cls, keys: list[list[str]]) -> list[str]:
        return [key_text(key) for key in keys]


def told(letter: DeadLetter) -> list[tuple[str, object]]:
    """What is known of it, for people: the key as it is given and printed everywhere."""
    shown = letter.model_dump() | {"key": key_text(letter.key)}
    return [(name, value) for name, value in shown.items() if value is not None]


def causes(conn: Connection, plan: str, moves: Sequence[str] = (), *, states: Sequence[str] = OPEN) -> list[Cause]:
    """Dead letters of the moves (none: all) by cause, the one with the most keys first."""
    with conn.cursor(row_factory=class_row(Cause)) as cursor:
        return cursor.execute(
            load("status/dead_letter_causes").encode(),
            {"plan": plan, "moves": list(moves) or None, "states": list(states)},
        ).fetchall()


def find(
    conn: Connection,
    plan: str,
    moves: Sequence[str] = (),
    *,
    states: Sequence[str] = OPEN,
    number: int | None = None,
    most: int = 1000,
) -> list[DeadLetter]:
    """Dead letters of the moves (none: all), newest first, `most` at most."""
    with conn.cursor(row_factory=class_row(DeadLetter)) as cursor:
        return cursor.execute(
            load("status/dead_letters").encode(),
            {"plan": plan, "moves": list(moves) or None, "states": list(states), "id": number, "most": most},
        ).fetchall()


def one(conn: Connection, plan: str, number: int) -> DeadLetter:
    """The dead letter of that number. UsageError when there is none."""
    found = find(conn, plan, states=ALL, number=number) if abs(number) < 1 << 63 else []
    if not found:
        raise UsageError(f"plan {plan} has no dead letter {number}", cure="cutover dead-letters list --all")
    return found[0]


@dataclass(frozen=True, slots=True)
class Discarded:
    """What became of the letters that were `asked` for. `refused`: those that stay as they were, with the reason."""

    asked: list[DeadLetter]
    refused: dict[int, str]

    @property
    def accepted(self) -> list[int]:
        """The numbers of those that are discarded now."""
        return [letter.id for letter in self.asked if letter.id not in self.refused]


def discard(conn: Connection, plan: Plan, numbers: Sequence[int], reason: str) -> Discarded:
    """Accept that these keys stay as they are in the target, for as long as both sides are what they are now.

    A letter that was discarded before may be so again: the decision is then about what is there now. A key that cannot
    be compared is refused, and its letter stays open. What was proven before proves nothing of the move afterwards.
    Raises UsageError for a number that there is not, a letter that is resolved, or one that is discarded while its key
    has a newer one that is open: nothing is discarded then.
    """
    done = Discarded([one(conn, plan.name, number) for number in dict.fromkeys(numbers)], {})
    for letter in done.asked:
        if letter.state == "resolved":
            raise _applied(letter, "discard")
        newer = _open_again(conn, plan.name, letter)
        if newer is not None and newer not in numbers:
            raise UsageError(
                f"dead letter {letter.id} is discarded already, and {key_text(letter.key)} has failed again since: its"
                f" open letter is {newer}",
                cure=shlex.join(("cutover", "dead-letters", "discard", str(newer), "--reason", reason)),
            )
    with own(conn):
        for move in plan.moves:
            mine = [letter for letter in done.asked if letter.move == move.name]
            refused = accept_as_is(conn, move, {tuple(letter.key): letter.id for letter in mine}, reason)
            done.refused.update((it.id, refused[tuple(it.key)]) for it in mine if tuple(it.key) in refused)
        # After both sides were read: a consumer that applies a key meanwhile resolves its letter, before this or after.
        for letter in done.asked:
            if letter.id in done.refused:
                continue
            if not conn.execute(_DISCARD, (reason, letter.id)).rowcount:
                raise _applied(letter, "discard")
            conn.execute(_EVENT, (plan.name, letter.move, Jsonb({"dead_letter": letter.id, "reason": reason})))
    return done


def _open_again(conn: Connection, plan: str, letter: DeadLetter) -> int | None:
    """The number of the letter that its key has besides, and that is open."""
    row = conn.execute(_OPEN_AGAIN, (plan, letter.move, list(letter.key), letter.id)).fetchone()
    return row[0] if row else None


def refuse_resolved(letters: Sequence[DeadLetter]) -> None:
    """Nothing is to be tried again of what was applied. UsageError."""
    for letter in letters:
        if letter.state == "resolved":
            raise _applied(letter, "retry")


def _applied(letter: DeadLetter, what: str) -> UsageError:
    return UsageError(
        f"dead letter {letter.id} is resolved: {key_text(letter.key)} was applied, there is nothing to {what}",
        cure="cutover dead-letters list",
    )


def render_discarded(done: Discarded) -> str:
    """What was discarded, and what follows from it, for people."""
    lines = [f"{counted(len(done.accepted), 'dead letter')} discarded"]
    if done.accepted:
        lines.append(
            f"{counted(len(done.accepted), 'key')} accepted: the next reconcile counts them apart, by name and reason,"
            " and with it the gate opens, for as long as both sides are what they are now"
        )
    lines += [
        f"dead letter {letter.id} stays {letter.state}: {done.refused[letter.id]}, so {key_text(letter.key)} cannot be"
        " compared and is not accepted"
        for letter in done.asked
        if letter.id in done.refused
    ]
    lines.append("what touches a key again (backfill, replay, heal, retry) tries it again, and may open a new letter")
    return "\n".join(lines)


def render(letters: Sequence[DeadLetter]) -> Fitting:
    """A table of dead letters for people."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("id", justify="right")
    for title in ("move", "key", "SQLSTATE", "column", "message"):
        table.add_column(title)
    table.add_column("attempts", justify="right")
    table.add_column("last seen")
    table.add_column("state")
    for letter in letters:
        table.add_row(
            str(letter.id),
            letter.move,
            escape(key_text(letter.key)),
            letter.sqlstate,
            letter.column or "",
            escape(letter.message),
            str(letter.attempts),
            letter.last_seen.isoformat(sep=" ", timespec="seconds"),
            letter.state,
        )
    return Fitting(table)


def render_causes(found: Sequence[Cause]) -> Fitting:
    """A table for people, one line for each cause and state; of states nothing is said where all are open."""
    states = any(each.state != "open" for each in found)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("keys", justify="right")
    for title in (
        *(("state",) if states else ()),
        "move",
        "SQLSTATE",
        "column",
        "message",
        "first seen",
        "last seen",
        "for example",
    ):
        table.add_column(title)
    for each in found:
        examples = (f"{number}: {key}" for number, key in zip(each.examples, each.example_keys, strict=True))
        table.add_row(
            f"{each.keys:,}",
            *((each.state,) if states else ()),
            each.move,
            each.sqlstate,
            each.column or "",
            escape(each.message),
            each.first_seen.isoformat(sep=" ", timespec="seconds"),
            each.last_seen.isoformat(sep=" ", timespec="seconds"),
            escape("; ".join(examples)) + ("; …" if each.keys > len(each.examples) else ""),
        )
    return Fitting(table)
