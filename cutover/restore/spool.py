"""The spool: a partition's rows and what backfills read, on disk, so that memory does not grow with the table.

A private SQLite database in the system's temporary folder, which has no name there: it goes with the process.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

from cdc import pgoutput
from cdc.pgoutput import Value
from cutover.restore.moment import Snapshot
from sql.errors import Refused

CACHE_KB: Final = 32 << 10

_TABLES: Final = """
CREATE TABLE base (key BLOB PRIMARY KEY, snapshot INT, place INT, large INT) WITHOUT ROWID;
CREATE TABLE row (key BLOB, identity BLOB, names INT, packed BLOB, count INT, PRIMARY KEY (key, identity))
    WITHOUT ROWID;
"""
_ADD: Final = (
    "INSERT INTO row VALUES (?, ?, ?, ?, 1)"
    " ON CONFLICT DO UPDATE SET names = excluded.names, packed = excluded.packed, count = count + 1"
)
_SET: Final = "INSERT OR REPLACE INTO row VALUES (?, ?, ?, ?, 1)"

Names = tuple[str, ...]


class Spool:
    """Rows by key and identity, each with the names of its columns; and for each key the snapshot that read it."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        for setting in (f"cache_size = -{CACHE_KB}", "journal_mode = OFF", "synchronous = OFF", "temp_store = FILE"):
            self._db.execute(f"PRAGMA {setting}")
        self._db.executescript(_TABLES)
        self._db.execute("BEGIN")  # never committed: pages go to the disk when the cache is full, and only then
        self._ask = self._db.execute
        self._names: dict[Names, int] = {}
        self._listed: list[Names] = []
        self._snapshots: list[Snapshot] = []
        self.bases = False  # was any key read by a backfill?

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self.close()
        if isinstance(error, sqlite3.OperationalError):
            raise Refused(f"the temporary folder: {error}", cure="set TMPDIR to a folder with more room") from error

    # What backfills read

    def read(self, snapshot: str, place: int, keys: Iterable[bytes], large: set[bytes]) -> None:
        """A backfill read these keys; their rows follow, and those that an earlier one had read go."""
        self._snapshots.append(Snapshot(snapshot))
        number = len(self._snapshots) - 1
        listed = list(keys)
        self._db.executemany("DELETE FROM row WHERE key = ?", ((key,) for key in listed))
        self._db.executemany(
            "INSERT OR REPLACE INTO base VALUES (?, ?, ?, ?)", ((key, number, place, key in large) for key in listed)
        )
        self.bases = True

    def too_large(self, keys: Iterable[bytes]) -> None:
        """One more row of each of these keys was too large for the log."""
        self._db.executemany("UPDATE base SET large = 1 WHERE key = ?", ((key,) for key in keys))

    def was_read(self, key: bytes) -> bool:
        return self._ask("SELECT 1 FROM base WHERE key = ?", (key,)).fetchone() is not None

    def forget_before(self, place: int) -> None:
        """Drop what backfills read before a place in the log, and its rows."""
        self._ask("DELETE FROM row WHERE key IN (SELECT key FROM base WHERE place < ?)", (place,))
        self._ask("DELETE FROM base WHERE place < ?", (place,))

    def large(self) -> set[bytes]:
        """Keys with rows that were too large."""
        return {key for (key,) in self._ask("SELECT key FROM base WHERE large") if self.bases}

    def seen(self, key: bytes, xid: int) -> bool:
        """Is what this transaction did to a key in the rows that a backfill read?"""
        if not self.bases:
            return False
        row = self._ask("SELECT snapshot FROM base WHERE key = ?", (key,)).fetchone()
        return row is not None and self._snapshots[row[0]].sees(xid)

    # Rows

    def get(self, key: bytes, identity: bytes) -> tuple[Names, tuple[Value, ...]] | None:
        row = self._ask("SELECT names, packed FROM row WHERE key = ? AND identity = ?", (key, identity)).fetchone()
        return None if row is None else (self._listed[row[0]], pgoutput.row(row[1], 0)[0])

    def put(self, key: bytes, identity: bytes, names: Names, values: tuple[Value, ...], *, many: bool) -> None:
        """Add a row; `many`: there may be equal ones, and each counts."""
        number = self._names.setdefault(names, len(self._names))
        if number == len(self._listed):
            self._listed.append(names)
        self._ask(_ADD if many else _SET, (key, identity, number, pgoutput.pack_row(values)))

    def remove(self, key: bytes, identity: bytes) -> None:
        """Take a row away, or one of several that are equal."""
        row = self._ask("SELECT count FROM row WHERE key = ? AND identity = ?", (key, identity)).fetchone()
        if row is not None and row[0] > 1:
            self._ask("UPDATE row SET count = count - 1 WHERE key = ? AND identity = ?", (key, identity))
        elif row is not None:
            self._ask("DELETE FROM row WHERE key = ? AND identity = ?", (key, identity))

    def empty(self, xid: int) -> None:
        """A truncation: every row goes but those that were read after it."""
        later = [number for number, snapshot in enumerate(self._snapshots) if snapshot.sees(xid)]
        kept = "SELECT key FROM base WHERE snapshot IN (SELECT value FROM json_each(?))"
        self._ask(f"DELETE FROM row WHERE key NOT IN ({kept})", (json.dumps(later),))

    def rows(self) -> Iterator[tuple[Names, tuple[Value, ...]]]:
        """Every row, in the order of keys."""
        for names, packed, count in self._ask("SELECT names, packed, count FROM row ORDER BY key, identity"):
            values = pgoutput.row(packed, 0)[0]
            for _ in range(count):
                yield self._listed[names], values
