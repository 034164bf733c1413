"""The worker: reads its partitions of the log and converges the keys they name, until stopped."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import cast

import psycopg

from cdc.clock import Clock
from cdc.gap import Chapter
from cdc.log import Log
from cdc.replication import lsn_text
from consumers.appliers import Appliers, open_session
from consumers.batch_size import BatchSize
from consumers.converge import Batch, Result, TooManyLetters
from consumers.gather import Gathered, Partition, gather
from consumers.holding import Holding, Unreadable
from consumers.partitions import Partitions
from consumers.seen import REMEMBERED, Seen
from sql.connection import Connection, own
from sql.counted import counted
from sql.errors import Busy, Gap, Halted, PlanChanged, Refused
from sql.files import load
from sql.model import Move, Plan
from sql.retry import until_stopped

logger = logging.getLogger("cutover.consume")

WATCH = 2.0  # seconds between looks at the plan in the control schema
POLL_IDLE = 0.25  # seconds to wait for records when there is nothing to do

# What no repetition makes right: something that converge names is not there.
_MISSING = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction)


class Worker:
    """A process's share of a plan. Start as many as there are partitions; each finds its share. `sessions`: in how many
    it applies a backlog with which it is alone.

    Guarantee: a change is applied at least once and with the effect of once; see consumers.converge.
    """

    def __init__(
        self,
        dsn: str,
        plan: Plan,
        log: Log,
        reload: Callable[[], Plan] | None = None,
        on_batch: Callable[[Move, Result, float], None] | None = None,
        sessions: int = 1,
    ) -> None:
        self.sessions = sessions
        self.dsn, self.plan, self.log, self.reload, self.on_batch = dsn, plan, log, reload, on_batch
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.beat = time.monotonic()  # when the loop turned last
        self.chapter = Chapter()
        self.watched: tuple[object, ...] | None = None  # what a session has last seen of the plan in the control schema
        self.outdated = False  # the plan was prepared anew, and not read since
        self.keys = self.changed = self.letters = self.batches = 0  # since start

    def run(self, stop: threading.Event) -> None:
        """Consume until stopped; goes on through lost connections. Raises Gap, Refused."""
        until_stopped(lambda: self._session(stop), stop, logger)

    def _session(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.beat = time.monotonic()
            if self.outdated:
                if self.reload is not None:
                    self.plan = self.reload()
                self.outdated = False
                stop.wait(0.1)  # where nothing can be reloaded, this must not spin
                continue
            try:
                Session(self).run(stop)
            except PlanChanged:
                self.chapter.turned()
                self.outdated = True
            except Gap as gap:
                self.chapter.tell(self.dsn, self.plan, gap)
                raise
            except psycopg.errors.InsufficientPrivilege as error:
                raise Refused(str(error).strip(), cure="grant it to the consumer's role") from error

    def count(self, result: Result) -> None:
        """Enter a batch with keys that is applied."""
        self.batches += 1
        self.keys += result.keys
        self.changed += result.changed
        self.letters += len(result.letters)


class Session:
    """The consuming of one connection, which has the leases: when it ends, so does this."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.plan = worker, worker.plan
        self.sizes = {move.name: BatchSize() for move in self.plan.moves}
        self.last_watch = 0.0
        self.clock = Clock()

    def run(self, stop: threading.Event) -> None:
        with ExitStack() as ends:
            self.conn: Connection = open_session(self.worker.dsn, f"consume {self.plan.name}")
            ends.callback(self.conn.close)
            known, self.watched = self.worker.watched, self._watch_row()
            self.worker.watched = self.watched
            # Not what the plan was compiled under, whichever session saw it last: what was broken may be whole again.
            changed = self.watched != known and (known is not None or bool(self.plan.broken))
            if changed or self.watched[0] != self.plan.digest:
                raise PlanChanged
            self.worker.chapter.begin(self.watched[2], self.worker.log)
            self.clock.compare(self.conn)
            self.holding = Holding(self.conn, self.plan, self.worker.log, self.worker.name)
            ends.callback(self.holding.close)
            self.appliers = Appliers(self.worker.dsn, self.plan, self.worker.name, self.conn, self.worker.sessions)
            ends.callback(self.appliers.close)
            self.below = Partitions(self.worker.dsn, self.plan, self.worker.log)
            ends.callback(self.below.close)
            remembered = REMEMBERED // max(1, len(self.plan.moves))
            self.seen = {move.name: Seen(move, remembered) for move in self.plan.moves}
            self._loop(stop)

    def _loop(self, stop: threading.Event) -> None:
        while not stop.is_set():
            now = self.worker.beat = time.monotonic()
            self.holding.rebalance()
            if now - self.last_watch >= WATCH:
                self._watch()
                self.last_watch = now
            if not self.holding.full:
                self._take(now)
            for move in self.holding.moves:
                if not self._collecting(move):
                    self._apply(move)

    def _take(self, now: float) -> None:
        try:
            self.holding.take(self._patience(now))
        except Unreadable as found:
            self._halt(found.move, str(found), partition=found.partition, offset=found.offset)

    def _patience(self, now: float) -> float:
        """How long to wait for records: not at all where there are frames to apply."""
        waiting = [move for move in self.holding.moves if self.holding.waiting(move)]
        if not waiting:
            return min(POLL_IDLE, self.holding.pause)
        return min(
            max(0.0, self.sizes[move.name].collect_until - now) if self._collecting(move) else 0.0 for move in waiting
        )

    def _collecting(self, move: Move) -> bool:
        frames = self.holding.frames(move)
        if not frames or self.holding.full:
            return False
        return self.sizes[move.name].collecting(frames, self.clock.now_us())

    def _halt(self, move: Move, why: str, **where: object) -> None:
        """Written down, so that every worker stands still and the operator knows."""
        logger.error("%s halts: %s", move.name, why, extra={"move": move.name, **where})
        with own(self.conn):
            self.conn.execute(
                load("capture/halt"), {"why": why, "lsn": "0/0", "plan": self.plan.name, "move": move.name}
            )
        self.holding.give_back(move)

    # Applying

    def _apply(self, move: Move) -> None:
        active = self.holding.waiting(move)
        if not active:
            return
        size, now = self.sizes[move.name], self.clock.now_us()
        groups = self._groups(move, active, now)
        parts = [gather(move, each, size.limit // len(groups), self.seen[move.name], now) for each in groups]
        done = self.appliers.apply(move, [part.batch for part in parts])
        size.applied(
            [len(part.batch.keys) for part in parts],
            sum(part.named for part in parts),
            max(applied.seconds for applied in done),
        )
        failed: Exception | None = None
        for part, applied in zip(parts, done, strict=True):
            if isinstance(applied.result, Exception):
                failed = failed or applied.result
            else:
                self._applied(move, part, applied.result, applied.seconds)
        if failed is not None:
            self._failed(move, failed, sorted(each.lease.partition for each in active))

    def _groups(self, move: Move, active: list[Partition], now: int) -> list[list[Partition]]:
        """The partitions of which one transaction is made: all, or in a backlog so many parts as there are sessions.
        Where several workers share the partitions, their batches go side by side already."""
        shared = self.holding.alone and len(active) > 1
        if not (shared and self.sizes[move.name].many(self.holding.frames(move), now)):
            return [active]
        parts = self.appliers.room(len(active))
        active.sort(key=lambda each: sum(size for _, _, size in each.frames))
        return [active[at::parts] for at in range(parts)]

    def _applied(self, move: Move, part: Gathered, result: Result, seconds: float) -> None:
        self.holding.applied(part.done())
        if not part.batch.keys:
            return
        if result.locked is not None and not result.letters:
            self.seen[move.name].remember(part.keys, part.batch.sources, result.locked)
        self.worker.count(result)
        if result.letters:
            self._tell_letters(move, part.batch, result)
        if self.worker.on_batch is not None:
            self.worker.on_batch(move, result, seconds)

    def _failed(self, move: Move, error: Exception, partitions: list[int]) -> None:
        """Stand still where no repetition helps. Raises what another session may mend."""
        if isinstance(error, TooManyLetters):
            self._halt(move, str(error))
        elif isinstance(error, _MISSING):  # the mapping's view went with a dropped source, or the target itself is gone
            self._halt(move, f"{str(error).splitlines()[0]}: was a table dropped or renamed?")
        elif isinstance(error, Halted):
            logger.error("%s", error, extra={"move": move.name})
            self.holding.give_back(move)
        else:
            if isinstance(error, Busy):
                text = "%s: a partition was advanced by another worker; its lease is taken anew"
                logger.warning(text, move.name, extra={"move": move.name, "partitions": partitions})
            raise error

    def _tell_letters(self, move: Move, batch: Batch, result: Result) -> None:
        """One line, not one a key; what and why is in `cutover dead-letters list`."""
        where = {
            "move": move.name,
            "partitions": sorted({letter.partition for letter in result.letters}),
            "sqlstates": sorted({letter.sqlstate for letter in result.letters}),
            "lsn": lsn_text(max(step.lsn for step in batch.steps.values())),
        }
        logger.error("%s: dead letters for %s", move.name, counted(len(result.letters), "key"), extra=where)

    # Watching

    def _watch_row(self) -> tuple[object, ...]:
        row = self.conn.execute(load("capture/watch"), (self.plan.name,)).fetchone()
        if row is None:
            raise Refused(f"plan {self.plan.name} is not prepared", cure="cutover prepare")
        return (row[0], row[3], row[6])

    def _watch(self) -> None:
        self.clock.compare(self.conn)
        self.appliers.rest()
        row = self._watch_row()
        # A move that is broken in our plan and goes on: it was halted and healed between two looks.
        stands = [entry for entry in cast("list[str]", row[1] or []) if entry.split(":")[1] == "false"]
        whole = any(entry.startswith(f"{name}:") for name, _ in self.plan.broken for entry in stands)
        if row != self.watched or whole:
            self.worker.watched = row
            raise PlanChanged
        for move in self.plan.moves:
            why = self.below.look(self.conn, move)
            if why is not None:
                self._halt(move, why)
