"""Sorting: each message of the replication stream into the buffers of the partitions that it belongs to."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterable
from typing import Final
from zlib import crc32

from cdc import beginning, frame, pgoutput
from cdc.control import Control
from cdc.outbox import Outbox
from cdc.replication import XLOG_HEADER, lsn_text
from cdc.router import Buffer, Route, Router, own_by
from sql.connection import OWN
from sql.errors import Halted

logger = logging.getLogger("cutover.capture")

FRAME_BYTES: Final = 300_000  # a partition is flushed at this size; with keys and transactions below frame.MAX_FRAME
WIDE: Final = 65_536  # bytes of a row that is looked at on its own
_BEGIN: Final = struct.Struct("!QqI").unpack_from  # a Begin message from its second byte: final LSN, commit time, xid
_COMMIT: Final = struct.Struct("!Q").unpack_from


class Sorter:
    """Where one reading of the stream stands.

    `inside`: a transaction was begun and not ended.
    `expected`: the commit LSN at which `recognise` is asked, which answers with the next such LSN (C3).
    """

    def __init__(
        self, router: Router, control: Control, outbox: Outbox, expected: int, recognise: Callable[[int, int, int], int]
    ) -> None:
        self._router, self._control, self._outbox = router, control, outbox
        self._expected, self._recognise = expected, recognise
        self._routes: dict[bytes, Route | None] = {}
        self._xid = self._lsn = self._time = 0  # of the transaction
        self.inside = self._first = False
        self._own = b""  # whose transaction it is, where it is the service's own

    # Hot messages are read in place: a call or a copy per change would halve the rate.

    def take(self, messages: Iterable[bytes]) -> int:
        """Sort these, each with its XLogData header; returns how many changes they held."""
        outbox, routes = self._outbox, self._routes
        xid, lsn, commit_time = self._xid, self._lsn, self._time
        inside, first, own = self.inside, self._first, self._own
        expected = self._expected
        count = 0
        for message in messages:
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
                            outbox.flush(buffer)
                        continue
                self._spread(route, message[XLOG_HEADER:], xid, lsn, commit_time)
            elif tag == 66:  # B
                if inside:  # of a backlog, which has no Commit messages; a call for each is too much
                    outbox.processed = lsn + 1
                    outbox.foreign = outbox.foreign or not own
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
                        outbox.demanded = True
                        outbox.processed = max(outbox.processed, at)
                first = False
            elif tag == 82:  # R
                self._relation(message[XLOG_HEADER:], lsn)
            elif tag == 84 and not own:  # T
                self._truncate(message[XLOG_HEADER:], xid, lsn, commit_time)
        self._xid, self._lsn, self._time = xid, lsn, commit_time
        self.inside, self._first, self._own = inside, first, own
        self._expected = expected
        return count

    def end(self) -> None:
        """The transaction that was begun is whole, though no Commit message says so (a backlog has none)."""
        self._committed(self._lsn + 1, self._own)
        self.inside, self._own = False, b""

    def _committed(self, lsn: int, own: bytes) -> None:
        """A transaction is read whole, and nothing that commits before the LSN is still to come."""
        self._outbox.processed = lsn
        if not own:
            self._outbox.foreign = True

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
                self._outbox.flush(buffer)
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
                self._outbox.flush(buffer)

    def _relation(self, message: bytes, lsn: int) -> None:
        relation = pgoutput.relation(message)
        try:
            route = self._router.route(relation)
        except Halted as halted:
            self._halt(relation.oid, str(halted), lsn)
            self._lose(relation.oid, lsn)
            route = None
        self._routes[relation.oid.to_bytes(4, "big")] = route

    def _lose(self, oid: int, lsn: int) -> None:
        """Say in the log, behind what came of a table, that nothing more of it comes."""
        buffers = [buffer for move in self._router.moves_of(oid) for buffer in self._router.buffers[move.name]]
        for buffer in buffers:
            if buffer.keys or buffer.changes:
                self._outbox.flush(buffer)
        beginning.lose(self._outbox.writer, buffers, self._router.name_of(oid), lsn, self._control.clock.now_us())

    def _truncate(self, message: bytes, xid: int, lsn: int, commit_time: int) -> None:
        """A TRUNCATE is in every partition of the log, and halts the moves that read the table (C8)."""
        for oid in pgoutput.truncated(message):
            route = self._routes.get(oid.to_bytes(4, "big"))
            for move in self._router.moves_of(oid):
                for buffer in self._router.buffers[move.name]:
                    if route is not None:
                        buffer.relations.add(route.description)
                    buffer.txns.append((xid, lsn, commit_time, len(buffer.changes)))
                    buffer.xid = xid
                    buffer.changes.append(message)
                    buffer.size += len(message)
            self._halt(oid, f"{self._router.name_of(oid)} was truncated at {lsn_text(lsn)}", lsn, whole=True)

    def _halt(self, oid: int, why: str, lsn: int = 0, *, whole: bool = False) -> None:
        for move in self._router.moves_of(oid):
            self._control.halt(move.name, why, lsn or self._outbox.processed, whole=whole)
