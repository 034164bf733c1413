"""The backlog of a slot: what waits there, read by SQL in portions, before the stream begins.

A walsender makes a system call to send each message and another to look for an answer: of small transactions, half of
its time and more. The same messages from pg_logical_slot_get_binary_changes through COPY come many to a call (chapters
9.28.6 and 53.2.6). A portion comes once it is decoded whole: so two sessions take turns, and one decodes the next while
the other's is read. Each has a temporary copy of the slot, which ends with it; the slot itself moves only over what the
log has acknowledged (C1).
"""

from __future__ import annotations

import select
import time
from contextlib import suppress
from typing import Final

import psycopg
from psycopg import pq, sql
from psycopg.pq.abc import PGconn

from cdc.replication import XLOG_HEADER, lsn_text
from sql.connection import connect_raw
from sql.errors import CutoverError, Gap, Unreachable

FIRST: Final = 50_000  # messages in a portion; each begins to decode at the oldest transaction, so they grow …
MOST: Final = 600_000  # … up to this; the server keeps a portion in a temporary file
GROWTH: Final = 3.0  # … fast: to look through what was read before costs more than a wait for the next
TOO_LONG: Final = 20.0  # seconds of decoding for a portion of MOST: a long transaction keeps the beginning far behind
WORTHWHILE: Final = 16 << 20  # bytes of WAL behind which the backlog is read first
_HEADER: Final = 19  # bytes of COPY's binary format before the first row …
_ROW: Final = 6  # … and before a row's one field
_COPY_SLOT: Final = (
    "SELECT pg_catalog.pg_copy_logical_replication_slot({slot},"
    " pg_catalog.concat('cutover_backlog_', pg_catalog.pg_backend_pid()), true)"
)
# Where another slot stands, at once; to move one there, the server would look through the WAL between.
_AGAIN: Final = (
    "SELECT pg_catalog.pg_drop_replication_slot({mine});"
    " SELECT pg_catalog.pg_copy_logical_replication_slot({other}, {mine}, true)"
)
# So many bytes before the message that it stands where it does in the stream. A Commit (67) says nothing that the next
# Begin, or the portion's end, does not: of one-row transactions, a third of all messages.
_PORTION: Final = (
    "COPY (SELECT {pad}::pg_catalog.bytea OPERATOR(pg_catalog.||) data"
    " FROM pg_catalog.pg_logical_slot_get_binary_changes({mine}, {until}, {limit}, 'proto_version', '1',"
    " 'messages', 'true', 'publication_names', {names})"
    " WHERE pg_catalog.get_byte(data, 0) OPERATOR(pg_catalog.<>) 67) TO STDOUT (FORMAT binary)"
)
_READ_TO: Final = (
    "SELECT confirmed_flush_lsn OPERATOR(pg_catalog.>=) {until} FROM pg_catalog.pg_replication_slots"
    " WHERE slot_name OPERATOR(pg_catalog.=) {mine}"
)


class Backlog:
    """Reads a slot's changes as `ReplicationStream` does, whole transactions portion by portion: those that commit
    before the LSN `until`. Without their Commit messages: one ends where the next begins, and `whole` says that none is
    open at the end of what was read.

    Raises Gap when the slot is gone or lost (C3), NoRoom when the server has none for copies of the slot or for a
    portion, Unreachable when a connection ends.
    """

    asked = False  # the server waits for no answer here

    def __init__(self, dsn: str, slot: str, publication: str, until: int) -> None:
        self.idle = self.over = self.whole = False
        self.passed, self._until = 0, until
        self._limit: float = FIRST
        self._readers: list[_Reader] = []
        try:
            for _ in range(2):
                self._readers.append(_Reader(dsn, slot, publication, until))
            self._begin(self._readers[0])
        except BaseException:
            self.close()
            raise

    def read(self, most: int) -> list[bytes]:
        """Up to `most` messages that are there now; `idle` says that there are no more, `over` that none come."""
        reader, other = self._readers
        found = reader.read(most)
        if found and not other.busy:  # decoded whole, then: where the next portion begins is known
            self._begin(other, reader.slot)
        self.idle, self.whole = reader.idle, reader.finished
        if reader.finished:
            self.over = reader.over or not reader.count
            if reader.decoded > TOO_LONG and reader.limit >= MOST and reader.count < 2 * MOST and not self.over:
                why = "a transaction is open all the while"
                raise NoRoom(f"a portion of the backlog took {reader.decoded:.0f} s to decode: {why}")
            self.passed = self._until if self.over else 0
            self._readers.reverse()
        return found

    def _begin(self, reader: _Reader, after: str | None = None) -> None:
        """Let a reader decode the next portion, from where its slot stands, or another."""
        reader.begin(after, int(self._limit))
        self._limit = min(MOST, self._limit * GROWTH)

    def wait(self, timeout: float) -> bool:
        """Wait until there is something to read, `timeout` seconds at most, and take it; False when there was not."""
        return self._readers[0].wait(timeout)

    def feedback(self, confirmed: int, received: int) -> None:
        """Nothing: nobody waits for an answer, and the slot is moved by who knows when that is worth its cost."""

    def close(self) -> None:
        for reader in self._readers:
            reader.close()


class _Reader:
    """A session with a copy of the slot that only it sees."""

    def __init__(self, dsn: str, slot: str, publication: str, until: int) -> None:
        self.busy = self.idle = self.finished = self.over = False
        self.count = self.limit = 0  # messages of the portion so far; after how many, Commits too, it ends with one
        self.decoded = self._begun = 0.0  # seconds that the portion took to decode, and when it was asked for
        self._copying = False
        try:
            self.pgconn: PGconn = connect_raw(dsn, f"capture {slot} backlog", statement_timeout="0")
        except Unreachable as error:  # too many sessions, perhaps: a walsender does not count among them
            raise NoRoom(str(error)) from error
        try:
            self._poll = select.poll()
            self._poll.register(self.pgconn.socket, select.POLLIN)
            result = self.pgconn.exec_(sql.SQL(_COPY_SLOT).format(slot=sql.Literal(slot)).as_string(None).encode())
            if result.status != pq.ExecStatus.TUPLES_OK:
                raise _refusal(result)
            self.slot = f"cutover_backlog_{self.pgconn.backend_pid}"
            self.pgconn.nonblocking = 1
        except BaseException:
            self.pgconn.finish()
            raise
        self._portion = sql.SQL(f"{_PORTION}; {_READ_TO}").format(
            pad=sql.Literal("\\x" + "00" * (XLOG_HEADER - _ROW)),
            mine=sql.Literal(self.slot),
            until=sql.Literal(lsn_text(until)),
            limit=sql.Placeholder("limit"),
            names=sql.Literal(sql.Identifier(publication).as_string(None)),
        )

    def begin(self, after: str | None, limit: int) -> None:
        """Ask for a portion of `limit` messages and what their last transaction has more, from where the slot `after`
        stands, or our own."""
        query = self._portion.as_string(None).replace("%(limit)s", str(limit))
        if after is not None:
            again = sql.SQL(_AGAIN).format(mine=sql.Literal(self.slot), other=sql.Literal(after))
            query = f"{again.as_string(None)}; {query}"
        try:
            self.pgconn.send_query(query.encode())
            while self.pgconn.flush():
                select.select([], [self.pgconn.socket], [])
        except psycopg.OperationalError as error:
            raise Unreachable(f"the backlog's connection ended: {error}") from error
        self.busy, self.finished, self._copying = True, False, False
        self.count, self.limit, self._begun = 0, limit, time.monotonic()

    def read(self, most: int) -> list[bytes]:
        self.idle = False
        if not self._copying and not self._started():
            self.idle = True
            return []
        found: list[bytes] = []
        append, next_message = found.append, self.pgconn.get_copy_data
        for _ in range(most):
            size, data = next_message(1)
            if size > XLOG_HEADER:
                append(bytes(data))
            elif size == 0:
                if not self.wait(0):
                    self.idle = True
                    break
            elif size < 0:
                self._end()
                break
        if found and not self.count:
            found[0] = found[0][_HEADER:]
        self.count += len(found)
        return found

    def _started(self) -> bool:
        """Has it been decoded? Takes the results before the portion's."""
        while not self._copying:
            if self.pgconn.is_busy():
                if not self.wait(0):
                    return False
                continue
            result = self.pgconn.get_result()
            if result is None:
                raise Unreachable("the backlog cannot be read: the slot's copy is gone")
            if result.status == pq.ExecStatus.COPY_OUT:
                self._copying = True
                self.decoded = time.monotonic() - self._begun
            elif result.status != pq.ExecStatus.TUPLES_OK:
                raise _refusal(result)
        return True

    def _end(self) -> None:
        """The portion was read to its end. Raises what it ended with."""
        while (result := self.pgconn.get_result()) is not None:
            if result.status == pq.ExecStatus.TUPLES_OK:
                self.over = result.get_value(0, 0) == b"t"
            elif result.status != pq.ExecStatus.COMMAND_OK:
                raise _refusal(result)
        self.busy, self.finished = False, True

    def wait(self, timeout: float) -> bool:
        if not self._poll.poll(timeout * 1000):
            return False
        try:
            self.pgconn.consume_input()
        except psycopg.OperationalError as error:
            raise Unreachable(f"the backlog's connection ended: {error}") from error
        return True

    def close(self) -> None:
        """End the session, and what it may still be decoding."""
        if self.busy:
            with suppress(psycopg.OperationalError):
                self.pgconn.get_cancel().cancel()
        self.pgconn.finish()


class NoRoom(Unreachable):
    """The server has no room for a portion, a session or a copy of the slot, or no time: the stream needs none."""


def _refusal(result: pq.abc.PGresult) -> CutoverError:
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    message = result.get_error_message().strip()
    if state.startswith("53"):  # insufficient resources: replication slots and temp_file_limit among them
        return NoRoom(f"the backlog cannot be read: {message}")
    if state in ("42704", "55000"):  # undefined_object, object_not_in_prerequisite_state
        return Gap(f"the slot cannot be read: {message}", cure="cutover heal")
    return Unreachable(f"the backlog cannot be read: {message or 'the server closed the connection'}")
