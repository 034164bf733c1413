"""Reads frames from the SQLite log."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence

from cdc.log import Record
from cdc.sqlite_file import OFFSET_BITS, SqliteFile
from sql.errors import Gap

FAST = 0.001  # seconds between two looks while records are coming
SLOW = 0.010  # … and after nothing has come for a while
SETTLE = 2.0  # seconds of silence after which the looks become rarer


class _Place:
    """Where the reader stands in one partition."""

    __slots__ = ("base", "identity", "offset")

    def __init__(self, base: int, identity: str, offset: int) -> None:
        self.base, self.identity, self.offset = base, identity, offset


class SqliteReader:
    """A `LogReader` over the SQLite log, for one thread at a time.

    SQLite has no notification between processes: the reader looks at the file's change counter every millisecond
    while records are coming and every ten after two seconds of silence. L2: an offset outside the log, a topic that
    was deleted or re-created, a file that was removed or replaced: each is a Gap.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._places: dict[tuple[str, int], _Place] = {}
        self._turn: list[tuple[str, int]] = []  # in the order to be read: what was read last comes last
        self._version = -1  # the change counter at which all partitions were read to their end
        self._active = 0.0
        file.connection()

    def assign(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Read exactly these partitions; Gap at once for an offset that is not in the log."""
        connection = self._file.connection()
        with self._file.doing("assigning"):
            places = {}
            for (topic, partition), offset in positions.items():
                known = self._places.get((topic, partition))
                if known is not None and known.offset == offset:
                    places[topic, partition] = known
                    continue
                identifier, identity, begin, end = self._look_up(connection, topic, partition)
                self._compare(topic, partition, offset, begin, end)
                places[topic, partition] = _Place(identifier << OFFSET_BITS, identity, offset)
        self._places = places
        self._turn = list(places)
        self._version = -1
        self._active = time.monotonic()

    def poll(self, timeout: float, max_bytes: int = 8 << 20) -> Sequence[Record]:
        """Wait up to `timeout` seconds for records; those of one partition are in order, about `max_bytes` in all."""
        connection = self._file.connection()
        deadline = time.monotonic() + timeout
        with self._file.doing("reading"):
            while True:
                records = self._read(connection, max_bytes)
                now = time.monotonic()
                if records:
                    self._active = now
                    return records
                if now >= deadline:
                    return []
                silence = now - self._active
                time.sleep(min(deadline - now, FAST if silence < SETTLE else min(SLOW, FAST * silence / SETTLE)))
                self._file.check()

    def close(self) -> None:
        self._places = {}

    def _read(self, connection: sqlite3.Connection, max_bytes: int) -> list[Record]:
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version == self._version or not self._places:
            return []
        records: list[Record] = []
        connection.execute("BEGIN")  # one snapshot: ends and records belong together
        try:
            for topic, partition in list(self._turn):
                if max_bytes <= 0:
                    break
                taken = self._read_partition(connection, topic, partition, max_bytes)
                if taken:
                    self._turn.remove((topic, partition))
                    self._turn.append((topic, partition))
                    records += taken
                    max_bytes -= sum(len(record.value) for record in taken)
        finally:
            connection.execute("COMMIT")
        if not records:
            self._version = version
        return records

    def _read_partition(
        self, connection: sqlite3.Connection, topic: str, partition: int, max_bytes: int
    ) -> list[Record]:
        place = self._places[topic, partition]
        _, identity, begin, end = self._look_up(connection, topic, partition)
        if identity != place.identity:
            raise Gap(f"{self._file.address}: topic {topic} was deleted and re-created", cure="cutover heal")
        self._compare(topic, partition, place.offset, begin, end)
        records: list[Record] = []
        rows = connection.execute(
            "SELECT id, time_ms, value FROM record WHERE id >= ? AND id < ? ORDER BY id",
            (place.base | place.offset, place.base | end),
        )
        for row, time_ms, value in rows:
            if row != place.base | place.offset:
                raise Gap(
                    f"{self._file.address}: topic {topic} partition {partition}: offset {place.offset} is missing",
                    cure="cutover heal",
                )
            records.append(Record(topic, partition, place.offset, value, time_ms))
            place.offset += 1
            max_bytes -= len(value)
            if max_bytes <= 0:
                break
        rows.close()
        return records

    def _look_up(self, connection: sqlite3.Connection, topic: str, partition: int) -> tuple[int, str, int, int]:
        found: tuple[int, str, int, int] | None = connection.execute(
            "SELECT p.id, t.identity, p.begin_offset, p.end_offset FROM partition p JOIN topic t ON t.id = p.topic"
            " WHERE t.name = ? AND p.number = ?",
            (topic, partition),
        ).fetchone()
        if found is None:
            raise Gap(f"{self._file.address}: topic {topic} has no partition {partition}", cure="cutover heal")
        return found

    def _compare(self, topic: str, partition: int, offset: int, begin: int, end: int) -> None:
        if not begin <= offset <= end:
            raise Gap(
                f"{self._file.address}: topic {topic} partition {partition}: offset {offset} is outside the log "
                f"({begin} to {end})",
                cure="cutover heal",
            )
