"""The replication stream: START_REPLICATION, feedback and keepalives over psycopg.pq (chapter 55.4)."""

from __future__ import annotations

import select
import struct
import time

import psycopg
from psycopg import pq, sql
from psycopg.pq.abc import PGconn

from cdc.frame import PG_EPOCH_US
from sql.connection import connect_replication
from sql.errors import Busy, Gap, Unreachable

XLOG_HEADER = 25  # bytes before the logical message: 'w', start LSN, end LSN, send time
END = 5.0  # seconds
_KEEPALIVE = struct.Struct("!QqB")
_FEEDBACK = struct.Struct("!cQQQqB")


def lsn_text(lsn: int) -> str:
    """An LSN as PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def lsn_number(text: str) -> int:
    """An LSN from PostgreSQL's notation; ValueError when it is not one."""
    high, low = text.split("/")
    return (int(high, 16) << 32) | int(low, 16)


def now_us() -> int:
    """Microseconds since 2000-01-01 UTC, as pgoutput counts."""
    return time.time_ns() // 1000 - PG_EPOCH_US


class ReplicationStream:
    """A walsender session in COPY BOTH mode.

    Raises Busy when another process holds the slot (C13), Gap when the slot is gone or lost (C3), Unreachable when
    the connection ends.
    """

    over = False  # it has no end …
    whole = False  # … and says itself where a transaction has one

    def __init__(self, dsn: str, slot: str, publication: str, start_lsn: int = 0) -> None:
        self.idle = self.asked = False
        self.passed = 0
        self.pgconn: PGconn = connect_replication(dsn, f"capture {slot}")
        try:
            self._start(slot, publication, start_lsn)
            self.pgconn.nonblocking = 1
            self._poll = select.poll()
            self._poll.register(self.pgconn.socket, select.POLLIN)
        except BaseException:
            self.pgconn.finish()
            raise

    def _start(self, slot: str, publication: str, start_lsn: int) -> None:
        names = sql.Literal(sql.Identifier(publication).as_string(None)).as_string(None)
        command = sql.SQL(
            "START_REPLICATION SLOT {} LOGICAL {} (proto_version '1', messages 'true', publication_names {})"
        )
        text = command.format(sql.Identifier(slot), sql.SQL(lsn_text(start_lsn)), sql.SQL(names))
        result = self.pgconn.exec_(text.as_string(None).encode())
        if result.status == pq.ExecStatus.COPY_BOTH:
            return
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        message = result.get_error_message().strip()
        if state == "55006":  # object_in_use
            raise Busy(f"another capture runs: {message}", cure="one capture per plan; stop the other, or leave it")
        if state in ("42704", "55000"):  # undefined_object, object_not_in_prerequisite_state
            raise Gap(f"the slot cannot be read: {message}", cure="cutover heal")
        raise Unreachable(f"replication does not start: {message}")

    def read(self, most: int) -> list[bytes]:
        """Up to `most` messages that are there now; a keepalive ends them. `idle` says that there are no more now,
        `passed` up to where no commit is still to come (0: unknown), `asked` that the server wants an answer."""
        found: list[bytes] = []
        append, next_message = found.append, self.pgconn.get_copy_data
        self.idle = self.asked = False
        self.passed = 0
        for _ in range(most):
            size, data = next_message(1)
            if size > XLOG_HEADER:
                append(bytes(data))
            elif size == 0:
                if not self.wait(0):
                    self.idle = True
                    break
            elif size < 0:
                raise self.lost()
            else:
                self.passed, self.asked = keepalive(bytes(data))
                break
        return found

    def wait(self, timeout: float) -> bool:
        """Wait until there is something to read, `timeout` seconds at most, and take it; False when there was not."""
        if not self._poll.poll(timeout * 1000):
            return False
        try:
            self.pgconn.consume_input()
        except psycopg.OperationalError as error:
            raise self.lost() from error
        return True

    def feedback(self, confirmed: int, received: int) -> None:
        """Tell the server what is safe in the log; it may then forget the WAL before it (C1)."""
        message = _FEEDBACK.pack(b"r", max(received, confirmed), confirmed, confirmed, now_us(), 0)
        try:
            while self.pgconn.put_copy_data(message) == 0:
                self.pgconn.flush()
            self.pgconn.flush()
        except psycopg.OperationalError as error:
            raise self.lost() from error

    def lost(self) -> Exception:
        """The error that ends a stream, from whatever the connection still says."""
        result = self.pgconn.get_result()
        message = result.get_error_message().strip() if result is not None else ""
        message = message or self.pgconn.get_error_message().strip()
        if "replication slot" in message and ("invalidat" in message or "obsolete" in message):
            return Gap(f"the slot was lost: {message}", cure="cutover heal")
        state = result.error_field(pq.DiagnosticField.SQLSTATE) if result is not None else None
        if state == b"42704":  # undefined_object: the publication, at some WAL that every session comes to again
            return Gap(f"the slot cannot be read: {message}", cure="cutover heal")
        return Unreachable(f"the replication stream ended: {message or 'the server closed it'}")

    def end(self) -> None:
        """Wait until the server has taken what it was told last, a few seconds at most. One that is sending when its
        connection is closed ends, and what it has not read of ours is lost."""
        deadline = time.monotonic() + END
        try:
            self.pgconn.put_copy_end()
            self.pgconn.flush()
            while (size := self.pgconn.get_copy_data(1)[0]) >= 0 and time.monotonic() < deadline:
                if size == 0:
                    self.wait(0.1)
        except (psycopg.OperationalError, Unreachable):
            return  # the next session reads again from where the slot stands

    def close(self) -> None:
        self.pgconn.finish()


def keepalive(message: bytes) -> tuple[int, bool]:
    """The server's WAL position and whether it wants an answer at once (k)."""
    end, _time, reply = _KEEPALIVE.unpack_from(message, 1)
    return end, bool(reply)
