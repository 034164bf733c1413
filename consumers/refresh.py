"""Refresh: touch the keys whose mapping changed because time went by (A10)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from cdc.log import Log
from cdc.touch import touch
from sql import faultpoints, render
from sql.connection import Connection, connect, own
from sql.errors import Unreachable
from sql.files import load
from sql.model import Move, Plan, Refresh
from sql.retry import until_stopped

logger = logging.getLogger("cutover.refresh")

_TURN = 5.0  # seconds between two turns of the loop at most, however rarely something is due
_ONE_AT_A_TIME = "SELECT pg_try_advisory_lock(hashtextextended('cutover.refresh.' || %s, 0))"


class Refresher:
    """Runs the declared refreshes of a plan. Of several, one works and the others stand by."""

    def __init__(self, dsn: str, plan: Plan, log: Log, reload: Callable[[], Plan] | None = None) -> None:
        self.dsn, self.plan, self.log, self.reload = dsn, plan, log, reload
        self.beat = time.monotonic()  # when the loop turned last

    def run(self, stop: threading.Event) -> None:
        """Refresh until stopped; returns at once where no mapping depends on the clock."""
        moves = [(move, move.refresh) for move in self.plan.moves if move.refresh is not None]
        if moves:
            until_stopped(lambda: self._session(moves, stop), stop, logger)

    def _session(self, moves: list[tuple[Move, Refresh]], stop: threading.Event) -> None:
        self.beat = time.monotonic()
        with connect(self.dsn, f"refresh {self.plan.name}") as conn:
            self._work(conn, moves, stop)

    def _work(self, conn: Connection, moves: list[tuple[Move, Refresh]], stop: threading.Event) -> None:
        due = {move.name: 0.0 for move, _ in moves}
        while not stop.is_set():
            self.beat = time.monotonic()
            row = conn.execute(_ONE_AT_A_TIME, (self.plan.name,)).fetchone()
            if not (row and row[0]):
                stop.wait(2.0)  # stand by
                continue
            while not stop.is_set():
                self.beat = time.monotonic()
                for move, refresh in moves:
                    if time.monotonic() >= due[move.name]:
                        refresh_once(conn, move, refresh, self.log)
                        due[move.name] = time.monotonic() + refresh.every
                stop.wait(max(0.01, min(min(due.values()) - time.monotonic(), _TURN)))


def refresh_once(conn: Connection, move: Move, refresh: Refresh, log: Log) -> int:
    """Touch what became due since the last time; returns how many keys.

    `refreshed_until` moves only after the log has acknowledged the touches, with the offsets they end at, so that
    reconciliation can tell what is still pending. The first time looks back one day. The server's clock alone counts;
    where it was set back or forth, what it made due in between is touched again.
    """
    with own(conn):
        row = conn.execute(load("consume/refresh_window"), {"plan": move.plan, "move": move.name}).fetchone()
    if row is None:
        return 0
    since, until, now = row
    window = {"since": since, "until": until}
    query = render.due_keys(refresh.keys_sql, move)
    keys = [tuple(key) for key in conn.execute(query.encode(), window).fetchall()]
    if keys:
        writer = log.writer()
        try:
            touch(writer, move, keys)
            if not writer.wait(writer.queued(), 60):
                raise Unreachable("the log does not acknowledge touches")
        finally:
            writer.close()
    faultpoints.reached("refresh.after-append")
    with own(conn):
        conn.execute(load("consume/refresh_step"), (now, log.end_offsets(move.topic), move.plan, move.name))
    faultpoints.reached("refresh.after-commit")
    return len(keys)
