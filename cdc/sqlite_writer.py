"""Appends frames to the SQLite log from a thread of its own, many to a transaction."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from typing import NamedTuple

from cdc.frame import MAX_FRAME
from cdc.sqlite_file import OFFSET_BITS, SqliteFile, as_cutover
from sql.errors import CutoverError, Gap, Refused, Unreachable

MAX_QUEUED = 32 << 20  # bytes that wait to be written; more makes `append` wait
MAX_TRANSACTION = 8 << 20  # bytes in one transaction, so that other processes get their turn


class _Append(NamedTuple):
    sequence: int
    topic: str
    partition: int
    value: bytes
    time_ms: int


class SqliteWriter:
    """A `LogWriter` over the SQLite log. Any thread may call it; appends keep their order.

    L7: a background thread writes all that is queued in one transaction with `synchronous = FULL`, and acknowledges
    after COMMIT has returned. The first failure stops the writer, so that nothing overtakes what failed. L2: so does a
    topic that was deleted or re-created since the writer first met it.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._changed = threading.Condition()
        self._queue: deque[_Append] = deque()
        self._queued_bytes = 0
        self._sequence = 0
        self._released = 0  # appends up to here may be written
        self._acknowledged = 0
        self._met: dict[tuple[str, int], int] = {}  # the partitions appended to, and which they were
        self._failure: CutoverError | None = None
        self._closed = False
        file.connection()  # what is wrong with the file is said here, to the caller
        self._thread = threading.Thread(target=self._run, name="cutover sqlite log", daemon=True)
        self._thread.start()

    def append(self, topic: str, partition: int, value: bytes) -> int:
        """Queue one frame of at most `MAX_FRAME` bytes; waits while more than `MAX_QUEUED` bytes are queued."""
        size = len(value)
        if size > MAX_FRAME:
            raise Refused(
                f"{self._file.address}: a frame of {size} bytes for {topic} exceeds the log's limit of {MAX_FRAME}"
            )
        with self._changed:
            while self._failure is None and self._queued_bytes and self._queued_bytes + size > MAX_QUEUED:
                self._release()
                self._changed.wait()
            self._check()
            self._sequence += 1
            self._queue.append(_Append(self._sequence, topic, partition, value, int(time.time() * 1000)))
            self._queued_bytes += size
            if self._queued_bytes >= MAX_TRANSACTION:
                self._release()
            return self._sequence

    def commit(self) -> None:
        """Let everything queued be written now."""
        with self._changed:
            self._check()
            self._release()

    def acknowledged(self) -> int:
        """The last sequence number up to which everything is on disk."""
        self._check()
        return self._acknowledged

    def queued(self) -> int:
        return self._sequence

    def wait(self, sequence: int, timeout: float) -> bool:
        """Write what is queued and wait until `sequence` is on disk; raises what went wrong in the meantime."""
        with self._changed:
            self._release()
            self._changed.wait_for(lambda: self._failure is not None or self._acknowledged >= sequence, timeout)
            self._check()
            return self._acknowledged >= sequence

    def close(self) -> None:
        with self._changed:
            self._closed = True
            if self._failure is None:
                self._failure = Unreachable(f"{self._file.address}: the writer is closed")
            self._changed.notify_all()
        self._thread.join()

    def _release(self) -> None:
        if self._released != self._sequence:
            self._released = self._sequence
            self._changed.notify_all()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while batch := self._take():
                self._write(batch)
                with self._changed:
                    self._acknowledged = batch[-1].sequence
                    self._queued_bytes -= sum(len(one.value) for one in batch)
                    self._changed.notify_all()
        except BaseException as error:
            with self._changed:
                self._failure = as_cutover(error, self._file.address, "appending")
                self._changed.notify_all()
        finally:
            self._file.close_thread()

    def _take(self) -> list[_Append]:
        """Wait for released appends and take them, up to `MAX_TRANSACTION` bytes; none when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._acknowledged < self._released)
            if self._closed:
                return []
            batch, size = [], 0
            while self._queue and self._queue[0].sequence <= self._released and size < MAX_TRANSACTION:
                batch.append(self._queue.popleft())
                size += len(batch[-1].value)
            return batch

    def _write(self, batch: list[_Append]) -> None:
        with self._file.transaction("appending") as connection:
            places = {(one.topic, one.partition): (0, 0, 0) for one in batch}
            for place in places:
                places[place] = self._place(connection, *place)
            rows = []
            for one in batch:
                identifier, offset, time_ms = places[one.topic, one.partition]
                time_ms = max(time_ms, one.time_ms)  # never back in time: `offsets_at` bisects
                rows.append((identifier << OFFSET_BITS | offset, time_ms, one.value))
                places[one.topic, one.partition] = (identifier, offset + 1, time_ms)
            connection.executemany("INSERT INTO record VALUES (?, ?, ?)", rows)
            connection.executemany(
                "UPDATE partition SET end_offset = ?, time_ms = ? WHERE id = ?",
                [(offset, time_ms, identifier) for identifier, offset, time_ms in places.values()],
            )
        self._file.check()  # a COMMIT into a file that was removed under us is worth nothing

    def _place(self, connection: sqlite3.Connection, topic: str, partition: int) -> tuple[int, int, int]:
        found: tuple[int, int, int] | None = connection.execute(
            "SELECT p.id, p.end_offset, p.time_ms FROM partition p JOIN topic t ON t.id = p.topic"
            " WHERE t.name = ? AND p.number = ?",
            (topic, partition),
        ).fetchone()
        if found is None:
            raise Gap(f"{self._file.address}: topic {topic} has no partition {partition}", cure="cutover heal")
        if self._met.setdefault((topic, partition), found[0]) != found[0]:
            raise Gap(f"{self._file.address}: topic {topic} was deleted and re-created", cure="cutover heal")
        return found
