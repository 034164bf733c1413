"""Rebuild the rows that one source had at a moment from one partition of the log. Pure.

Two readings. The first (`Bases`) finds for each key the newest rows that a backfill read before the moment, and where
the log's history begins anew. The second (`Rebuild`) applies, in the log's order, the changes before the moment that
those rows do not hold yet. Which those are is told by transaction id from the backfill's snapshot, never by time: a
change may stand in the log before rows that lack it, or after rows that have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cdc import pgoutput, rows
from cdc.frame import CHANGES, ROWS, Frame, Transaction
from cdc.pgoutput import UNCHANGED, Value
from cdc.router import partition_of

_JITTER: Final = 60_000_000  # microseconds: commit times of one server do not differ more from the order of LSNs


@dataclass(frozen=True, slots=True)
class Moment:
    """Everything committed before it: an LSN, or a time in microseconds since 2000-01-01 UTC."""

    lsn: int | None = None
    time: int | None = None

    def after(self, lsn: int, time: int) -> bool:
        """Is a commit before the moment?"""
        return lsn < self.lsn if self.lsn is not None else time < (self.time or 0)

    def holds(self, seen: rows.Seen) -> bool:
        """Does the moment come after all that was read there?"""
        return seen.lsn <= self.lsn if self.lsn is not None else seen.time <= (self.time or 0)


class Snapshot:
    """What `pg_current_snapshot()` saw, asked for the 32-bit transaction ids of the log."""

    def __init__(self, text: str) -> None:
        low, high, listed = text.split(":")
        self._low, self._high = int(low), int(high)
        self._running = frozenset(int(xid) for xid in listed.split(",") if xid)

    def sees(self, xid: int) -> bool:
        """Had this transaction, which has committed by now, committed for the snapshot?"""
        far = (xid - self._high) & 0xFFFFFFFF
        full = self._high + (far - (1 << 32) if far >= 1 << 31 else far)
        return full < self._low or (full < self._high and full not in self._running)


@dataclass(frozen=True, slots=True)
class Row:
    """A row with the names of its columns, in the order of the frame that it came with."""

    names: tuple[str, ...]
    values: tuple[Value, ...]


@dataclass(slots=True)
class Base:
    """All rows of a key as a backfill read them."""

    snapshot: Snapshot
    offset: int
    rows: list[tuple[bytes, Row]] = field(default_factory=list)  # identity, row
    large: bool = False  # a row more, which was too large for the log


class Order:
    """Tells what a capture that was killed appended twice, and where a server was restored to an earlier time."""

    def __init__(self) -> None:
        self._high: Transaction | None = None
        self._first = b""
        self._done = self._at = 0

    def skip(self, it: Transaction, changes: Sequence[bytes]) -> int | None:
        """How many of these changes, which the transaction begins or goes on with, were there before; None: LSNs have
        fallen back, and what was is another history."""
        high = self._high
        if high is not None and it.commit_lsn < high.commit_lsn:
            if it.commit_time <= high.commit_time + _JITTER:
                return len(changes)
            self._begin(it, changes)
            return None
        if high is None or it.commit_lsn > high.commit_lsn:
            self._begin(it, changes)
            return 0
        if self._at and changes and changes[0] == self._first:
            self._at = 0
        skipped = min(len(changes), max(0, self._done - self._at))
        self._at += len(changes)
        self._done = max(self._done, self._at)
        return skipped

    def _begin(self, it: Transaction, changes: Sequence[bytes]) -> None:
        self._high, self._first = it, changes[0] if changes else b""
        self._done = self._at = len(changes)


def portions(found: Frame) -> Iterator[tuple[Transaction, list[bytes]]]:
    """The transactions of a frame, each with its changes."""
    transactions, changes = found.transactions(), found.changes()
    for number, it in enumerate(transactions):
        end = transactions[number + 1].first if number + 1 < len(transactions) else len(changes)
        yield it, changes[it.first : end]


class Bases:
    """The first reading."""

    def __init__(self, move: str, source: str, moment: Moment) -> None:
        self._move, self._source, self._moment = move, source, moment
        self._order = Order()
        self._begun = False
        self.of: dict[bytes, Base] = {}
        self.complete = False  # a backfill read every row, and its beginning is still there
        self.fallen: int | None = None  # the offset of the newest history's first record, where there are several

    def take(self, offset: int, found: Frame) -> None:
        """The next frame."""
        if found.kind == ROWS:
            self._take_rows(offset, found)
        elif found.kind == CHANGES:
            for it, changes in portions(found):
                if self._moment.after(it.commit_lsn, it.commit_time) and self._order.skip(it, changes) is None:
                    self.fallen, self.complete, self._begun = offset, False, False
                    self.of.clear()

    def _take_rows(self, offset: int, found: Frame) -> None:
        seen = rows.seen(found)
        if not self._moment.holds(seen):
            return
        if seen.mark is not None:
            self._begun = self._begun or seen.mark == "begin"
            self.complete = self.complete or (self._begun and seen.mark == "end")
            return
        if self._source not in found.sources:
            return
        large = {key.encode() for source, key in seen.large if source == self._source}
        snapshot = Snapshot(seen.snapshot)
        for key in found.keys:
            if not (seen.more and key in self.of):
                self.of[key] = Base(snapshot, offset)
            self.of[key].large |= key in large
        for oid, relation in rows.relations(found).items():
            if relation["source"] == self._source:
                shape = Shape(relation, self._move)
                for message in found.changes():
                    if pgoutput.oid(message) == oid:
                        self._add(shape, pgoutput.change(message).new or ())

    def _add(self, shape: Shape, values: tuple[Value, ...]) -> None:
        key = shape.key(values)
        if key in self.of:
            self.of[key].rows.append((shape.identity(values), Row(shape.names, values)))


class Shape:
    """A source's columns as a frame describes them."""

    def __init__(self, relation: dict[str, Any], move: str) -> None:
        self.source: str = relation["source"]
        self.columns: list[dict[str, Any]] = relation["columns"]
        self.names = tuple(column["name"] for column in self.columns)
        self._identity = [at for at, column in enumerate(self.columns) if column["key"]]
        self.full = len(self._identity) == len(self.names)
        self._keys = [tuple(self.names.index(name) for name in key) for key in relation["keys"].get(move, ())]

    def identity(self, values: tuple[Value, ...]) -> bytes:
        """What tells a row from the others of its key."""
        return pgoutput.pack_row(tuple(values[at] for at in self._identity))

    def key(self, values: tuple[Value, ...], lane: int = 0) -> bytes | None:
        """The row's key as in frames; None where a part of it is NULL."""
        parts = [values[at] for at in self._keys[lane]]
        found = [part for part in parts if isinstance(part, bytes)]
        return b"\0".join(found) if len(found) == len(parts) else None

    def keys(self, values: tuple[Value, ...] | None) -> set[bytes]:
        """Every key that the row belongs to."""
        if not values:
            return set()
        return {key for lane in range(len(self._keys)) if (key := self.key(values, lane)) is not None}


class Rebuild:
    """The second reading: one source's rows in one partition at the moment."""

    def __init__(self, move: str, source: str, moment: Moment, partition: int, partitions: int, bases: Bases) -> None:
        self._move, self._source, self._moment = move, source, moment
        self._partition, self._partitions, self._bases = partition, partitions, bases
        self._order = Order()
        self._rows: dict[bytes, dict[bytes, tuple[Row, int]]] = {}
        self._shapes: dict[int, Shape] = {}
        self.shape: Shape | None = None  # the newest
        self.complete = bases.complete
        self.large: set[bytes] = {key for key, base in bases.of.items() if base.large}
        self.without_key = 0  # rows whose key became NULL: nobody follows them
        self.reached = 0  # every commit up to this LSN is in the log
        self.passed = False  # a commit after the moment is there
        self.first_time: int | None = None
        for key, base in bases.of.items():
            for identity, row in base.rows:
                self._put(key, identity, row)

    def take(self, offset: int, found: Frame) -> None:
        """The next frame."""
        self.reached = max(self.reached, found.lsn)
        self._describe(found)
        if found.kind != CHANGES or (self._bases.fallen is not None and offset < self._bases.fallen):
            return
        told: set[bytes] = set()
        for it, changes in portions(found):
            if self.first_time is None:
                self.first_time = it.commit_time
            told.update(key for message in changes for key in self._told(message))
            if not self._moment.after(it.commit_lsn, it.commit_time):
                self.passed = True
                continue
            for message in changes[self._order.skip(it, changes) or 0 :]:
                self._apply(it.xid, message)
        self._note_large(found, told)

    @property
    def other_history(self) -> bool:
        """Does the log hold an earlier history, which was left out?"""
        return self._bases.fallen is not None

    def rows(self) -> Iterator[Row]:
        """What the source had in this partition."""
        for found in self._rows.values():
            for row, count in found.values():
                for _ in range(count):
                    yield row

    def unknown(self) -> Counter[str]:
        """Long values that the log does not have, by column (C7)."""
        return Counter(
            name for row in self.rows() for name, value in zip(row.names, row.values, strict=True) if value is UNCHANGED
        )

    def _describe(self, found: Frame) -> None:
        if found.kind in (CHANGES, ROWS):
            for oid, relation in rows.relations(found).items():
                self._shapes[oid] = shape = Shape(relation, self._move)
                if shape.source == self._source:
                    self.shape = shape

    def _told(self, message: bytes) -> set[bytes]:
        if message[:1] == b"T":
            return set()
        change = pgoutput.change(message)
        shape = self._shapes[change.oid]
        return shape.keys(change.old) | shape.keys(_merged(change.new, change.old))

    def _apply(self, xid: int, message: bytes) -> None:
        if message[:1] == b"T":
            if any(self._is_source(oid) for oid in pgoutput.truncated(message)):
                self._rows = {key: found for key, found in self._rows.items() if self._seen(key, xid)}
                self.complete = True
            return
        if not self._is_source(pgoutput.oid(message)):
            return
        change = pgoutput.change(message)
        shape = self._shapes[change.oid]
        if change.op == "I":
            self._add(shape, change.new or (), xid)
        elif change.op == "D":
            self._remove(shape, change.old or (), xid)
        else:
            self._update(shape, change, xid)

    def _update(self, shape: Shape, change: pgoutput.Change, xid: int) -> None:
        assert change.new is not None
        was = change.old if change.old is not None else change.new
        key = shape.key(was)
        before = self._rows.get(key, {}).get(shape.identity(was)) if key is not None else None
        new = _merged(change.new, change.old if shape.full else None)
        if before is not None:
            known = dict(zip(before[0].names, before[0].values, strict=True))
            new = tuple(
                known.get(name, UNCHANGED) if value is UNCHANGED else value
                for name, value in zip(shape.names, new, strict=True)
            )
        self._remove(shape, was, xid)
        if key is not None and shape.key(new) is None and not self._seen(key, xid):
            self.without_key += 1
        self._add(shape, new, xid)

    def _add(self, shape: Shape, values: tuple[Value, ...], xid: int) -> None:
        key = shape.key(values)
        if key is None or partition_of(key, self._partitions) != self._partition or self._seen(key, xid):
            return
        self._put(key, shape.identity(values), Row(shape.names, values), full=shape.full)

    def _put(self, key: bytes, identity: bytes, row: Row, *, full: bool = True) -> None:
        found = self._rows.setdefault(key, {})
        _, count = found.get(identity, (row, 0))
        found[identity] = (row, count + 1 if full else 1)

    def _remove(self, shape: Shape, values: tuple[Value, ...], xid: int) -> None:
        key = shape.key(values)
        if key is None or self._seen(key, xid) or key not in self._rows:
            return
        found = self._rows[key]
        identity = shape.identity(values)
        row, count = found.pop(identity, (None, 0))
        if row is not None and count > 1:
            found[identity] = (row, count - 1)
        if not found:
            del self._rows[key]

    def _seen(self, key: bytes, xid: int) -> bool:
        base = self._bases.of.get(key)
        return base is not None and base.snapshot.sees(xid)

    def _is_source(self, oid: int) -> bool:
        return oid in self._shapes and self._shapes[oid].source == self._source

    def _note_large(self, found: Frame, told: set[bytes]) -> None:
        """A row that was too large for the log left its key, and no change (L4)."""
        last = found.transactions()[-1:]
        if self._source not in found.sources or not last or not self._moment.after(last[0].commit_lsn, found.time):
            return
        self.large.update(key for key in found.keys if key not in told and not self._seen(key, last[0].xid))


def _merged(new: tuple[Value, ...] | None, old: tuple[Value, ...] | None) -> tuple[Value, ...]:
    if new is None or old is None:
        return new or ()
    return tuple(before if value is UNCHANGED else value for value, before in zip(new, old, strict=True))
