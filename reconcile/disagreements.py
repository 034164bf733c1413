"""Rows of others that are not as the mapping says: listed for a person, and decided by that person alone."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from psycopg.types.json import Jsonb

from cdc.log import Log
from reconcile.chunk import Key
from reconcile.decisions import of_others, standing
from reconcile.diff import Comparison
from reconcile.discards import SETTINGS
from reconcile.document import Cell
from reconcile.repair import mend
from reconcile.review import Decided, Disagreement, Review, entry, head
from reconcile.run import sessions
from reconcile.verdicts import Observation
from sql.connection import Connection, connect, own
from sql.errors import Refused, UsageError
from sql.files import load
from sql.model import Move, Plan
from sql.names import quote
from sql.render import base_type, key_parameters

_AT_ONCE = 1_000  # keys looked at in one snapshot, or decided in one transaction
_RANGE = 50_000
_REVIEW = "INSERT INTO cutover.review (plan, move, nonce, keys) VALUES (%s, %s, %s, %s) RETURNING id"
_NONCE = "SELECT nonce FROM cutover.review WHERE id = %s AND plan = %s AND move = %s"
_EVENT = "INSERT INTO cutover.event (plan, move, what, detail) VALUES (%s, %s, 'accept', %s)"


@dataclass(slots=True)
class Accepted:
    """What became of the decisions. `refused`: keys with the reason."""

    adopted: list[Key] = field(default_factory=list)
    kept: list[Key] = field(default_factory=list)
    open: list[Key] = field(default_factory=list)
    refused: dict[Key, str] = field(default_factory=dict)


def write_disagreements(dsn: str, move: Move, file: Path) -> int:
    """List every disagreement that is not decided yet; returns their number. The file must not be there yet.

    Raises UsageError for a move that never disagrees, or a file that is there.
    """
    _refuse_others(move)
    if file.exists():
        raise UsageError(f"{file} is there, and somebody may have decided in it", cure="name a new file")
    nonce = secrets.token_hex(32)
    part = file.with_name(f".{file.name}.part")
    number = 0
    try:
        with sessions(dsn) as (reader, writer), part.open("w", encoding="utf-8") as out:
            comparison = Comparison(reader, move)
            for found in _found(comparison, writer, nonce):
                out.write(entry(found))
                number += 1
            with own(writer):
                row = writer.execute(_REVIEW, (move.plan, move.name, nonce, number)).fetchone()
            assert row is not None
        with file.open("x", encoding="utf-8") as whole, part.open(encoding="utf-8") as body:
            whole.write(head(move, row[0]))
            for line in body:
                whole.write(line)
    except OSError as error:
        raise UsageError(f"--disagreements {file} cannot be written: {error}") from None
    finally:
        part.unlink(missing_ok=True)
    return number


def _found(comparison: Comparison, writer: Connection, nonce: str) -> Iterator[Disagreement]:
    sides = comparison.sides()
    low: Key | None = None
    while True:
        high = comparison.next_bound(sides, low, _RANGE)
        with comparison.snapshot():
            keys = comparison.disagreeing(low, high)
        for at in range(0, len(keys), _AT_ONCE):
            yield from _looked_at(comparison, writer, nonce, keys[at : at + _AT_ONCE])
        if high is None:
            return
        low = high


def _looked_at(comparison: Comparison, writer: Connection, nonce: str, keys: Sequence[Key]) -> Iterator[Disagreement]:
    with comparison.snapshot():
        seen, cells = comparison.observed(keys), comparison.cells(keys)
    decided = standing(writer, comparison.move, keys)
    for key, now in seen.items():
        if not of_others(now) or (key in decided and decided[key].holds(now)):
            continue
        legacy, consolidated, masked = cells[key]
        names = [column.name for column in comparison.move.written]
        yield Disagreement(
            key,
            _seen(nonce, now),
            {
                name: Cell(legacy=left, consolidated=right, masked=kind)
                for name, left, right, kind in zip(names, legacy, consolidated, masked, strict=True)
                if name in now.columns
            },
        )


def _seen(nonce: str, now: Observation) -> str:
    """Recognises both sides' values. Without the nonce, which is in the database alone, it says nothing about them."""
    sides = (now.legacy or b"") + b"\0" + (now.consolidated or b"")
    return hmac.new(nonce.encode(), sides, hashlib.sha256).hexdigest()


# -- decisions ---------------------------------------------------------------------------------------------------------


def accept(
    dsn: str, plan: Plan, log: Log, move: Move, review: Review, progress: Callable[[int, int], None] = lambda *at: None
) -> Accepted:
    """Take the decisions whose keys are still exactly what the reviewer saw; the others are refused by name.

    "legacy": the row is made the move's own, and touched, so that the one writer gives it the mapping's values.
    Recorded in cutover.accepted and cutover.event with the decision itself. Raises NotProven when the consumers stand
    still: the rows are the move's then, and `reconcile --repair` touches them again.
    """
    _refuse_others(move)
    done = Accepted(open=[tuple(each.key) for each in review.disagreement if not each.decision])
    wanted = [each for each in review.disagreement if each.decision]
    with connect(dsn, f"accept {plan.name}", **SETTINGS) as conn:
        row = conn.execute(_NONCE, (review.review, review.plan, review.move)).fetchone()
        if row is None:
            raise Refused(
                f"review {review.review} of {review.move} was not listed in this database",
                cure=f"cutover reconcile {move.name} --disagreements review.toml",
            )
        comparison = Comparison(conn, move)
        for at in range(0, len(wanted), _AT_ONCE):
            _take(comparison, row[0], review.review, wanted[at : at + _AT_ONCE], done)
    if done.adopted:
        mend(dsn, plan, log, {move.name: done.adopted}, progress=progress)
    return done


def _take(comparison: Comparison, nonce: str, review: int, wanted: Sequence[Decided], done: Accepted) -> None:
    """One transaction: the target's rows are locked, then both sides are read anew, so that none changes in between.

    A legacy row may; then its consolidated one, which belongs to the move now, follows it.
    """
    conn, move = comparison.conn, comparison.move
    given = {tuple(each.key): each for each in wanted}
    with own(conn):
        _lock(conn, move, list(given))
        seen = comparison.observed(list(given))
        taken = {}
        for key, each in given.items():
            now = seen[key]
            if why := _changed(now, each, nonce):
                done.refused[key] = why
                continue
            taken[key] = each
            conn.execute(
                load("reconcile/accept").encode(),
                {
                    "plan": move.plan, "move": move.name, "key": list(key), "decision": each.decision,
                    "legacy": now.legacy, "consolidated": now.consolidated, "review": review,
                    "dead_letter": None, "reason": None,
                },
            )  # fmt: skip
        adopted = [key for key, each in taken.items() if each.decision == "legacy"]
        _adopt(conn, move, adopted)
        if taken:
            decisions = {decision: [list(key) for key, it in taken.items() if it.decision == decision]
                         for decision in ("legacy", "consolidated")}  # fmt: skip
            conn.execute(_EVENT, (move.plan, move.name, Jsonb({"review": review, **decisions})))
    done.adopted += adopted
    done.kept += [key for key, each in taken.items() if each.decision == "consolidated"]


def _changed(now: Observation, each: Decided, nonce: str) -> str | None:
    """Why the decision is not about what is there now."""
    if now.legacy is None or now.consolidated is None:
        return f"there is no row on the {'legacy' if now.legacy is None else 'consolidated'} side any more"
    if not now.columns:
        return "both sides are equal now"
    if not of_others(now):
        return "the row belongs to the move by now"
    if not hmac.compare_digest(_seen(nonce, now), each.seen):
        return "a side has changed since it was listed"
    return None


def _lock(conn: Connection, move: Move, keys: Sequence[Key]) -> None:
    same = " AND ".join(f"t.{quote(key.name)} = k.{quote(key.name)}" for key in move.key)
    names = ", ".join(f"t.{quote(key.name)}" for key in move.key)
    conn.execute(
        f"SELECT FROM {move.target} t JOIN {_given(move)} ON {same} ORDER BY {names} FOR UPDATE OF t".encode(),
        key_parameters(keys, len(move.key)),
        prepare=False,
    )


def _adopt(conn: Connection, move: Move, keys: Sequence[Key]) -> None:
    if not keys:
        return
    names = ", ".join(quote(key.name) for key in move.key)
    conn.execute(
        f"INSERT INTO {move.owned} ({names}) SELECT {names} FROM {_given(move)} ON CONFLICT DO NOTHING".encode(),
        key_parameters(keys, len(move.key)),
        prepare=False,
    )


def _given(move: Move) -> str:
    arrays = ", ".join(f"%(k{at + 1})s::{base_type(key)}[]" for at, key in enumerate(move.key))
    return f"unnest({arrays}) AS k ({', '.join(quote(key.name) for key in move.key)})"


def _refuse_others(move: Move) -> None:
    if move.rows != "add" or move.existing == "overwrite":
        rule = f'existing = "{move.existing}"' if move.rows == "add" else f'rows = "{move.rows}"'
        raise UsageError(
            f"{move.name} has {rule}: no row of others disagrees with it", cure=f"cutover reconcile {move.name}"
        )
