"""Bases: the first reading of a partition. Which records are the moment's history, and the rows to begin with.

Of each key it keeps the newest rows that a backfill read before the moment.
"""

from __future__ import annotations

from cdc import pgoutput, rows
from cdc.frame import ROWS, Frame
from cutover.restore.chapters import Chapters
from cutover.restore.moment import Moment
from cutover.restore.shape import Shape
from cutover.restore.spool import Spool


class Bases:
    """Takes a partition's records from the first to the last."""

    def __init__(self, move: str, source: str, moment: Moment, spool: Spool) -> None:
        self._move, self._source, self._moment, self._spool = move, source, moment, spool
        self.chapters = Chapters(source, moment)
        self._begun: int | None = None  # where a backfill began whose end has not come
        self._ended: int | None = None  # where one began that has read every row

    @property
    def complete(self) -> bool:
        """Has a backfill read every row of the source, from its beginning to its end, within the chapter?"""
        return self._ended is not None and self._ended >= self.chapters.start

    def take(self, offset: int, found: Frame) -> None:
        """The next record."""
        if self.chapters.take(offset, found):
            self._spool.forget_before(self.chapters.start)
        if found.kind == ROWS and self.chapters.end is None and self._source in found.sources:
            seen = rows.seen(found)
            if self._moment.holds(seen):
                self._mark(offset, seen.mark)
                self._read(offset, found, seen)

    def _mark(self, offset: int, mark: rows.Mark | None) -> None:
        if mark == "begin":
            self._begun = offset
        elif mark == "end" and self._begun is not None:
            self._ended = self._begun

    def _read(self, offset: int, found: Frame, seen: rows.Seen) -> None:
        large = {key.encode() for source, key in seen.large if source == self._source}
        new = {key for key in found.keys if not (seen.more and self._spool.was_read(key))}
        self._spool.read(seen.snapshot, offset, new, large)
        self._spool.too_large(large - new)
        for oid, relation in rows.relations(found).items():
            if relation["source"] == self._source:
                shape = Shape(relation, self._move)
                for message in found.changes():
                    if pgoutput.oid(message) == oid:
                        values = pgoutput.change(message).new or ()
                        if (key := shape.key(values)) is not None:
                            self._spool.put(key, shape.identity(values), shape.names, values, many=shape.full)
