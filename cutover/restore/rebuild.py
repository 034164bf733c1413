"""Rebuild: the second reading of a partition. Applies the changes before the moment to the rows that it begins with.

Changes that those rows hold already are left out. Which those are is told by transaction id from the snapshot that
read them, never by time: a change may stand in the log before rows that lack it, or after rows that have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cdc import pgoutput, rows
from cdc.beginning import beginning, reached
from cdc.frame import CHANGES, Frame, Transaction
from cdc.pgoutput import UNCHANGED, Change, Value
from cdc.router import partition_of
from cutover.restore.bases import Bases
from cutover.restore.chapters import portions
from cutover.restore.moment import Moment
from cutover.restore.order import Order
from cutover.restore.shape import Shape, merged
from cutover.restore.spool import Names, Spool

NEVER: Final = 1 << 64  # an LSN that no commit has


@dataclass(slots=True)
class Reach:
    """How far the log reaches in a partition.

    settled: everything has come again that must. reached: every commit up to this LSN is in the log. passed: the least
    LSN of a commit after the moment. lived: both, of what stands before capture began last.
    """

    settled: bool
    reached: int = 0
    passed: int = NEVER
    lived: tuple[int, int] = (0, NEVER)


def reaches(found: Sequence[Reach], wanted: int) -> bool:
    """Does every partition hold every commit before the moment: up to an LSN, or up to a commit after the moment?"""
    wanted = min(wanted, *(each.passed for each in found))
    lived = min(each.lived[1] for each in found)
    return all((each.settled and each.reached >= wanted) or NEVER > lived <= each.lived[0] for each in found)


class Rebuild:
    """One source's rows in one partition at the moment. `places`: the partition, of how many."""

    def __init__(
        self, move: str, source: str, moment: Moment, places: tuple[int, int], bases: Bases, spool: Spool
    ) -> None:
        self._move, self._source, self._moment, self._bases, self._spool = move, source, moment, bases, spool
        self._partition, self._partitions = places
        self._order = Order()
        self._shapes: dict[int, Shape] = {}
        self.shape: Shape | None = None  # the newest
        self.complete = bases.complete
        self.large = spool.large()
        self.without_key = 0  # rows whose key became NULL: nobody follows them
        self.first_time: int | None = None
        self.reach = Reach(settled=bases.chapters.settled)
        self._unknown: Counter[str] = Counter()

    def take(self, offset: int, found: Frame) -> None:
        """The next record."""
        chapters = self._bases.chapters
        if offset < chapters.start or (chapters.end is not None and offset >= chapters.end):
            return
        if (begun := beginning(found)) is not None and begun.again and self._source in found.sources:
            self._order.begin(begun.lsn)
            self._begin()
        self.reach.reached = max(self.reach.reached, reached(found))
        self._describe(found)
        if found.kind == CHANGES:
            self._take(found)

    def _begin(self) -> None:
        """Capture begins again. What was said of the log so far is of a history that may be another one than what
        follows. Of an LSN the newer one is meant; a time was in the history that has a commit after it."""
        was = self.reach
        lived = (max(was.reached, was.lived[0]), min(was.passed, was.lived[1]))
        self.reach = Reach(settled=was.settled, lived=(0, NEVER) if self._moment.lsn is not None else lived)

    def rows(self) -> Iterator[tuple[Names, tuple[Value, ...]]]:
        """What the source had in this partition. Counts what is unknown on the way."""
        self._unknown.clear()
        for names, values in self._spool.rows():
            if UNCHANGED in values:
                self._unknown.update(name for name, value in zip(names, values, strict=True) if value is UNCHANGED)
            yield names, values

    def unknown(self) -> Counter[str]:
        """Long values that the log does not have, by column (C7), of the rows as they were last gone through."""
        return self._unknown

    def _describe(self, found: Frame) -> None:
        for oid, relation in rows.relations(found).items():
            self._shapes[oid] = shape = Shape(relation, self._move)
            if shape.source == self._source:
                self.shape = shape

    def _take(self, found: Frame) -> None:
        transactions = found.transactions()
        if self.first_time is None and transactions:
            self.first_time = transactions[0].commit_time
        for it in transactions:
            if not self._moment.after(it.commit_lsn, it.commit_time):
                self.reach.passed = min(it.commit_lsn, self.reach.passed)
                self.reach.reached = max(self.reach.reached, it.commit_lsn)
        for it, changes in portions(found, self._source):
            skipped = self._skip(it, len(changes))
            if self._moment.after(it.commit_lsn, it.commit_time):
                for message in changes[skipped:]:
                    self._apply(it.xid, message)
        last = transactions[-1:]
        if self._source in found.sources and last and self._moment.after(last[0].commit_lsn, found.time):
            # A row that was too large for the log left its key, and no change (L4).
            told = {key for message in found.changes() for key in self._told(message)}
            self.large.update(key for key in found.keys if key not in told and not self._seen(key, last[0].xid))

    def _skip(self, it: Transaction, count: int) -> int:
        skipped = self._order.skip(it, count)
        if skipped is None:  # another history, of which the moment is none
            self._order.forget()
            skipped = self._order.skip(it, count)
        return skipped or 0

    def _told(self, message: bytes) -> set[bytes]:
        if message[:1] == b"T":
            return set()
        change = pgoutput.change(message)
        shape = self._shapes[change.oid]
        return shape.keys(change.old) | shape.keys(merged(change.new, change.old))

    def _apply(self, xid: int, message: bytes) -> None:
        if message[:1] == b"T":
            self._spool.empty(xid)
            self.complete = True
            return
        change = pgoutput.change(message)
        shape = self._shapes[change.oid]
        if change.op == "I":
            self._add(shape, change.new or (), xid)
        elif change.op == "D":
            self._remove(shape, change.old or (), xid)
        else:
            self._update(shape, change, xid)

    def _update(self, shape: Shape, change: Change, xid: int) -> None:
        assert change.new is not None
        was = change.old if change.old is not None else change.new
        key = shape.key(was)
        new = merged(change.new, change.old if shape.full else None)
        if UNCHANGED in new and key is not None and (before := self._spool.get(key, shape.identity(was))) is not None:
            known = dict(zip(*before, strict=True))
            new = tuple(
                known.get(name, UNCHANGED) if value is UNCHANGED else value
                for name, value in zip(shape.names, new, strict=True)
            )
        if shape.full or key != shape.key(new) or shape.identity(was) != shape.identity(new):
            self._remove(shape, was, xid)  # otherwise the new row takes its place
        if key is not None and shape.key(new) is None and not self._seen(key, xid):
            self.without_key += 1
        self._add(shape, new, xid)

    def _add(self, shape: Shape, values: tuple[Value, ...], xid: int) -> None:
        key = shape.key(values)
        if key is None or partition_of(key, self._partitions) != self._partition or self._seen(key, xid):
            return
        self._spool.put(key, shape.identity(values), shape.names, values, many=shape.full)

    def _remove(self, shape: Shape, values: tuple[Value, ...], xid: int) -> None:
        key = shape.key(values)
        if key is not None and not self._seen(key, xid):
            self._spool.remove(key, shape.identity(values))

    def _seen(self, key: bytes, xid: int) -> bool:
        return self._spool.seen(key, xid)
