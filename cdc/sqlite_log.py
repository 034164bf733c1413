"""The log in one SQLite file: topics, offsets and identities; the writer and the reader are made here.

Hazards met here: L2 the file and each topic carry a uuid of their own, a removed or replaced file is noticed, and
offsets never jump; L3 a topic with another number of partitions is refused; L7 several processes may append at once,
what was acknowledged survives a loss of power, and a full disk stops the writer and loses nothing.
"""

from __future__ import annotations

import sqlite3
import uuid

from cdc.sqlite_file import OFFSET_BITS, SqliteFile
from cdc.sqlite_reader import SqliteReader
from cdc.sqlite_writer import SqliteWriter
from sql.counted import counted
from sql.errors import Gap, Refused

PORTION = 50  # records deleted in one transaction


class SqliteLog:
    """A log at `sqlite:///relative/path` or `sqlite:////absolute/path`. Safe to use from several threads.

    The file must lie on a local disk: WAL mode needs shared memory between the processes.
    """

    def __init__(self, address: str, *, make: bool = True) -> None:
        """`make` False: only `ensure_topic` makes the file where it is not there."""
        self._file = SqliteFile(address, make=make)
        self.address = address

    def __repr__(self) -> str:
        return f"SqliteLog({self.address})"

    def identity(self) -> str:
        """The file's uuid; "" where it is not there and must not be made: no log has that."""
        if self._file.gone():
            return ""
        connection = self._file.connection()
        with self._file.doing("reading the identity"):
            (found,) = connection.execute("SELECT value FROM meta WHERE name = 'identity'").fetchone()
        return str(found)

    def ensure_topic(self, topic: str, partitions: int) -> str:
        """Create the topic unless it is there; its uuid. Refused when it has another number of partitions (L3)."""
        self._file.make = True
        with self._file.transaction(f"creating topic {topic}") as connection:
            found = connection.execute(
                "SELECT identity, (SELECT count(*) FROM partition p WHERE p.topic = t.id) FROM topic t WHERE name = ?",
                (topic,),
            ).fetchone()
            if found is None:
                identity = str(uuid.uuid4())
                made = connection.execute("INSERT INTO topic (name, identity) VALUES (?, ?)", (topic, identity))
                connection.executemany(
                    "INSERT INTO partition (topic, number) VALUES (?, ?)",
                    [(made.lastrowid, number) for number in range(partitions)],
                )
                found = (identity, partitions)
        if found[1] != partitions:
            raise Refused(
                f"{self.address}: topic {topic} has {counted(found[1], 'partition')}, the plan says {partitions}: "
                "keys would change partition",
                cure=f"set partitions = {found[1]} in the plan",
            )
        return str(found[0])

    def topic_identity(self, topic: str) -> str | None:
        connection = self._file.connection()
        with self._file.doing(f"looking for topic {topic}"):
            found = connection.execute("SELECT identity FROM topic WHERE name = ?", (topic,)).fetchone()
        return None if found is None else str(found[0])

    def delete_topic(self, topic: str) -> None:
        """Remove the topic, then its records portion by portion, so that other writers get their turn."""
        with self._file.transaction(f"deleting topic {topic}") as connection:
            connection.execute(
                "UPDATE partition SET begin_offset = end_offset WHERE topic = (SELECT id FROM topic WHERE name = ?)",
                (topic,),
            )
            connection.execute("DELETE FROM topic WHERE name = ?", (topic,))
        self._sweep()

    def prune(self, topic: str, partition: int, before_offset: int) -> None:
        """Forget the records below an offset; `begin_offsets` says so from then on."""
        with self._file.transaction(f"pruning topic {topic}") as connection:
            found = _partitions(connection, topic)
            if partition >= len(found):
                raise Gap(f"{self.address}: topic {topic} has no partition {partition}", cure="cutover heal")
            identifier, begin, end = found[partition]
            before = max(begin, min(before_offset, end))
            connection.execute("UPDATE partition SET begin_offset = ? WHERE id = ?", (before, identifier))
        self._sweep()

    def begin_offsets(self, topic: str) -> list[int]:
        return [begin for _, begin, _ in self._places(topic)]

    def end_offsets(self, topic: str) -> list[int]:
        return [end for _, _, end in self._places(topic)]

    def offsets_at(self, topic: str, time_ms: int) -> list[int]:
        connection = self._file.connection()
        return [self._offset_at(connection, *place, time_ms) for place in self._places(topic)]

    def writer(self) -> SqliteWriter:
        return SqliteWriter(self._file)

    def reader(self) -> SqliteReader:
        return SqliteReader(self._file)

    def close(self) -> None:
        self._file.close()

    def _sweep(self) -> None:
        """Delete the records below every partition's first offset, also what an interrupted sweep left behind."""
        swept = self._file.connection().execute("SELECT id, begin_offset FROM partition").fetchall()
        for partition, begin in swept:
            base, portion = partition << OFFSET_BITS, 1
            while portion:
                with self._file.transaction("deleting records") as connection:
                    portion = connection.execute(
                        "DELETE FROM record WHERE id IN (SELECT id FROM record WHERE id >= ? AND id < ? LIMIT ?)",
                        (base, base | begin, PORTION),
                    ).rowcount
        with self._file.transaction("deleting partitions") as connection:
            connection.execute("DELETE FROM partition WHERE topic NOT IN (SELECT id FROM topic)")

    def _places(self, topic: str) -> list[tuple[int, int, int]]:
        connection = self._file.connection()
        with self._file.doing(f"reading offsets of topic {topic}"):
            found = _partitions(connection, topic)
        if not found:
            raise Gap(f"{self.address}: topic {topic} is not there", cure="cutover heal")
        return found

    def _offset_at(self, connection: sqlite3.Connection, partition: int, begin: int, end: int, time_ms: int) -> int:
        """Times never decrease within a partition (the writer sees to it), so bisect."""
        with self._file.doing("looking for a time"):
            while begin < end:
                middle = (begin + end) // 2
                found = connection.execute(
                    "SELECT time_ms FROM record WHERE id = ?", (partition << OFFSET_BITS | middle,)
                ).fetchone()
                if found is None or found[0] < time_ms:
                    begin = middle + 1
                else:
                    end = middle
        return begin


def _partitions(connection: sqlite3.Connection, topic: str) -> list[tuple[int, int, int]]:
    return connection.execute(
        "SELECT p.id, p.begin_offset, p.end_offset FROM partition p JOIN topic t ON t.id = p.topic"
        " WHERE t.name = ? ORDER BY p.number",
        (topic,),
    ).fetchall()
