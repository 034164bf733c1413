"""Plant a fault that the proof must find."""

from __future__ import annotations

from typing import Literal

from cutover.demo.ledger import Ledger
from cutover.demo.perform import open_session, perform
from cutover.demo.workload import Workload
from sql.connection import own
from sql.errors import CutoverError

Fault = Literal["drift", "loss"]


def plant(dsn: str, workload: Workload, ledger: Ledger, fault: Fault) -> str:
    """Plant a fault at a key of the ledger and return the key.

    drift: a value of the consolidated table changes behind the service's back. loss: the application's write is
    committed and acknowledged, and the stream never carries it. Both use the mark by which capture knows the service's
    own transactions, and skips them.
    """
    transaction = workload.plant.drift if fault == "drift" else workload.plant.loss
    pool = workload.pools[transaction.pool]
    with open_session(dsn, "demo plant") as conn:
        for key in sorted(ledger.touched.get(pool.name, ())):
            if (pool.kinds[0], key) not in ledger.rows:
                continue
            with own(conn):
                done = perform(conn, workload, transaction, {"key": key, "other": key, "new": "planted"})
            if fault == "loss" and done.effects:
                ledger.acknowledge(done.touched, done.effects, done.writes)
            if done.writes:
                return key
    raise CutoverError(f"no key to plant a {fault} at")
