"""The rights that each part of the service needs, and no more, as GRANT statements.

| role | may | may not |
|---|---|---|
| capture | stream the publication, keep its own progress | read any table of the application by SQL |
| consume | read the mapping, write what the moves write | own, alter, drop, truncate |
| reconcile | read both sides, see versions of legacy rows, record its runs | write any table of the application |
| flip | replace the facades, which it owns, and move the moves' sides | write any table of the application |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sql.model import Move, Plan, TargetColumn
from sql.names import Name, quote
from sql.uses import Use, uses

Part = Literal["capture", "consume", "reconcile", "flip"]
PARTS: Final[tuple[Part, ...]] = ("capture", "consume", "reconcile", "flip")
Columns = frozenset[str] | None  # None: the whole table

_PROGRESS: Final = ("schema_version", "plan", "move", "position", "backfill")
_PROVEN: Final = ("reconcile_run", "difference", "proof")
_OPEN_LETTERS: Final = frozenset({"plan", "move", "state"})  # to count them: not the keys, not the messages
_EVENT: Final = frozenset({"plan", "move", "what", "detail"})
_PROOF: Final = frozenset(  # without the place, which has cells in it
    {"plan", "move", "verdict", "started_at", "finished_at", "compared", "accepted", "pass_started_at", "pass_at",
     "pass_keys", "pass_total", "unlisted_drift", "unlisted_unproven", "unlisted_others"}
)  # fmt: skip
_STANDING: Final = frozenset({"plan", "move", "verdict", "others", "gone_at"})  # to count them: not the keys
_RUN: Final = frozenset(  # without the document, which has cells in it
    {"id", "plan", "move", "digest", "verdict", "exact", "snapshot_lsn", "started_at", "finished_at", "storage"}
)
_UPSET: Final = frozenset({"plan", "move", "what", "at"})  # what upset a proof, and when
_VERSION: Final = ("tableoid", "ctid", "xmin")  # by which a proof sees that a row has not changed; no value of it
_GAP: Final = frozenset({"gap", "gap_since"})
_HALT: Final = frozenset({"halted", "halted_lsn"})
_REFRESHED: Final = frozenset({"refreshed_until", "refreshed_offsets", "clock_low", "clock_high"})

# In the control schema: privilege, table, columns. Whoever adds a table there adds who may use it here.
CONTROL: Final[Mapping[Part, tuple[tuple[str, str, Columns], ...]]] = {
    "capture": (
        *(("SELECT", table, None) for table in _PROGRESS),
        ("SELECT", "dead_letter", _OPEN_LETTERS),
        ("SELECT", "proof", _PROOF),
        ("SELECT", "difference", _STANDING),
        ("SELECT", "reconcile_run", _RUN),
        ("SELECT", "event", _UPSET),
        ("UPDATE", "plan", _GAP | {"confirmed_lsn"}),
        ("UPDATE", "move", _HALT),
        ("INSERT", "event", _EVENT),
    ),
    "consume": (
        *(("SELECT", table, None) for table in (*_PROGRESS, "dead_letter", "replay")),
        ("SELECT", "proof", _PROOF),
        ("SELECT", "difference", _STANDING),
        ("SELECT", "reconcile_run", _RUN),
        ("SELECT", "event", _UPSET),
        *(("SELECT", table, None) for table in ("accepted", "review")),
        *((right, "accepted", None) for right in ("INSERT", "UPDATE")),
        *(("INSERT", table, None) for table in ("dead_letter", "backfill", "replay")),
        *(("UPDATE", table, None) for table in ("dead_letter", "backfill", "replay", "position")),
        ("UPDATE", "plan", _GAP),
        ("UPDATE", "move", _HALT | _REFRESHED | {"partition_mark", "touched_offsets"}),
        ("INSERT", "event", _EVENT),
    ),
    "reconcile": (
        *(("SELECT", table, None) for table in (*_PROGRESS, "dead_letter", "event", *_PROVEN)),
        *(("SELECT", table, None) for table in ("accepted", "review")),
        ("INSERT", "reconcile_run", None),
        ("INSERT", "review", None),
        ("UPDATE", "accepted", frozenset({"ended_at"})),
        *((right, "proof", None) for right in ("INSERT", "UPDATE")),
        *((right, "difference", None) for right in ("INSERT", "UPDATE", "DELETE")),
    ),
    "flip": (
        *(("SELECT", table, None) for table in (*_PROGRESS, "dead_letter", "event", "reconcile_run")),
        ("SELECT", "proof", _PROOF),
        ("SELECT", "difference", _STANDING),
        ("UPDATE", "move", frozenset({"side", "percent"})),
        ("INSERT", "event", _EVENT),
    ),
}


@dataclass(frozen=True, slots=True)
class Grant:
    """One right on one object. `kind`: TABLE, SCHEMA, SEQUENCE or DATABASE. `column` None: the whole object."""

    kind: str
    object: str  # as SQL
    privilege: str
    column: str | None = None


def give(rights: Iterable[Grant], role: str) -> list[str]:
    """GRANT statements, one for each privilege on an object."""
    return [f"GRANT {what} TO {quote(role)}" for what in _grouped(rights)]


def revoke(rights: Iterable[Grant], role: str) -> list[str]:
    """REVOKE statements, likewise."""
    return [f"REVOKE {what} FROM {quote(role)}" for what in _grouped(rights)]


def _grouped(rights: Iterable[Grant]) -> list[str]:
    columns: dict[tuple[str, str, str, bool], list[str]] = {}
    for each in rights:
        listed = columns.setdefault((each.kind, each.object, each.privilege, each.column is not None), [])
        if each.column is not None:
            listed.append(quote(each.column))
    return [
        f"{privilege}{' (' + ', '.join(sorted(listed)) + ')' if listed else ''} ON {kind} {name}"
        for (kind, name, privilege, _), listed in sorted(columns.items())
    ]


def role_name(plan: str, part: Part) -> str:
    """The name of a part's role: roles belong to the whole server, so they bear the plan's name."""
    return f"cutover_{plan}_{part}"


def grants(
    part: Part, plan: Plan, database: str, columns: Mapping[Name, Iterable[str]], sequences: Iterable[Name] = ()
) -> Iterator[Grant]:
    """Every right of a part. `columns`: of the tables that the plan's own statements name.

    `sequences`: those that defaults of targets into which rows are inserted take values from.
    """
    for right in ("CONNECT", "TEMPORARY"):
        yield Grant("DATABASE", quote(database), right)
    yield Grant("SCHEMA", "cutover", "USAGE")
    for right, table, listed in CONTROL[part]:
        yield from _on(Name("cutover", table), right, listed)
    for move in plan.moves:
        # Names are looked up by every part, which needs the schemas and not the tables in them.
        for name in (move.target, *(source.name for source in move.sources)):
            yield Grant("SCHEMA", quote(name.schema), "USAGE")
        yield from _of_move(part, move, columns)
    if part == "consume":
        for sequence in sequences:
            yield Grant("SEQUENCE", sequence.sql, "USAGE")


def _on(table: Name, right: str, columns: Iterable[str] | None = None) -> Iterator[Grant]:
    """A right on these columns of a table; None: on all of it."""
    if columns is None:
        yield Grant("TABLE", table.sql, right)
    else:
        yield from (Grant("TABLE", table.sql, right, column) for column in columns)


def statements_of(part: Part, move: Move) -> list[str]:
    """The plan's own statements that a part runs."""
    if part == "consume":
        return [text for text in (move.annotate_sql, move.refresh.keys_sql if move.refresh else None) if text]
    if part == "reconcile":
        texts = [text for each in move.invariants for text in (each.legacy, each.consolidated)]
        return texts + ([move.quarantine_sql] if move.quarantine_sql else [])
    return []


def _of_move(part: Part, move: Move, columns: Mapping[Name, Iterable[str]]) -> Iterator[Grant]:
    if part == "capture":
        return
    yield from _on(move.view, "SELECT")
    yield from _on(move.target, "SELECT", _names((*move.key, *move.columns)))
    if move.owned is not None:
        yield from _on(move.owned, "SELECT")
    if part == "flip":
        if move.facade is not None:
            for right in ("USAGE", "CREATE"):  # to replace a view, PostgreSQL wants CREATE on its schema
                yield Grant("SCHEMA", quote(move.facade.schema), right)
        return
    if part == "reconcile":
        yield from _on(move.target, "SELECT", _VERSION)
        for source in move.sources:
            yield from _on(source.name, "SELECT", {*_VERSION, *(name for key in source.keys for name in key)})
    if part == "consume":
        yield from _written(move)
        for source in move.sources:
            if source.keys and move.backfill == "rows":  # a table without keys is not published, and not read either
                yield from _on(source.name, "SELECT", source.columns)
            elif source.keys and move.annotate_sql:
                yield from _on(source.name, "SELECT", {name for key in source.keys for name in key})
    for text in statements_of(part, move):
        for name, use in uses(text).items():
            yield from _used(name, use, frozenset(columns.get(name, ())))


def _written(move: Move) -> Iterator[Grant]:
    yield from _on(move.target, "UPDATE", _names(move.written))
    if move.rows != "existing":
        yield from _on(move.target, "INSERT", _names((*move.key, *move.written)))
        yield from _on(move.target, "DELETE")
    if move.owned is not None:
        yield from _on(move.owned, "INSERT")
        yield from _on(move.owned, "DELETE")


def _used(name: Name, use: Use, known: frozenset[str]) -> Iterator[Grant]:
    yield Grant("SCHEMA", quote(name.schema), "USAGE")
    if not known:  # what prepare itself has yet to make
        return
    read = known if use.columns is None else known & use.columns
    # A statement that names no column still reads rows: count(*) needs the right to one column.
    yield from _on(name, "SELECT", read or {min(known)})
    yield from _on(name, "UPDATE", use.updates)
    if use.inserts:
        yield from _on(name, "INSERT")
    if use.deletes:
        yield from _on(name, "DELETE")


def _names(columns: Iterable[TargetColumn]) -> list[str]:
    return [column.name for column in columns]
