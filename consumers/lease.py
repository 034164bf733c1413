"""Leases: which worker has which partition. Session advisory locks, shared fairly among the workers that live.

A lease lives in the session that also converges: who loses the connection loses the lease, and
`idle_session_timeout` frees the leases of a frozen process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from sql.connection import Connection
from sql.errors import Gap
from sql.files import load
from sql.model import Plan

_PRESENCE, _LEASE = 0x63757470, 0x6375746C  # classid of the advisory locks
IDLE_SESSION_TIMEOUT = "30s"

_PRESENT = f"SELECT pg_advisory_lock_shared({_PRESENCE}, hashtext(%s))"
_TRY = f"SELECT pg_try_advisory_lock({_LEASE}, %s)"
_RELEASE = f"SELECT pg_advisory_unlock({_LEASE}, %s)"


@dataclass(frozen=True, slots=True, order=True)
class Lease:
    """One partition of one move, leased."""

    move: str
    partition: int
    id: int


class Leases:
    """The leases of one worker. Call `rebalance` often, between batches, never within one."""

    def __init__(self, conn: Connection, plan: Plan) -> None:
        self.conn, self.plan = conn, plan
        self.held: set[Lease] = set()
        self.workers = 0  # that shared the partitions when it was looked at last
        self.short = False  # fewer are held than a fair share
        conn.execute(_PRESENT, (plan.name,))
        conn.execute(load("consume/begin"), (plan.name,))  # before anything is read

    def rebalance(self) -> tuple[set[Lease], set[Lease]]:
        """Take what is free up to a fair share, give back what is above it; returns (taken, given back).

        Partitions of halted moves are given back. Raises Gap when a position was removed: nobody would read on there.
        """
        rows = self.conn.execute(load("consume/leases"), (_PRESENCE, self.plan.name, self.plan.name)).fetchall()
        known = {move.name for move in self.plan.moves}
        self._refuse_missing({(row[0], row[1]) for row in rows})
        live = [Lease(row[0], row[1], row[2]) for row in rows if row[0] in known and not row[3]]
        self.workers = int(rows[0][4]) if rows else 1
        share = -(-len(live) // max(self.workers, 1))
        given = {lease for lease in self.held if lease not in live}
        surplus = len(self.held) - len(given) - share
        if surplus > 0:
            given |= set(sorted(self.held - given)[-surplus:])
        for lease in given:
            self.conn.execute(_RELEASE, (lease.id,))
            self.held.discard(lease)
        taken: set[Lease] = set()
        start = os.getpid() % len(live) if live else 0
        for lease in live[start:] + live[:start]:
            if len(self.held) >= share:
                break
            if lease not in self.held and lease not in given and self._take(lease):
                self.held.add(lease)
                taken.add(lease)
        self.short = len(self.held) < min(share, len(live))
        return taken, given

    def _refuse_missing(self, found: set[tuple[str, int]]) -> None:
        for move in self.plan.moves:
            for partition in range(move.partitions):
                if (move.name, partition) not in found:
                    raise Gap(f"{move.name}, partition {partition}: its position is missing", cure="cutover heal")

    def give_back(self, move: str) -> None:
        """Give back every partition of a move."""
        for lease in [lease for lease in self.held if lease.move == move]:
            self.conn.execute(_RELEASE, (lease.id,))
            self.held.discard(lease)

    def _take(self, lease: Lease) -> bool:
        row = self.conn.execute(_TRY, (lease.id,)).fetchone()
        return bool(row and row[0])


def workers(conn: Connection, plan: str) -> int:
    """How many workers of a plan live."""
    row = conn.execute(load("consume/workers"), (_PRESENCE, plan)).fetchone()
    return int(row[0]) if row else 0
