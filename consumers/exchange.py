"""Exchange: unique values that keys take from one another.

A key that is to have a value which another row has not given up yet fails. Where a batch fails on that, its rows first
give up what they are to lose. Keys that failed alone, because the other one is in another batch or in another worker's
partition, are tried once more together, under the positions of all their partitions: still one writer for each key.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

import psycopg

from consumers import dead_letters, positions
from consumers.dead_letters import Key
from sql import render
from sql.connection import Connection, transient
from sql.counted import counted
from sql.files import load
from sql.model import Move

logger = logging.getLogger("cutover.consume")

TAKEN: Final = ("23505", "23P01")  # unique_violation, exclusion_violation
MOST: Final = 1_000  # letters that are tried together
LONGEST = 1.0  # seconds for it
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds between attempts: they grow while none helps
_REST = 10  # times as long as an attempt took, likewise


class Exchange:
    """One move's, in the session that converges it. `converge`: of all columns; returns the keys it could not tell."""

    def __init__(
        self, conn: Connection, move: Move, digest: str | None, converge: Callable[[Sequence[Key]], set[Key]]
    ) -> None:
        self._conn, self._move, self._digest, self._converge = conn, move, digest, converge
        self._free: str | None = None
        self._pause, self._ended, self._took = FIRST_PAUSE, -LONGEST_PAUSE, 0.0

    def free(self, keys: Sequence[Key]) -> tuple[int, int]:
        """Let the rows of these keys give up what they are to lose, within the caller's transaction, which converges
        them next. Returns the rows that are right already, and those deleted. Does nothing where the target does not
        let it (a CHECK); where a unique column may not be NULL, the row keeps it."""
        if self._free is None:
            rows = self._conn.execute(load("consume/unique_columns"), {"table": self._move.target_oid}).fetchall()
            names = {name for (name,) in rows}
            self._free = render.free(self._move, [each for each in self._move.written if each.name in names])
        try:
            with self._conn.transaction():
                parameters = render.key_parameters(keys, len(self._move.key))
                row = self._conn.execute(self._free.encode(), parameters, prepare=True).fetchone()
        except psycopg.Error as error:
            if not dead_letters.of_the_data(error):
                raise
            return 0, 0
        assert row is not None
        return int(row[0]), int(row[1])

    def again(self, *, fresh: bool) -> set[Key]:
        """Try all keys once more that failed because another row had their value, in a transaction of its own, unless
        that was done a moment ago. `fresh`: there are new ones. Returns those that are applied; their letters are
        resolved. Keys that the application keeps locked wait for another time."""
        if fresh:
            self._pause = FIRST_PAUSE
        began = time.monotonic()
        if began < self._ended + max(self._pause, _REST * self._took):
            return set()
        where = (self._move.plan, self._move.name, list(TAKEN), len(self._move.key), MOST)
        letters = self._conn.execute(load("consume/taken_letters"), where, prepare=True).fetchall()
        healed = (
            self._try({tuple(key): (number, partition) for number, key, partition in letters}) if letters else set()
        )
        self._ended = time.monotonic()
        self._took = self._ended - began
        self._pause = FIRST_PAUSE if healed else min(LONGEST_PAUSE, 2 * self._pause)
        if healed:
            text = "%s: %s applied that other rows' unique values were in the way of"
            logger.info(text, self._move.name, counted(len(healed), "key"), extra={"move": self._move.name})
        return healed

    def _try(self, letters: dict[Key, tuple[int, int]]) -> set[Key]:
        partitions = {partition for _, partition in letters.values()}
        try:
            positions.lock(self._conn, self._move, dict.fromkeys(partitions), self._digest)
            healed = self._together(list(letters))
            dead_letters.resolve(self._conn, [letters[key][0] for key in healed])
            positions.saw_clock(self._conn, self._move, partitions)
            self._conn.execute("COMMIT", prepare=False)
        except BaseException as error:
            if not self._conn.closed and not self._conn.broken:
                self._conn.execute("ROLLBACK", prepare=False)
            if isinstance(error, psycopg.Error) and not self._conn.closed and transient(error):
                return set()
            raise
        return set(healed)

    def _together(self, keys: Sequence[Key]) -> Sequence[Key]:
        """Those of the keys that can all be applied together, by trial: what cannot is left out, which may be in the
        way of others, so that these come again."""
        until = time.monotonic() + LONGEST
        while keys and time.monotonic() < until:
            failed: set[Key] = set()
            with self._conn.transaction():
                self.free(keys)
                self._part(keys, failed)
                if failed:
                    raise psycopg.Rollback
            if not failed:
                return keys
            keys = [key for key in keys if key not in failed]
        return ()

    def _part(self, keys: Sequence[Key], failed: set[Key]) -> None:
        """Converge; where that fails, in halves, the last one first: the stream has tried them from the first on."""
        try:
            with self._conn.transaction():
                self._conn.execute("SET CONSTRAINTS ALL DEFERRED", prepare=False)
                failed |= self._converge(keys)
                self._conn.execute("SET CONSTRAINTS ALL IMMEDIATE", prepare=False)
        except psycopg.Error as error:
            if not dead_letters.of_the_data(error):
                raise
            if len(keys) == 1:
                failed.update(keys)
                return
            middle = len(keys) // 2
            for half in (keys[middle:], keys[:middle]):
                self._part(half, failed)
