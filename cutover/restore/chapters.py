"""Chapters: which records of a partition are the history that a moment is in.

A chapter ends where something is missing: the slot was lost or made anew, a halt or a gap was healed, the plan stopped
reading the source, or the server went back in time. What stands before it cannot be joined with what follows.
"""

from __future__ import annotations

from collections.abc import Iterator

from cdc import pgoutput, rows
from cdc.beginning import Beginning, Chapter, beginning, lost, reached
from cdc.frame import CHANGES, WATERMARK, Frame, Transaction
from cutover.restore.moment import Moment
from cutover.restore.order import Order


class Chapters:
    """Takes a partition's records from the first to the last; the chapter is the records from `start` to before `end`.

    other_history, gap: why there is another chapter before it, which is left out.
    """

    def __init__(self, source: str, moment: Moment) -> None:
        self._source, self._moment = source, moment
        self._order = Order()
        self._chapter: Chapter | None = None
        self._followed = True
        self._begun, self._begun_time = 0, 0  # where and when capture began last, or LSNs fell back
        self.start = 0
        self.end: int | None = None
        self.other_history = self.gap = False

    def take(self, offset: int, found: Frame) -> bool:
        """The next record; True where a chapter begins, so that everything before `start` is of another one."""
        if (begun := beginning(found)) is not None:
            return self._begin(offset, found, begun)
        if lost(found) == self._source:
            self._followed = False
            self._end(offset + 1)
        if self.end is not None or found.kind not in (CHANGES, WATERMARK):
            return False
        fresh = False
        for it, changes in portions(found, self._source):
            fresh |= self._take(offset, it, len(changes))
        if self.end is None and self._order.missing(reached(found)):
            fresh |= self._fork(found.time)
        return fresh

    @property
    def settled(self) -> bool:
        """Has everything before the moment come again that must, so that it is known which history it is?"""
        due = self._order.due
        return due is None or not self._moment.after(*due)

    def _take(self, offset: int, it: Transaction, count: int) -> bool:
        if self.end is not None:
            return False
        if self._order.falls(it):  # and no mark said that capture began again
            self._begun, self._begun_time = offset, it.commit_time
        skipped = self._order.skip(it, count)
        if skipped == 0 and self._order.due is not None:  # it is new, and what stood behind it has yet to come again
            self._begun_time = min(self._begun_time, it.commit_time)
        if skipped is not None:
            return False
        fresh = self._fork(it.commit_time)
        self._order.skip(it, count)
        return fresh

    def _fork(self, time: int) -> bool:
        """Something did not come again. Times say only whether an operator's time was before or after that."""
        due = self._order.due
        assert due is not None
        self._order.forget()
        moment = self._moment
        if moment.lsn is not None:
            concerned = due[0] < moment.lsn
        else:
            concerned = min(time, self._begun_time) < (moment.time or 0)
            if not concerned:
                self._end(self._begun)
        if concerned:
            self.start, self.other_history = self._begun, True
        return concerned

    def _begin(self, offset: int, found: Frame, begun: Beginning) -> bool:
        if self._source not in found.sources:
            self._followed = False
            self._end(offset + 1)
            return False
        missing = not self._followed or begun.chapter != (self._chapter or begun.chapter)
        known = self._chapter is not None
        self._chapter, self._followed = begun.chapter, True
        if begun.again or missing:
            self._begun, self._begun_time = offset, found.time
        if not missing:
            if begun.again and self.end is None:
                self._order.begin(begun.lsn)
            return False
        moment = self._moment
        if begun.lsn < moment.lsn if moment.lsn is not None else found.time < (moment.time or 0):
            self.start, self.end, self.gap, self._order = offset, None, known, Order()
            return True
        self._end(offset)
        return False

    def _end(self, offset: int) -> None:
        self.end = offset if self.end is None else min(self.end, offset)


def portions(found: Frame, source: str) -> Iterator[tuple[Transaction, list[bytes]]]:
    """The transactions of a frame that changed a source, each with its changes of that source."""
    oids = {oid for oid, relation in rows.relations(found).items() if relation["source"] == source}
    if not oids:
        return
    transactions, changes = found.transactions(), found.changes()
    for number, it in enumerate(transactions):
        end = transactions[number + 1].first if number + 1 < len(transactions) else len(changes)
        mine = [message for message in changes[it.first : end] if changes_one_of(message, oids)]
        if mine:
            yield it, mine


def changes_one_of(message: bytes, oids: set[int]) -> bool:
    """Does the message change one of these relations?"""
    if message[:1] == b"T":
        return not oids.isdisjoint(pgoutput.truncated(message))
    return pgoutput.oid(message) in oids
