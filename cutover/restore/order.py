"""Order: which changes of one source in one partition come for the first time, which again, and which are missing.

A transaction is what its xid, the LSN of its commit and its commit time say, all three; no clock decides anything.
Within one history LSNs only grow. A capture that begins again appends what the log has from some LSN on once more, the
same transactions in the same order. Where one of them does not come, the server has another history than the one that
the log had: it was restored, or a standby without its last commits was promoted.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left

from cdc.frame import Transaction


class Order:
    """Takes the transactions of a partition as they stand there, those only that changed the source.

    Remembers 24 bytes of each.
    """

    def __init__(self) -> None:
        self._lsns, self._xids, self._times = array("Q"), array("I"), array("q")
        self._done = array("Q")  # changes that were met, of each
        self._next = 0  # the transaction that must come again; behind the last: nothing must
        self._run = 0  # changes of the one before it that have come since capture began

    def begin(self, lsn: int) -> None:
        """Capture begins again: every transaction from this LSN on comes once more."""
        self._next, self._run = bisect_left(self._lsns, lsn), 0

    def falls(self, it: Transaction) -> bool:
        """Does it stand where only a later one could, so that capture must have begun again?"""
        last = len(self._lsns) - 1
        return self._next > last >= 0 and it.commit_lsn <= self._lsns[last] and not self._is(last, it)

    def skip(self, it: Transaction, count: int) -> int | None:
        """How many of the next `count` changes, which the transaction begins or goes on with, were there before.

        None: a transaction before it, `due`, did not come again. That one and those behind it are another history;
        once they are forgotten, ask again.
        """
        at = self._find(it)
        if at is None:
            return None
        skipped = min(count, max(0, self._done[at] - self._run))
        self._run += count
        self._done[at] = max(self._done[at], self._run)
        return skipped

    @property
    def due(self) -> tuple[int, int] | None:
        """LSN and time of the first transaction that has yet to come again."""
        at = self._next
        return (self._lsns[at], self._times[at]) if at < len(self._lsns) else None

    def missing(self, lsn: int) -> bool:
        """Has one not come again, although everything up to this LSN has?"""
        return self._next < len(self._lsns) and self._lsns[self._next] < lsn

    def forget(self) -> None:
        """Drop what did not come again."""
        for each in (self._lsns, self._xids, self._times, self._done):
            del each[self._next :]

    def _find(self, it: Transaction) -> int | None:
        if self._next and self._is(self._next - 1, it):
            return self._next - 1  # it goes on in another frame
        if self.falls(it):
            self._next = bisect_left(self._lsns, it.commit_lsn)
        at = self._next
        if at < len(self._lsns) and not self._is(at, it):
            if it.commit_lsn >= self._lsns[at]:
                return None
            self._insert(at, it)  # it was not captured the first time, or what follows will turn out to be missing
        elif at == len(self._lsns):
            self._insert(at, it)
        self._next, self._run = at + 1, 0
        return at

    def _is(self, at: int, it: Transaction) -> bool:
        return (self._xids[at], self._lsns[at], self._times[at]) == (it.xid, it.commit_lsn, it.commit_time)

    def _insert(self, at: int, it: Transaction) -> None:
        self._lsns.insert(at, it.commit_lsn)
        self._xids.insert(at, it.xid)
        self._times.insert(at, it.commit_time)
        self._done.insert(at, 0)
