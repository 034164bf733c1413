"""Capture: WAL to log. Reads the replication stream, routes each change to its partition, appends frames."""

from __future__ import annotations

import logging
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from zlib import crc32

from cdc import backlog, beginning, frame, pgoutput
from cdc.advance import Advance
from cdc.backlog import Backlog, NoRoom
from cdc.control import Control
from cdc.frame import CHANGES, WATERMARK
from cdc.gap import Chapter
from cdc.log import Log, LogWriter
from cdc.pace import LONGEST, Pace
from cdc.replication import XLOG_HEADER, ReplicationStream, lsn_text
from cdc.router import Buffer, Route, Router, own_by
from cdc.tail import Tail
from cdc.turn import consumed
from sql import faultpoints
from sql.connection import OWN
from sql.errors import Busy, Gap, Halted, PlanChanged, Unreachable
from sql.model import Plan
from sql.retry import until_stopped

logger = logging.getLogger("cutover.capture")

FRAME_BYTES = 300_000  # a partition is flushed at this size; with keys and transactions below frame.MAX_FRAME
WIDE = 65_536  # bytes of a row that is looked at on its own
IN_FLIGHT_BYTES = 32 << 20  # appended and not acknowledged: capture stops reading beyond it (C9, C14)
FLUSH_BUSY = 0.004  # seconds to collect more changes while the last flush is still under way
READ_SHARE = 1 / 25  # of the pace's pause: how long a flood may gather in the socket before it is read
WATERMARK_BUSY = 0.025  # seconds between watermarks while the application commits
WATERMARK_IDLE = 1.0
CONFIRM_BUSY, CONFIRM_IDLE = 1.0, 10.0
ADVANCE = 10.0  # seconds between moves of the slot while a backlog is read: the server looks through WAL for each
WATCH = 2.0  # seconds between looks at the control schema and the sources' names
HOUSEKEEPING = 2048  # messages between looks at the clock while behind
NEVER = 1 << 64  # an LSN that no commit has
_BEGIN = struct.Struct("!QqI").unpack_from  # a Begin message from its second byte: final LSN, commit time, xid
_COMMIT = struct.Struct("!Q").unpack_from


class Capture:
    """One plan's capture. `run` goes on through lost connections until stopped.

    Guarantee: at least once. The slot is confirmed only up to a commit whose frames the log has acknowledged.
    """

    def __init__(self, dsn: str, plan: Plan, log: Log, reload: Callable[[], Plan] | None = None) -> None:
        self.dsn, self.plan, self.log, self.reload = dsn, plan, log, reload
        self.changes = 0  # captured since start
        self.frames = 0
        self.bytes = 0
        self.acknowledged = 0  # LSN: every commit before it is safe in the log
        self.by_portions = True  # a backlog is read so, but in the session after one for which there was no room
        self.beat = time.monotonic()  # when the loop turned last
        self.chapter = Chapter()
        self.watched: tuple[object, ...] | None = None  # of the plan in the control schema, when a session began

    def run(self, stop: threading.Event) -> None:
        """Capture until stopped. Raises Gap, Refused or Halted when going on would lose changes."""
        until_stopped(lambda: self._session(stop), stop, logger)

    def _session(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.beat = time.monotonic()
            try:
                Session(self).run(stop)
            except PlanChanged:
                self.chapter.turned()
                if self.reload is not None:
                    self.plan = self.reload()
                stop.wait(0.1)  # where nothing can be reloaded, this must not spin
                logger.info("the plan was prepared anew or a move was healed; the stream starts again")
            except Gap as gap:
                self.chapter.tell(self.dsn, self.plan, gap)
                raise


class Session:
    """One connection's worth of capture; ends with an error or when stopped."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.plan, self.log = capture.plan, capture.log
        self.router = Router(self.plan)
        self.routes: dict[bytes, Route | None] = {}
        self.flights: deque[tuple[int, int, int]] = deque()  # sequence, what may be confirmed with it, bytes
        self.in_flight = 0  # bytes appended and not acknowledged …
        self.appended = 0  # … and since the last flush of all partitions
        self.marked = 0  # every partition's newest frame or watermark reaches it: no slot is told more (L2)
        self.processed = 0  # nothing before it is still to come
        self.confirmed = 0
        self.told = 0
        self.slot_at = 0  # where the slot stood when this session began to read it
        self.foreign = False  # the application committed something since the last watermark
        self.demanded = False  # somebody asked for a watermark
        self.tail = Tail()  # what the log has beyond the slot: its newest commit must come again (C3)
        self.pace = Pace(time.monotonic())
        self.flushed = 0  # changes captured up to the last flush of all partitions
        self.last_flush = self.last_watermark = self.last_feedback = self.last_confirm = self.last_watch = 0.0
        self.advance = Advance(capture.dsn, capture.plan.slot)
        self.last_advance, self.advance_pause = time.monotonic(), ADVANCE

    def run(self, stop: threading.Event) -> None:
        self.control = Control(self.capture.dsn, self.plan, self.log)
        try:
            known, self.capture.watched = self.capture.watched, self.control.watched_row()
            # Not what the plan was compiled under, whichever session saw it last: what was broken may be whole again.
            if self.capture.watched != known and (known is not None or self.plan.broken):
                raise PlanChanged
            self.capture.chapter.begin(self.capture.watched[-1], self.log)
            waiting = self.control.check()
            self.writer: LogWriter = self.log.writer()
            try:
                if waiting > backlog.WORTHWHILE and self.capture.by_portions:
                    self._catch_up(stop)
                if not stop.is_set():
                    self._follow(stop)
            except NoRoom as shortage:
                self.capture.by_portions = False
                why = str(shortage).splitlines()[0]
                raise Unreachable(f"{why}; it is streamed instead") from shortage
            finally:
                self.writer.close()
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
            self._loop(waiting, stop)
            self._settle(stop)
            self._advance_whole(stop)
        finally:
            waiting.close()
            self.advance.close()
        consumed(
            self.control.conn,
            self.plan,
            self.marked,
            time.monotonic() - begun,
            lambda pause: self._rest(pause, stop),
        )

    def _rest(self, pause: float, stop: threading.Event) -> bool:
        """Nothing is in hand, nothing is read; False once stopped."""
        now = self.capture.beat = time.monotonic()
        self._watch_at_times(now)
        return not stop.wait(pause)

    def _follow(self, stop: threading.Event) -> None:
        """Read the stream until stopped."""
        stream = ReplicationStream(self.capture.dsn, self.plan.slot, self.plan.publication)
        self.capture.by_portions = True
        try:
            self._begin()
            self._loop(stream, stop)
            self._settle(stop)
            stream.end()
        finally:
            stream.close()

    def _begin(self) -> None:
        """Look where slot and log stand, and mark it in the log. A slot that is ours nobody else moves now."""
        self.confirmed = self.told = self.slot_at = self.control.slot().confirmed_lsn or 0
        self.marked = 0
        self.tail = self.control.claims(self.confirmed)
        self.processed = self.confirmed
        since = lsn_text(self.confirmed)
        logger.info("capturing %s from %s", self.plan.name, since, extra={"plan": self.plan.name, "lsn": since})
        beginning.mark(self.control.conn, self.plan, self.writer, self.control.silent)

    def _recognise(self, lsn: int, xid: int, commit_time: int) -> int:
        """The log's newest commit comes again, the same, or this is another history of the database (C3)."""
        expected = self.tail.newest
        if expected is not None and (xid, lsn, commit_time) != expected[:3]:
            if self.control.slot().confirmed_lsn != self.slot_at:
                raise Busy(f"another capture has moved the slot {self.plan.slot}")
            raise Gap(
                f"the database was set back: the log has transaction {expected.xid}, committed at"
                f" {lsn_text(expected.commit_lsn)}, and this server does not",
                cure="cutover heal",
            )
        self.tail.newest = None
        return NEVER

    # The loop. Hot messages are read in place: a call or a copy per change would halve the rate.

    def _loop(self, reading: ReplicationStream | Backlog, stop: threading.Event) -> None:
        self.reading: ReplicationStream | Backlog = reading
        routes = self.routes
        xid = lsn = commit_time = 0
        inside = first = False
        own = b""  # whose transaction it is, where it is the service's own
        expected = self.tail.newest.commit_lsn if self.tail.newest else NEVER
        while not stop.is_set():
            count = 0
            for message in reading.read(HOUSEKEEPING):
                tag = message[25]
                if tag == 85 or tag == 73 or tag == 68:  # U, I, D
                    first = False
                    route = routes[message[26:30]]
                    if route is None or (own and own in route.ours):
                        continue
                    count += 1
                    size = len(message)
                    if route.simple and size < WIDE and (message[30] == 78 or tag == 68):  # N: no old key
                        at = 33
                        for _ in range(route.before):
                            at += 5 + int.from_bytes(message[at + 1 : at + 5]) if message[at] == 116 else 1
                        if message[at] == 116:
                            key = message[at + 5 : at + 5 + int.from_bytes(message[at + 1 : at + 5])]
                            buffers = route.buffers
                            buffer = buffers[crc32(key) % len(buffers)]
                            buffer.keys[key] = None
                            if buffer.xid != xid:
                                buffer.xid = xid
                                buffer.txns.append((xid, lsn, commit_time, len(buffer.changes)))
                            if route.source not in buffer.sources:
                                buffer.sources.add(route.source)
                                buffer.relations.add(route.description)
                            buffer.changes.append(message[25:])
                            buffer.size += size
                            if buffer.size > FRAME_BYTES:
                                self._flush(buffer)
                            continue
                    self._spread(route, message[XLOG_HEADER:], xid, lsn, commit_time)
                elif tag == 66:  # B
                    if inside:  # of a backlog, which has no Commit messages; a call for each is too much
                        self.processed = lsn + 1
                        self.foreign = self.foreign or not own
                        own = b""
                    lsn, commit_time, xid = _BEGIN(message, 26)
                    inside = first = True
                    if lsn >= expected:
                        expected = self._recognise(lsn, xid, commit_time)
                elif tag == 67:  # C
                    self._committed(_COMMIT(message, 35)[0], own)
                    inside, own = False, b""
                elif tag == 77:  # M
                    transactional, at, prefix, content = pgoutput.logical_message(message[XLOG_HEADER:])
                    if inside and not transactional:  # between transactions, and so behind a whole one
                        self._committed(lsn + 1, own)
                        inside, own = False, b""
                    if prefix == OWN:
                        if transactional and first and not own:
                            own = own_by(content)
                        if content == b"watermark" and not transactional:
                            self.demanded = True
                            self.processed = max(self.processed, at)
                    first = False
                elif tag == 82:  # R
                    self._relation(message[XLOG_HEADER:], lsn)
                elif tag == 84 and not own:  # T
                    self._truncate(message[XLOG_HEADER:], xid, lsn, commit_time)
            self.capture.changes += count
            if inside and reading.whole:
                self._committed(lsn + 1, own)
                inside, own = False, b""
            if reading.passed and not inside:
                self.processed = max(self.processed, reading.passed)
            if reading.asked:
                self.reading.feedback(self.told, self.processed)
            if reading.over:
                return
            if reading.idle:
                self._caught_up(inside)
            else:
                self._behind(stop)

    def _committed(self, lsn: int, own: bytes) -> None:
        """A transaction is read whole, and nothing that commits before the LSN is still to come."""
        self.processed = lsn
        if not own:
            self.foreign = True

    def _spread(self, route: Route, message: bytes, xid: int, lsn: int, commit_time: int) -> None:
        """The general way of a change: composite keys, several moves, moved keys, columns to strip."""
        message, places = route.spread(message)
        touched: dict[int, tuple[Buffer, list[bytes]]] = {}
        for buffer, key in places:
            touched.setdefault(id(buffer), (buffer, []))[1].append(key)
        if len(message) + sum(len(key) for _, key in places) + len(route.description) + 4096 > frame.MAX_FRAME:
            logger.warning("a row of %s of %d bytes enters the log as a touch", route.source, len(message))
            message = b""  # its key is all that converge needs (L4)
        for buffer, keys in touched.values():
            if buffer.size and buffer.size + len(message) > FRAME_BYTES:
                self._flush(buffer)
            buffer.keys.update(dict.fromkeys(keys))
            if buffer.xid != xid:
                buffer.xid = xid
                buffer.txns.append((xid, lsn, commit_time, len(buffer.changes)))
            buffer.sources.add(route.source)
            if message:
                buffer.relations.add(route.description)
                buffer.changes.append(message)
                buffer.size += len(message)
            if buffer.size > FRAME_BYTES:
                self._flush(buffer)

    def _relation(self, message: bytes, lsn: int) -> None:
        relation = pgoutput.relation(message)
        try:
            route = self.router.route(relation)
        except Halted as halted:
            self._halt(relation.oid, str(halted), lsn)
            self._lose(relation.oid, lsn)
            route = None
        self.routes[relation.oid.to_bytes(4, "big")] = route

    def _lose(self, oid: int, lsn: int) -> None:
        """Say in the log, behind what came of a table, that nothing more of it comes."""
        buffers = [buffer for move in self.router.moves_of(oid) for buffer in self.router.buffers[move.name]]
        for buffer in buffers:
            if buffer.keys or buffer.changes:
                self._flush(buffer)
        beginning.lose(self.writer, buffers, self.router.name_of(oid), lsn, self.control.clock.now_us())

    def _truncate(self, message: bytes, xid: int, lsn: int, commit_time: int) -> None:
        """A TRUNCATE is in every partition of the log, and halts the moves that read the table (C8)."""
        for oid in pgoutput.truncated(message):
            route = self.routes.get(oid.to_bytes(4, "big"))
            for move in self.router.moves_of(oid):
                for buffer in self.router.buffers[move.name]:
                    if route is not None:
                        buffer.relations.add(route.description)
                    buffer.txns.append((xid, lsn, commit_time, len(buffer.changes)))
                    buffer.xid = xid
                    buffer.changes.append(message)
                    buffer.size += len(message)
            self._halt(oid, f"{self.router.name_of(oid)} was truncated at {lsn_text(lsn)}", lsn, whole=True)

    def _halt(self, oid: int, why: str, lsn: int = 0, *, whole: bool = False) -> None:
        for move in self.router.moves_of(oid):
            self.control.halt(move.name, why, lsn or self.processed, whole=whole)

    # What happens between messages.

    def _behind(self, stop: threading.Event) -> None:
        now = time.monotonic()
        if now - self.last_flush > LONGEST:
            self._flush_all(now)
        self._watch_at_times(now)
        self._acknowledge(now)
        while self.in_flight > IN_FLIGHT_BYTES and not stop.is_set():
            self.capture.beat = time.monotonic()
            self.writer.wait(self.flights[0][0] if self.flights else self.writer.queued(), 0.2)
            self._acknowledge(time.monotonic())

    def _caught_up(self, inside: bool) -> None:
        now = time.monotonic()
        if self.tail.newest and not inside and self.processed > self.tail.newest.commit_lsn:
            self._recognise(self.processed, 0, 0)  # passed, and it has not come
        idle = self.writer.acknowledged() >= self.writer.queued()
        pending = self.demanded or any(buffer.changes or buffer.keys for buffer in self.router.all)
        due = self.pace.due(now) if idle else now - self.last_flush > max(FLUSH_BUSY, self.pace.pause)
        ready = due or (idle and self.demanded)
        if ready if pending else self._watermark_due(now):
            self._flush_all(now)
        if not inside and not pending and idle and not self.flights:
            self.confirmed = max(self.confirmed, self.marked)  # nothing in flight: a keepalive may be confirmed (C1)
        self._acknowledge(now)
        self._watch_at_times(now)
        if self.pace.pause > FLUSH_BUSY:
            time.sleep(self.pace.pause * READ_SHARE)  # a wake-up for every few messages would cost more than they do
        self.reading.wait(FLUSH_BUSY if (pending or self.flights) else WATERMARK_BUSY if self.foreign else 0.25)

    def _watermark_due(self, now: float) -> bool:
        since = now - self.last_watermark
        return (self.foreign and since >= WATERMARK_BUSY) or since >= WATERMARK_IDLE

    def _flush_all(self, now: float, *, last: bool = False) -> None:
        """Append what every partition has; those with nothing get a watermark when one is due, or it is the `last`."""
        sure = self.tail.newest is None  # a watermark of another history would hide what stands before it
        watermark = sure and (self.demanded or self._watermark_due(now))
        for buffer in self.router.all:
            changed = bool(buffer.changes or buffer.keys)
            if changed:
                self._flush(buffer)
            if watermark and (buffer.lsn < self.processed or (last and not changed)):
                self._append(buffer, self._watermark(buffer.move.name))
                buffer.lsn = self.processed
        if watermark:
            for topic, partition in self.control.silent:
                self.writer.append(topic, partition, beginning.passing(self.processed, self.control.clock.now_us()))
            self.demanded = self.foreign = False
            self.last_watermark = now
            self.marked = min(buffer.lsn for buffer in self.router.all) if self.router.all else self.processed
        self.writer.commit()
        self.flights.append((self.writer.queued(), self.marked, self.appended))
        self.in_flight += self.appended
        self.appended = 0
        self.last_flush = now
        self.pace.passed(self.capture.changes - self.flushed, now)
        self.flushed = self.capture.changes
        faultpoints.reached("capture.after-append")

    def _watermark(self, move: str) -> bytes:
        """Where something of a move is left out, it says how far capture has read, and not that all of it is there."""
        now = self.control.clock.now_us()
        if move in self.control.lacking:
            return beginning.passing(self.processed, now)
        return frame.encode(WATERMARK, lsn=self.processed, time=now)

    def _flush(self, buffer: Buffer) -> None:
        whole = buffer.move.name not in self.control.lacking
        value = frame.encode(
            CHANGES,
            lsn=self.processed if whole else 0,  # of a transaction that is not read whole: what was before it
            time=buffer.txns[-1][2] if buffer.txns else self.control.clock.now_us(),
            keys=buffer.keys,
            sources=buffer.sources,
            relations=buffer.relations,
            transactions=buffer.txns,
            changes=buffer.changes,
        )
        faultpoints.reached("capture.before-append")
        self._append(buffer, value)
        if whole:  # else a watermark tells, or the end of the log would seem to be lost
            buffer.lsn = self.processed
        buffer.clear()

    def _append(self, buffer: Buffer, value: bytes) -> None:
        self.writer.append(buffer.move.topic, buffer.partition, value)
        self.appended += len(value)
        self.capture.frames += 1
        self.capture.bytes += len(value)

    def _acknowledge(self, now: float) -> None:
        """Move the confirmed LSN over what the log has acknowledged, and tell the server from time to time."""
        self.capture.beat = now
        done = self.writer.acknowledged()
        while self.flights and self.flights[0][0] <= done:
            _, committed, size = self.flights.popleft()
            self.in_flight -= size
            self.confirmed = max(self.confirmed, committed)
        self.capture.acknowledged = self.confirmed
        if self.confirmed > self.told and now - self.last_confirm >= self._confirm_interval():
            self._confirm()
            self.last_confirm = self.last_feedback = now
        elif now - self.last_feedback >= CONFIRM_BUSY:
            self.reading.feedback(self.told, self.processed)  # keeps wal_sender_timeout away (C14)
            self.last_feedback = now

    def _confirm_interval(self) -> float:
        return CONFIRM_BUSY if self.confirmed - self.told > 1 << 20 else CONFIRM_IDLE

    def _confirm(self) -> None:
        """First our own record, then the slot: the slot is never ahead of what we know that we told it (C2)."""
        faultpoints.reached("capture.before-confirm")
        self.control.confirm(self.confirmed)
        self.told = self.confirmed
        self.reading.feedback(self.told, self.processed)
        faultpoints.reached("capture.after-confirm")
        if isinstance(self.reading, Backlog) and time.monotonic() - self.last_advance > self.advance_pause:
            self._advance()

    def _advance(self) -> bool:
        """Move the slot itself, which a backlog's readers leave where it is, a step further; True once it is as far as
        the log. Nobody waits for the server, which may look through WAL for long."""
        if self.advance.busy:
            if not self.advance.done():
                return False
            self.slot_at = self.control.slot().confirmed_lsn or 0
            self.last_advance = time.monotonic()
            self.advance_pause = max(ADVANCE, 20 * self.advance.took)
        elif self.told > self.slot_at and self.tail.newest is None:  # until then the slot must stand where it stood
            self.advance.ask(self.told)
            return False
        return self.told <= self.slot_at or self.tail.newest is not None

    def _advance_whole(self, stop: threading.Event) -> None:
        """At the end of a backlog, before the stream can have the slot."""
        while not stop.is_set() and not self._advance():
            self.capture.beat = time.monotonic()
            stop.wait(0.02)

    def _watch_at_times(self, now: float) -> None:
        if now - self.last_watch > WATCH:
            self.last_watch = now
            self.control.watch()

    def _settle(self, stop: threading.Event) -> None:
        """Read to its end, or stopped: wait until the log has what is in hand, ten seconds at most once it is stopped,
        and say so."""
        self._flush_all(time.monotonic())
        self.demanded = True  # a last watermark: what it reaches can be confirmed, and no consumer waits for more
        self._flush_all(time.monotonic(), last=True)
        deadline = float("inf")
        while not self.writer.wait(self.writer.queued(), 0.2):
            self.capture.beat = now = time.monotonic()
            if stop.is_set():
                deadline = min(deadline, now + 10)
            if now > deadline:
                return
        self._acknowledge(time.monotonic())
        if self.confirmed > self.told:
            self._confirm()
