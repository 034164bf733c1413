"""Appliers: the sessions in which a worker applies its batches. One, and others beside it while it is far behind.

A batch is PostgreSQL's work for the most part, and of one processor. A worker that is alone with a backlog splits what
waits by partitions, whose keys have nothing in common, and applies the parts at the same time; each part is a
transaction of its own over the positions of its own partitions, as if another worker had it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from consumers.converge import Batch, Converger, Result
from consumers.lease import IDLE_SESSION_TIMEOUT
from sql.connection import Connection, connect
from sql.model import Move, Plan

KEPT: Final = 10.0  # seconds that a session beside the first is kept without work
LOCK_TIMEOUT: Final = "400ms"
_SESSION: Final = {
    "lock_timeout": LOCK_TIMEOUT,
    "idle_session_timeout": IDLE_SESSION_TIMEOUT,
    "idle_in_transaction_session_timeout": "15s",
    "plan_cache_mode": "force_generic_plan",  # a custom plan per batch would plan 20,000 constants each time
    "synchronous_commit": "off",  # safe: position and data are lost or kept together, the log has it again
    "jit": "off",
}


def open_session(dsn: str, plan: str) -> Connection:
    """A session that applies. Raises Unreachable."""
    return connect(dsn, f"consume {plan}", **_SESSION)


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a batch, or why nothing did; and the seconds that it took."""

    result: Result | Exception
    seconds: float


class Appliers:
    """The sessions of one worker: `first`, which is the caller's, and the others, which are opened when needed."""

    def __init__(self, dsn: str, plan: Plan, worker: str, first: Connection) -> None:
        self._dsn, self._plan, self._worker = dsn, plan, worker
        self._sessions = [_Session(first, plan, worker)]
        self._threads: ThreadPoolExecutor | None = None
        self._used = 0.0  # when there was work for more than one

    def apply(self, move: Move, batches: Sequence[Batch]) -> list[Applied]:
        """Apply batches of different partitions, all at the same time, each in a session. Waits for all of them, so
        that nothing is under way when it returns. Raises Unreachable when there is no session to be had."""
        if len(batches) == 1:
            return [self._sessions[0].apply(move, batches[0])]
        self._used = time.monotonic()
        while len(self._sessions) < len(batches):
            self._sessions.append(_Session(open_session(self._dsn, self._plan.name), self._plan, self._worker))
        if self._threads is None:
            self._threads = ThreadPoolExecutor(thread_name_prefix="apply")
        others: list[Future[Applied]] = []
        try:
            for session, batch in zip(self._sessions[1:], batches[1:], strict=False):
                others.append(self._threads.submit(session.apply, move, batch))
            first = self._sessions[0].apply(move, batches[0])
        finally:
            found = [each.result() for each in others]
        return [first, *found]

    def rest(self) -> None:
        """Close the sessions beside the first that have had no work for a while."""
        if len(self._sessions) > 1 and time.monotonic() - self._used > KEPT:
            self._close()

    def close(self) -> None:
        """End the sessions beside the first, and the threads."""
        self._close()
        if self._threads is not None:
            self._threads.shutdown()

    def _close(self) -> None:
        for session in self._sessions[1:]:
            session.conn.close()
        del self._sessions[1:]


class _Session:
    """A connection and what converges the plan's moves through it."""

    def __init__(self, conn: Connection, plan: Plan, worker: str) -> None:
        self.conn = conn
        self._convergers = {move.name: Converger(conn, move, worker, plan.digest) for move in plan.moves}

    def apply(self, move: Move, batch: Batch) -> Applied:
        started = time.monotonic()
        result: Result | Exception
        try:
            result = self._convergers[move.name].apply(batch)
        except Exception as error:
            result = error
        return Applied(result, time.monotonic() - started)
