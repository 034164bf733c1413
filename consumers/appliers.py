"""Appliers: the sessions in which a worker applies its batches. One, and others beside it while it is far behind.

A batch is PostgreSQL's work for the most part, and of one processor. A worker that is alone with a backlog splits what
waits by partitions, whose keys have nothing in common, and applies the parts at the same time; each part is a
transaction of its own over the positions of its own partitions, as if another worker had it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from consumers.converge import Batch, Converger, Result
from consumers.lease import IDLE_SESSION_TIMEOUT
from sql.connection import Connection, connect
from sql.errors import Unreachable
from sql.model import Move, Plan

logger = logging.getLogger("cutover.consume")

KEPT: Final = 10.0  # seconds that a session beside the first is kept without work
AGAIN: Final = 60.0  # seconds until the next attempt when the server did not give one
LOCK_TIMEOUT: Final = "400ms"
_SESSION: Final = {
    "lock_timeout": LOCK_TIMEOUT,
    "idle_session_timeout": IDLE_SESSION_TIMEOUT,
    "idle_in_transaction_session_timeout": "15s",
    "plan_cache_mode": "force_generic_plan",  # a custom plan per batch would plan 20,000 constants each time
    "synchronous_commit": "off",  # safe: position and data are lost or kept together, the log has it again
    "jit": "off",
}


def open_session(dsn: str, name: str) -> Connection:
    """A session that applies, called "cutover <name>". Raises Unreachable."""
    return connect(dsn, name, **_SESSION)


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of a batch, or why nothing did; and the seconds that it took."""

    result: Result | Exception
    seconds: float


class Appliers:
    """The sessions of one worker: `first`, which is the caller's, and the others, which are opened when needed.

    What a session's convergers remember of their own writes (`consumers.echo`) is that session's: a trigger that
    loops over so many keys that it is a backlog has some more rounds until they are dead letters.
    """

    def __init__(self, dsn: str, plan: Plan, worker: str, first: Connection, most: int) -> None:
        self._dsn, self._plan, self._worker, self._most = dsn, plan, worker, most
        self._sessions = [_Session(first, plan, worker)]
        self._threads: ThreadPoolExecutor | None = None
        self._used = 0.0  # when there was work for more than one
        self._refused = float("-inf")  # when the server did not give one more

    def room(self, wanted: int) -> int:
        """In how many sessions, of so many `wanted`, a batch can be applied now. Where the server has no more to give,
        it is as many as there are."""
        wanted = min(wanted, self._most)
        self._used = time.monotonic() if wanted > 1 else self._used
        while len(self._sessions) < wanted and time.monotonic() - self._refused > AGAIN:
            try:
                conn = open_session(self._dsn, f"consume {self._plan.name}")
            except Unreachable as error:
                self._refused = time.monotonic()
                logger.warning("one session less applies the backlog: %s", error, extra={"plan": self._plan.name})
            else:
                self._sessions.append(_Session(conn, self._plan, self._worker))
        return min(wanted, len(self._sessions))

    def apply(self, move: Move, batches: Sequence[Batch]) -> list[Applied]:
        """Apply batches of different partitions at the same time, no more than there is `room` for. Waits for all of
        them, so that nothing is under way when it returns."""
        if len(batches) > 1 and self._threads is None:
            self._threads = ThreadPoolExecutor(self._most, thread_name_prefix="apply")
        others: list[Future[Applied]] = []
        if self._threads is not None:
            for session, batch in zip(self._sessions[1:], batches[1:], strict=False):
                others.append(self._threads.submit(session.apply, move, batch))
        first = self._sessions[0].apply(move, batches[0])
        return [first, *(each.result() for each in others)]

    def rest(self) -> None:
        """Close the sessions beside the first that have had no work for a while."""
        if len(self._sessions) > 1 and time.monotonic() - self._used > KEPT:
            self._close()

    def close(self) -> None:
        """End the threads, once what they apply is done, and the sessions beside the first."""
        if self._threads is not None:
            self._threads.shutdown()
        self._close()

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
