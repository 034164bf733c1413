"""What a worker does when partitions of a source came, went or were emptied: every key is touched again.

Where the stream cannot have what hangs there now, the move halts. One worker is enough: a mark is moved once, and
backfills of a move exclude each other.
"""

from __future__ import annotations

import logging
import threading
from functools import partial

from cdc import partitions
from cdc.log import Log
from consumers.backfill import backfill
from sql.connection import Connection
from sql.cures import told
from sql.errors import CutoverError
from sql.model import Move, Plan

logger = logging.getLogger("cutover.consume")


class Partitions:
    """Looks for one session of a worker, and touches in a thread of its own, so that the worker applies meanwhile."""

    def __init__(self, dsn: str, plan: Plan, log: Log) -> None:
        self._dsn, self._plan, self._log = dsn, plan, log
        self._stop = threading.Event()
        self._threads: dict[str, threading.Thread] = {}

    def look(self, conn: Connection, move: Move) -> str | None:
        """See to it that the keys of what changed are touched; why the move must halt, or None."""
        found = partitions.changed(conn, move)
        if found is not None:
            trouble = partitions.unstreamed(conn, move)
            if trouble is not None:
                return f"{trouble[0]}{told(trouble[1], None)}"
            partitions.touch_again(conn, move, found)
            logger.warning("the partitions of a source changed: %s", found.detail(), extra={"move": move.name})
        running = self._threads.get(move.name)
        if (running is None or not running.is_alive()) and partitions.due(conn, move):
            thread = threading.Thread(target=self._touch, args=(move,), name="partitions", daemon=True)
            self._threads[move.name] = thread
            thread.start()
        return None

    def close(self) -> None:
        """Stop touching; whoever looks next goes on."""
        self._stop.set()
        for thread in self._threads.values():
            thread.join()

    def _touch(self, move: Move) -> None:
        try:
            wanted = partial(partitions.due, move=move)  # another worker may have done it just now
            backfill(self._dsn, self._plan, move, self._log, self._stop, wanted=wanted)
        except CutoverError as error:  # another worker does it, or the log is away: the next look tries again
            logger.info("%s", error, extra={"move": move.name})
