"""The backlog of a slot: what waits there, read by SQL in portions, before the stream begins.

A walsender makes a system call to send each message and another to look for an answer: of small transactions, half of
its time and more. The same messages from pg_logical_slot_peek_binary_changes through COPY come many to a call (chapters
9.28.6 and 53.2.6): 0.4 s of the server's CPU where the walsender takes 1.2. Peeking confirms nothing; the slot is
advanced once the log has acknowledged the portion (C1).
"""

from __future__ import annotations

import select
from typing import Final

import psycopg
from psycopg import pq, sql
from psycopg.pq.abc import PGconn

from cdc.replication import XLOG_HEADER, lsn_text
from sql.connection import connect_raw
from sql.errors import Busy, CutoverError, Gap, Unreachable

FIRST: Final = 60_000  # messages in a portion: each begins to decode where the slot does, so they grow …
MOST: Final = 600_000  # … up to this; the server keeps a portion in a temporary file
GROWTH: Final = 3
WORTHWHILE: Final = 16 << 20  # bytes of WAL behind which the backlog is read first
_ROW: Final = 6  # bytes of COPY's binary format before a row's one field
# So many bytes before the message that it stands where it does in the stream. The first row holds COPY's header.
_QUERY: Final = (
    "COPY (SELECT {first}::pg_catalog.bytea UNION ALL SELECT {pad}::pg_catalog.bytea OPERATOR(pg_catalog.||) data"
    " FROM pg_catalog.pg_logical_slot_peek_binary_changes({slot}, NULL, {limit}, 'proto_version', '1',"
    " 'messages', 'true', 'publication_names', {names})) TO STDOUT (FORMAT binary)"
)


class Backlog:
    """Reads a slot's changes as `ReplicationStream` does, portion by portion; confirms by `advance` alone.

    Raises Busy when another process holds the slot (C13), Gap when the slot is gone or lost (C3), Unreachable when
    the connection ends or the server has no room for the portion.
    """

    def __init__(self, dsn: str, slot: str, publication: str) -> None:
        self._slot, self._publication = slot, publication
        self._limit = FIRST
        self.pgconn: PGconn = connect_raw(dsn, f"capture {slot} backlog", statement_timeout="0")
        self._poll = select.poll()
        self._poll.register(self.pgconn.socket, select.POLLIN)

    def begin(self) -> None:
        """The next portion, whole transactions: read it with `pgconn.get_copy_data` to its end."""
        query = sql.SQL(_QUERY).format(
            first=sql.Literal("\\x" + "00" * (XLOG_HEADER - _ROW + 1)),
            pad=sql.Literal("\\x" + "00" * (XLOG_HEADER - _ROW)),
            slot=sql.Literal(self._slot),
            limit=sql.Literal(self._limit),
            names=sql.Literal(sql.Identifier(self._publication).as_string(None)),
        )
        self._limit = min(MOST, self._limit * GROWTH)
        self.pgconn.nonblocking = 0
        result = self.pgconn.exec_(query.as_string(None).encode())
        if result.status != pq.ExecStatus.COPY_OUT:
            raise _refusal(result)
        self.pgconn.nonblocking = 1

    def advance(self, lsn: int) -> None:
        """Move the slot over what the log has acknowledged."""
        self.pgconn.nonblocking = 0
        result = self.pgconn.exec_params(
            b"SELECT pg_catalog.pg_replication_slot_advance($1, $2)", [self._slot.encode(), lsn_text(lsn).encode()]
        )
        if result.status != pq.ExecStatus.TUPLES_OK:
            if "cannot advance" in result.get_error_message():
                raise Busy(f"another capture has moved the slot {self._slot}")
            raise _refusal(result)

    def wait(self, timeout: float) -> bool:
        """Wait until there is something to read, `timeout` seconds at most, and take it; False when there was not."""
        if not self._poll.poll(timeout * 1000):
            return False
        try:
            self.pgconn.consume_input()
        except psycopg.OperationalError as error:
            raise Unreachable(f"the backlog's connection ended: {error}") from error
        return True

    def feedback(self, confirmed: int, received: int) -> None:
        """Nothing: the server waits for no answer here."""

    def over(self) -> None:
        """The portion was read to its end. Raises what it ended with."""
        while (result := self.pgconn.get_result()) is not None:
            if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.COPY_OUT):
                raise _refusal(result)

    def close(self) -> None:
        self.pgconn.finish()


class NoRoom(Unreachable):
    """The server has no room for a portion; the stream needs none."""


def _refusal(result: pq.abc.PGresult) -> CutoverError:
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    message = result.get_error_message().strip()
    if state == "55006":  # object_in_use
        return Busy(f"another capture runs: {message}", cure="one capture per plan; stop the other, or leave it")
    if state.startswith("53"):  # insufficient resources, temp_file_limit among them
        return NoRoom(f"the backlog cannot be read: {message}")
    if state in ("42704", "55000"):  # undefined_object, object_not_in_prerequisite_state
        return Gap(f"the slot cannot be read: {message}", cure="cutover heal")
    return Unreachable(f"the backlog cannot be read: {message or 'the server closed the connection'}")
