"""Capture: WAL to log. Reads the replication stream, routes each change to its partition, appends frames."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from cdc import backlog, beginning
from cdc.backlog import Backlog, NoRoom
from cdc.confirming import Confirming, Reading
from cdc.control import Control
from cdc.gap import Chapter
from cdc.log import Log
from cdc.outbox import FLUSH_BUSY, WATERMARK_BUSY, Outbox, Totals
from cdc.pace import LONGEST
from cdc.replication import ReplicationStream, lsn_text
from cdc.router import Router
from cdc.sorter import Sorter
from cdc.tail import Tail
from cdc.turn import consumed
from sql.errors import Busy, Gap, PlanChanged, Unreachable
from sql.model import Plan
from sql.retry import until_stopped

logger = logging.getLogger("cutover.capture")

READ_SHARE: Final = 1 / 25  # of the pace's pause: how long a flood may gather in the socket before it is read
WATCH: Final = 2.0  # seconds between looks at the control schema and the sources' names
HOUSEKEEPING: Final = 2048  # messages between looks at the clock while behind
NEVER: Final = 1 << 64  # an LSN that no commit has


class Capture:
    """One plan's capture. `run` goes on through lost connections until stopped.

    Guarantee: at least once. The slot is confirmed only up to a commit whose frames the log has acknowledged.
    """

    def __init__(self, dsn: str, plan: Plan, log: Log, reload: Callable[[], Plan] | None = None) -> None:
        self.dsn, self.plan, self.log, self.reload = dsn, plan, log, reload
        self.totals = Totals()
        self.acknowledged = 0  # LSN: every commit before it is safe in the log
        self.by_portions = True  # a backlog is read so, but in the session after one for which there was no room
        self.beat = time.monotonic()  # when the loop turned last
        self.chapter = Chapter()
        self.watched: tuple[object, ...] | None = None  # of the plan in the control schema, when a session began
        self.outdated = False  # the plan was prepared anew, and not read since

    def run(self, stop: threading.Event) -> None:
        """Capture until stopped. Raises Gap, Refused or Halted when going on would lose changes."""
        until_stopped(lambda: self._session(stop), stop, logger)

    def _session(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.beat = time.monotonic()
            if self.outdated:
                if self.reload is not None:
                    self.plan = self.reload()
                self.outdated = False
                stop.wait(0.1)  # where nothing can be reloaded, this must not spin
                logger.info("the plan was prepared anew or a move was healed; the stream starts again")
                continue
            try:
                Session(self).run(stop)
            except PlanChanged:
                self.chapter.turned()
                self.outdated = True
            except Gap as gap:
                self.chapter.tell(self.dsn, self.plan, gap)
                raise


class Session:
    """One connection's worth of capture; ends with an error or when stopped."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.plan, self.log = capture.plan, capture.log
        self.router = Router(self.plan)
        self.tail = Tail()  # what the log has beyond the slot: its newest commit must come again (C3)
        self.last_watch = 0.0

    def run(self, stop: threading.Event) -> None:
        self.control = Control(self.capture.dsn, self.plan, self.log)
        try:
            known, self.capture.watched = self.capture.watched, self.control.watched_row()
            # Not what the plan was compiled under, whichever session saw it last: what was broken may be whole again.
            if self.capture.watched != known and (known is not None or self.plan.broken):
                raise PlanChanged
            self.capture.chapter.begin(self.capture.watched[-1], self.log)
            waiting = self.control.check()
            writer = self.log.writer()
            try:
                self.outbox = Outbox(self.router.all, self.control, writer, self.capture.totals, time.monotonic())
                self.slot = Confirming(self.capture.dsn, self.plan.slot, self.control, self.outbox)
                behind = waiting > backlog.WORTHWHILE and self.capture.by_portions
                if behind:
                    self._catch_up(stop)
                if not stop.is_set():
                    self._follow(stop, behind)
            except NoRoom as shortage:
                self.capture.by_portions = False
                why = str(shortage).splitlines()[0]
                raise Unreachable(f"{why}; it is streamed instead") from shortage
            finally:
                writer.close()
        finally:
            self.control.close()

    def _catch_up(self, stop: threading.Event) -> None:
        """Read what waits in the slot now by SQL, and move the slot over it."""
        self.control.alone()
        logger.info("%s has a backlog, which is read first", self.plan.name, extra={"plan": self.plan.name})
        waiting = Backlog(self.capture.dsn, self.plan.slot, self.plan.publication, self.control.end())
        begun = time.monotonic()
        try:
            self._begin()  # the server decodes meanwhile
            self.control.expire()
            self._loop(waiting, stop)
            self._settle(waiting, stop)
            self.slot.move_whole(stop, self._turn)
        finally:
            waiting.close()
            self.slot.close()
        consumed(
            self.control.conn,
            self.plan,
            self.outbox.marked,
            time.monotonic() - begun,
            lambda pause: self._rest(pause, stop),
        )

    def _rest(self, pause: float, stop: threading.Event) -> bool:
        """Nothing is in hand, nothing is read; False once stopped."""
        self._turn()
        return not stop.wait(pause)

    def _follow(self, stop: threading.Event, behind: bool) -> None:
        """Read the stream until stopped; `behind`: after a backlog."""
        stream = ReplicationStream(self.capture.dsn, self.plan.slot, self.plan.publication)
        self.capture.by_portions = True
        try:
            if behind:
                self.control.caught_up()
            self._begin()
            self._loop(stream, stop)
            self._settle(stream, stop)
            stream.end()
        finally:
            stream.close()

    def _begin(self) -> None:
        """Look where slot and log stand, and mark it in the log. A slot that is ours nobody else moves now."""
        confirmed = self.slot.begin()
        self.tail = self.control.claims(confirmed)
        self.outbox.marked, self.outbox.processed, self.outbox.sure = 0, confirmed, self.tail.newest is None
        since = lsn_text(confirmed)
        logger.info("capturing %s from %s", self.plan.name, since, extra={"plan": self.plan.name, "lsn": since})
        beginning.mark(self.control.conn, self.plan, self.outbox.writer, self.control.silent)

    def _recognise(self, lsn: int, xid: int, commit_time: int) -> int:
        """The log's newest commit comes again, the same, or this is another history of the database (C3)."""
        expected = self.tail.newest
        if expected is not None and (xid, lsn, commit_time) != expected[:3]:
            if self.control.slot().confirmed_lsn != self.slot.slot_at:
                raise Busy(f"another capture has moved the slot {self.plan.slot}")
            raise Gap(
                f"the database was set back: the log has transaction {expected.xid}, committed at"
                f" {lsn_text(expected.commit_lsn)}, and this server does not",
                cure="cutover heal",
            )
        self.tail.newest, self.outbox.sure = None, True
        return NEVER

    def _loop(self, reading: Reading, stop: threading.Event) -> None:
        """Sort what comes, and append and confirm in between, until stopped or, of a backlog, all is read."""
        outbox, totals = self.outbox, self.capture.totals
        expected = self.tail.newest.commit_lsn if self.tail.newest else NEVER
        sorter = Sorter(self.router, self.control, outbox, expected, self._recognise)
        while not stop.is_set():
            totals.changes += sorter.take(reading.read(HOUSEKEEPING))
            if sorter.inside and reading.whole:
                sorter.end()
            if reading.passed and not sorter.inside:
                outbox.processed = max(outbox.processed, reading.passed)
            if reading.asked:
                reading.feedback(self.slot.told, outbox.processed)
            if reading.over:
                return
            if reading.idle:
                self._caught_up(reading, sorter.inside)
            else:
                self._behind(reading, stop)

    def _behind(self, reading: Reading, stop: threading.Event) -> None:
        """There is more to read: append at times, and no faster than the log takes it."""
        now = time.monotonic()
        if now - self.outbox.last_flush > LONGEST:
            self.outbox.flush_all(now)
        self._watch_at_times(now)
        self._acknowledge(now, reading)
        while self.outbox.full and not stop.is_set():
            self._turn()
            self.outbox.wait(0.2)
            self._acknowledge(time.monotonic(), reading)

    def _caught_up(self, reading: Reading, inside: bool) -> None:
        """There is nothing to read now: append what is due, then wait for more."""
        now, outbox = time.monotonic(), self.outbox
        if self.tail.newest and not inside and outbox.processed > self.tail.newest.commit_lsn:
            self._recognise(outbox.processed, 0, 0)  # passed, and it has not come
        idle, pending = outbox.idle, outbox.pending
        if outbox.due(now, idle=idle):
            outbox.flush_all(now)
        if not inside and not pending and idle and not outbox.in_flight:
            self.slot.passed()
        self._acknowledge(now, reading)
        self._watch_at_times(now)
        if outbox.pace.pause > FLUSH_BUSY:
            time.sleep(outbox.pace.pause * READ_SHARE)  # a wake-up for every few messages would cost more than they do
        reading.wait(FLUSH_BUSY if (pending or outbox.in_flight) else WATERMARK_BUSY if outbox.foreign else 0.25)

    def _acknowledge(self, now: float, reading: Reading) -> None:
        self._beat()
        self.slot.acknowledge(now, reading)
        self.capture.acknowledged = self.slot.confirmed

    def _beat(self) -> None:
        self.capture.beat = time.monotonic()

    def _turn(self) -> None:
        """While nothing else is done: the process lives, and the plan is looked at as ever."""
        self._beat()
        self._watch_at_times(self.capture.beat)

    def _watch_at_times(self, now: float) -> None:
        if now - self.last_watch > WATCH:
            self.last_watch = now
            self.control.watch()

    def _settle(self, reading: Reading, stop: threading.Event) -> None:
        """Read to its end, or stopped: wait until the log has what is in hand, ten seconds at most once it is stopped,
        and say so."""
        outbox = self.outbox
        outbox.flush_all(time.monotonic())
        outbox.demanded = True  # a last watermark: what it reaches can be confirmed, and no consumer waits for more
        outbox.flush_all(time.monotonic(), last=True)
        deadline = float("inf")
        while not outbox.writer.wait(outbox.writer.queued(), 0.2):
            self._turn()
            if stop.is_set():
                deadline = min(deadline, self.capture.beat + 10)
            if self.capture.beat > deadline:
                return
        self._acknowledge(time.monotonic(), reading)
        if self.slot.confirmed > self.slot.told:
            self.slot.confirm(reading)
