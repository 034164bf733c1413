"""Visibility: a commit is decoded from WAL before it leaves the list of running transactions (A1).

Whoever reads the mapping in between reads the row as it was, and the change is lost. Chapter 9.27.9 describes
snapshots and the functions that show them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cdc.frame import Frame, Transaction
from cdc.replication import lsn_number
from sql.connection import Connection
from sql.errors import Unreachable

PATIENCE: Final = 30.0  # seconds; synchronous replication holds a commit back, and the stream waits with it
_WRAP = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Which transactions were visible at a moment: all before `xmin`, none from `xmax` on, none `in_progress`.

    64-bit transaction ids, as pg_current_snapshot() writes them.
    """

    xmin: int
    xmax: int
    in_progress: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(int(xid) for xid in running.split(",") if xid))

    def hides(self, xid: int) -> bool:
        """Is a committed transaction, given by its 32 low bits, not visible yet?"""
        full = self.xmin + ((xid - self.xmin) & _WRAP)
        return self.may_hide(xid) and (full >= self.xmax or full in self.in_progress)

    def may_hide(self, xid: int) -> bool:
        """Is it as new as the oldest running transaction, or newer?"""
        return (xid - self.xmin) & _WRAP < 1 << 31


@dataclass(frozen=True, slots=True)
class Past:
    """Every transaction whose commit is in WAL before `lsn` has an id below `xid` (64 bits).

    Ids of 32 bits say which of two transactions is newer only within two thousand million of them: a log holds more
    (L2 keeps days of it). What is in the past is hidden only while it is on the list of running transactions.
    """

    lsn: int
    xid: int

    @classmethod
    def read(cls, conn: Connection) -> Past:
        """Until now. Takes one transaction id; `conn` is in autocommit."""
        lsn = conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        xid = conn.execute("SELECT pg_current_xact_id()::text").fetchone()
        assert lsn is not None
        assert xid is not None
        return cls(lsn_number(lsn[0]), int(xid[0]))

    def hidden(self, snapshot: Snapshot, transaction: Transaction) -> bool:
        """Is it committed and not visible yet?"""
        if transaction.commit_lsn >= self.lsn:
            return snapshot.hides(transaction.xid)
        running = {each & _WRAP for each in snapshot.in_progress}
        return transaction.xid in running or (
            snapshot.xmax < self.xid and (transaction.xid - snapshot.xmax) & _WRAP < self.xid - snapshot.xmax
        )


def wait_visible(conn: Connection, past: Past, snapshot: Snapshot, frames: Sequence[Frame]) -> None:
    """Wait until every transaction of the frames is visible to a new statement of `conn`, in READ COMMITTED.

    Raises Unreachable when one stays hidden.
    """
    # A frame whose newest transaction is older than every running one needs no closer look.
    recent = [each for each in frames if each.xid and snapshot.may_hide(each.xid)]
    hidden = [each for frame in recent for each in frame.transactions() if past.hidden(snapshot, each)]
    deadline = time.monotonic() + PATIENCE
    while hidden:
        if time.monotonic() > deadline:
            ids = [each.xid for each in hidden[:5]]
            raise Unreachable(f"transactions {ids} are committed in WAL and not visible after {PATIENCE:.0f} s")
        snapshot = _current(conn)
        hidden = [each for each in hidden if past.hidden(snapshot, each)]


def _current(conn: Connection) -> Snapshot:
    row = conn.execute("SELECT pg_current_snapshot()::text", prepare=True).fetchone()
    assert row is not None
    return Snapshot.parse(row[0])
