"""History: all that the log knows about one key of a move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from pydantic import BaseModel
from rich.table import Table
from rich.text import Text

from cdc import pgoutput, rows
from cdc.frame import CHANGES, ROWS, TOUCH, Frame
from cdc.log import Log
from cdc.replication import lsn_text
from cdc.router import encode_key, partition_of
from consumers.reading import Reading
from sql.errors import UsageError
from sql.layout import Fitting, visible
from sql.mask import MASKED
from sql.model import Move
from sql.names import quote

Operation = Literal["insert", "update", "delete", "truncate", "touch", "read", "too large"]

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_OPERATIONS: Final[dict[str, Operation]] = {"I": "insert", "U": "update", "D": "delete"}
_UNCHANGED: Final = "(unchanged)"  # a long value that the update did not touch: it is not in the WAL (C7)


class Value(BaseModel):
    """A captured column. `unchanged`: a TOASTed value that the change left alone and WAL therefore does not have.
    `masked`: the plan masks what is computed from it, and `***` stands for a value."""

    column: str
    value: str | None
    unchanged: bool = False
    changed: bool | None = None  # None: the old value is not known
    masked: bool = False


class Version(BaseModel):
    """One entry of the log about the key, oldest first. A touch says only that the key was converged again."""

    partition: int
    offset: int
    time: datetime
    lsn: str | None
    xid: int | None
    source: str | None
    operation: Operation
    values: list[Value] = []
    moved: bool = False  # the key of the row changed: this is its old or its new one


def history(log: Log, move: Move, key: Sequence[str]) -> Iterator[Version]:
    """Every version of a key that the log holds, oldest first; reads the key's partition from its beginning.

    What the plan masks is masked here. Raises UsageError for a key with the wrong number of components, Gap when
    records are missing in the middle.
    """
    secret = move.masked_sources
    for version in _history(log, move, key):
        yield version if version.source is None or not secret else _masked(version, secret)


def _masked(version: Version, secret: frozenset[tuple[str, str]]) -> Version:
    """Without the values of these columns; whether they changed is still told."""
    values = [
        each.model_copy(update={"value": None if each.value is None else MASKED, "masked": True})
        if (version.source, each.column) in secret
        else each
        for each in version.values
    ]
    return version.model_copy(update={"values": values})


def _history(log: Log, move: Move, key: Sequence[str]) -> Iterator[Version]:
    if len(key) != len(move.key):
        names = ", ".join(quote(column.name) for column in move.key)
        raise UsageError(f"the key of {move.name} has {len(move.key)} parts ({names}), {len(key)} were given")
    encoded = encode_key(key)
    partition = partition_of(encoded, move.partitions)
    reading = Reading(log, move, {partition: log.begin_offsets(move.topic)[partition]})
    known: dict[tuple[str, bytes], dict[str, Value]] = {}
    try:
        for offset, found in reading.frames({partition: log.end_offsets(move.topic)[partition]}):
            if found.kind == TOUCH and encoded in found.keys:
                yield Version(
                    partition=partition, offset=offset, time=_time(found.time), lsn=None, xid=None, source=None,
                    operation="touch",
                )  # fmt: skip
            elif found.kind == CHANGES:
                yield from _versions(move, encoded, partition, offset, found, known)
            elif found.kind == ROWS and encoded in found.keys:
                yield from _read(move, encoded, partition, offset, found, known)
    finally:
        reading.close()


def _versions(
    move: Move, key: bytes, partition: int, offset: int, found: Frame, known: dict[tuple[str, bytes], dict[str, Value]]
) -> Iterator[Version]:
    relations = rows.relations(found)
    transactions = found.transactions()
    mine = key in found.keys
    number = -1
    told = False
    for at, message in enumerate(found.changes()):
        while number + 1 < len(transactions) and transactions[number + 1].first <= at:
            number += 1
        transaction = transactions[number]
        where: dict[str, Any] = {
            "partition": partition,
            "offset": offset,
            "time": _time(transaction.commit_time),
            "lsn": lsn_text(transaction.commit_lsn),
            "xid": transaction.xid,
        }
        if message[:1] == b"T":
            names = [relations[oid]["source"] for oid in pgoutput.truncated(message) if oid in relations]
            yield Version(**where, source=", ".join(names) or None, operation="truncate")
            continue
        if not mine:
            continue
        change = pgoutput.change(message)
        relation = relations[change.oid]
        keys = [
            (_key(change.old, relation, columns), _key(change.new, relation, columns))
            for columns in relation["keys"].get(move.name, ())
        ]
        if not any(key in pair for pair in keys):
            continue
        told = True
        yield Version(
            **where,
            source=relation["source"],
            operation=_OPERATIONS[change.op],
            values=_values(change, relation, known),
            moved=any(old is not None and new is not None and old != new for old, new in keys),
        )
    if mine and not told:
        # Its row was larger than a frame can be: only the key went into the log (L4).
        last = transactions[-1] if transactions else None
        yield Version(
            partition=partition, offset=offset, time=_time(found.time), lsn=lsn_text(last.commit_lsn) if last else None,
            xid=last.xid if last else None, source=", ".join(found.sources) or None, operation="too large",
        )  # fmt: skip


def _read(
    move: Move, key: bytes, partition: int, offset: int, found: Frame, known: dict[tuple[str, bytes], dict[str, Value]]
) -> Iterator[Version]:
    """The rows of the key as a backfill read them; a bare touch where there were none."""
    relations, seen = rows.relations(found), rows.seen(found)
    where: dict[str, Any] = {
        "partition": partition, "offset": offset, "time": _time(seen.time), "lsn": lsn_text(seen.lsn), "xid": None,
    }  # fmt: skip
    told = False
    for change in map(pgoutput.change, found.changes()):
        relation = relations[change.oid]
        if _key(change.new, relation, relation["keys"][move.name][0]) == key:
            told = True
            values = _values(change, relation, known)
            yield Version(**where, source=relation["source"], operation="read", values=values)
    if not told:
        yield Version(**where, source=None, operation="touch")


def _key(values: tuple[pgoutput.Value, ...] | None, relation: dict[str, Any], columns: Sequence[str]) -> bytes | None:
    if values is None:
        return None
    names = [column["name"] for column in relation["columns"]]
    parts = [values[names.index(column)] for column in columns]
    return b"\0".join(part for part in parts if isinstance(part, bytes)) if all(
        isinstance(part, bytes) for part in parts
    ) else None  # fmt: skip


def _values(
    change: pgoutput.Change, relation: dict[str, Any], known: dict[tuple[str, bytes], dict[str, Value]]
) -> list[Value]:
    """The row's values, each compared with the old row where it came along, else with the version before."""
    names = [column["name"] for column in relation["columns"]]
    identity = [at for at, column in enumerate(relation["columns"]) if column["key"]]
    row = change.new if change.new is not None else change.old
    assert row is not None
    was = change.old if change.old is not None else row
    before = known.get((relation["source"], _identity(was, identity)), {})
    found = []
    for at, (name, value) in enumerate(zip(names, row, strict=True)):
        if change.op == "D" and at not in identity and value is None:
            continue  # only the identity of a deleted row is in WAL, unless it is FULL
        text = value.decode() if isinstance(value, bytes) else None
        unchanged = value is pgoutput.UNCHANGED
        changed: bool | None = None
        if unchanged:
            changed = False
            text = before[name].value if name in before else None
        elif change.op == "U" and change.old is not None and at in identity:
            changed = change.old[at] != value
        elif change.op == "U" and name in before and not before[name].unchanged:
            changed = before[name].value != text
        found.append(Value(column=name, value=text, unchanged=unchanged, changed=changed))
    if change.new is not None:
        known[relation["source"], _identity(change.new, identity)] = {
            each.column: each.model_copy(update={"unchanged": each.unchanged and each.value is None}) for each in found
        }
    return found


def _identity(row: tuple[pgoutput.Value, ...], identity: Sequence[int]) -> bytes:
    return b"\0".join(value if isinstance(value, bytes) else b"" for value in (row[at] for at in identity))


def _time(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


def render(versions: Sequence[Version]) -> Fitting:
    """The versions as a table for people."""
    table = Table("time", "LSN", "xid", "at", "source", "operation", "values", show_lines=False)
    for each in versions:
        table.add_row(
            each.time.isoformat(sep=" ", timespec="milliseconds"),
            each.lsn or "",
            str(each.xid or ""),
            f"{each.partition}:{each.offset}",
            each.source or "",
            each.operation + (" (key moved)" if each.moved else ""),
            Text("\n").join(map(_cell, each.values)),
        )
    return Fitting(table)


def _cell(value: Value) -> Text:
    column = f"{'* ' if value.changed and not value.unchanged else ''}{quote(value.column)}: "
    if not value.unchanged:
        return Text.assemble(column, visible(value.value))
    return Text.assemble(column, *(() if value.value is None else (visible(value.value), " ")), _UNCHANGED)
