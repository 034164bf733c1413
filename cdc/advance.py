"""The slot moved over what the log has, where no stream tells it: asked in a session of its own, without waiting.

The server looks through all WAL in between, which may take it minutes: who reads the backlog goes on meanwhile.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

import psycopg
from psycopg import pq, sql
from psycopg.pq.abc import PGconn

from cdc.backlog import NoRoom
from cdc.replication import lsn_text
from sql.connection import connect_raw
from sql.errors import Busy, CutoverError, Unreachable

_ADVANCE: Final = "SELECT pg_catalog.pg_replication_slot_advance({slot}, {lsn})"


class Advance:
    """Moves one slot. `took`: seconds that the last move took the server."""

    def __init__(self, dsn: str, slot: str) -> None:
        self._dsn, self._slot = dsn, slot
        self._pgconn: PGconn | None = None  # opened for the first move: a short backlog needs one, at its end
        self._asked: float | None = None
        self.took = 0.0

    @property
    def busy(self) -> bool:
        """Is a move under way, as far as `done` has seen?"""
        return self._asked is not None

    def ask(self, lsn: int) -> None:
        """Begin to move the slot to an LSN that the log has acknowledged; not while it is busy. Raises NoRoom when the
        server takes no further session."""
        if self._pgconn is None:
            try:
                self._pgconn = connect_raw(self._dsn, f"capture {self._slot} advance", statement_timeout="0")
            except Unreachable as error:
                raise NoRoom(str(error)) from error
        move = sql.SQL(_ADVANCE).format(slot=sql.Literal(self._slot), lsn=sql.Literal(lsn_text(lsn)))
        try:
            self._pgconn.send_query(move.as_string(None).encode())
        except psycopg.OperationalError as error:
            raise Unreachable(f"the slot cannot be moved: {error}") from error
        self._asked = time.monotonic()

    def done(self) -> bool:
        """Has what was asked been done? Raises Busy when another capture has the slot or has moved it, Unreachable."""
        if self._asked is None or self._pgconn is None:
            return True
        try:
            self._pgconn.consume_input()
            if self._pgconn.is_busy():
                return False
            while (result := self._pgconn.get_result()) is not None:
                if result.status != pq.ExecStatus.TUPLES_OK:
                    raise self._refusal(result)
        except psycopg.OperationalError as error:
            raise Unreachable(f"the slot cannot be moved: {error}") from error
        self.took, self._asked = time.monotonic() - self._asked, None
        return True

    def _refusal(self, result: pq.abc.PGresult) -> CutoverError:
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        message = result.get_error_message().strip()
        if state == "55006":  # object_in_use
            return Busy(f"another capture runs: {message}", cure="one capture per plan; stop the other")
        if state == "55000":  # object_not_in_prerequisite_state
            return Busy(f"another capture has moved the slot {self._slot}")
        return Unreachable(f"the slot cannot be moved: {message or 'the server closed the connection'}")

    def close(self) -> None:
        """End the session, and what it may still be doing: the slot stays where it is, which is never too far."""
        if self._pgconn is not None:
            if self.busy:
                with suppress(psycopg.OperationalError):
                    self._pgconn.get_cancel().cancel()
            self._pgconn.finish()
