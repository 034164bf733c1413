"""Seen: a change that a key's last convergence has already read need not be applied again.

Converge reads the mapping as it is now. Of a backlog, "now" lies behind most of what the log still has to tell: a key
that was made right under a snapshot is right for every change which that snapshot could see, however many frames later
it comes. So the worker remembers, within a bound, under which snapshot each key was read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cdc.frame import CHANGES, Frame
from consumers.positions import Locked
from sql.model import Move, TargetColumn
from sql.render import changed_columns

REMEMBERED: Final = 16 << 20  # bytes of all moves' keys, about, after which the older half is forgotten: twice is held
_LOOKS: Final = 64  # batches, likewise
_ENTRY: Final = 140  # bytes of a key in memory beside its own: two object headers and a place in a hash table


@dataclass(frozen=True, slots=True)
class _Look:
    """One batch's look at the mapping: what it could see, and the columns that it made right."""

    locked: Locked
    columns: frozenset[TargetColumn]

    def saw(self, frame: Frame, newest: int) -> bool:
        """Could it see all that the frame tells? What was in WAL before it began (32 bits of an id alone may be of a
        later round) and ran no longer (A1). What a look saw, every later one did."""
        return newest < self.locked.end and not self.locked.snapshot.may_hide(frame.xid)


class Seen:
    """The keys of one move that this session has converged lately. Forgetting one costs work and nothing else."""

    def __init__(self, move: Move, remembered: int) -> None:
        self._move, self._remembered = move, remembered
        self._looks: dict[int, _Look] = {}
        self._newer: dict[bytes, int] = {}  # key to the number of its look
        self._older: dict[bytes, int] = {}
        self._bytes = self._next = self._first = 0  # numbers: the next look's, and the first of the newer half
        self._columns: dict[tuple[str, ...], frozenset[TargetColumn]] = {}

    def unseen(self, frame: Frame) -> list[bytes]:
        """The frame's keys that are still to be converged. What somebody asked for always is (cdc.frame.ASKED)."""
        newest = frame.newest_commit()
        if frame.kind != CHANGES or not newest or not self._looks or not self._looks[self._next - 1].saw(frame, newest):
            return frame.keys
        columns = self._changed(frame.sources)
        sufficient = {at for at, look in self._looks.items() if columns <= look.columns and look.saw(frame, newest)}
        newer, older = self._newer, self._older
        return [key for key in frame.keys if newer.get(key) not in sufficient and older.get(key) not in sufficient]

    def remember(self, keys: Iterable[bytes], sources: Iterable[str], locked: Locked) -> None:
        """These keys were converged, all of them without a fault, by a transaction that began with `locked`."""
        number = self._next
        self._next += 1
        self._looks[number] = _Look(locked, self._changed(tuple(sorted(sources))))
        fresh = dict.fromkeys(keys, number)
        self._newer.update(fresh)
        self._bytes += sum(map(len, fresh)) + _ENTRY * len(fresh)
        if self._bytes > self._remembered or number - self._first >= _LOOKS:
            self._looks = {at: look for at, look in self._looks.items() if at >= self._first}
            self._older, self._newer, self._bytes, self._first = self._newer, {}, 0, self._next

    def _changed(self, sources: tuple[str, ...]) -> frozenset[TargetColumn]:
        found = self._columns.get(sources)
        if found is None:
            found = self._columns[sources] = frozenset(changed_columns(self._move, sources))
        return found
