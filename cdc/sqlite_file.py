"""The SQLite file of a log: its tables, its connections (one per thread that asks), and its errors."""

from __future__ import annotations

import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from sql.errors import Busy, CutoverError, Gap, Unreachable, UsageError

SCHEME = "sqlite:///"
BUSY_MS = 5_000  # how long to wait for another process's transaction
OFFSET_BITS = 40  # a record's rowid is its partition's id and its offset, so records lie in the order they are read
FORMAT = "1"

# L7: in WAL mode readers and the writer never wait for each other; FULL fsyncs the WAL at every commit, so what was
# committed survives a loss of power. (sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous)
_PRAGMAS = (
    "PRAGMA synchronous = FULL",
    "PRAGMA wal_autocheckpoint = 4000",
    "PRAGMA secure_delete = OFF",  # some builds overwrite what is deleted, which makes forgetting slow
)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS topic (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, identity TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS partition (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic INTEGER NOT NULL,
    number INTEGER NOT NULL,
    begin_offset INTEGER NOT NULL DEFAULT 0,
    end_offset INTEGER NOT NULL DEFAULT 0,
    time_ms INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic, number));
CREATE TABLE IF NOT EXISTS record (id INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, value BLOB NOT NULL);
"""


def parse_path(address: str) -> Path:
    """The file of `sqlite:///relative/path` or `sqlite:////absolute/path`; UsageError for anything else."""
    path, question, options = address.removeprefix(SCHEME).partition("?")
    if not address.startswith(SCHEME) or not path or path.endswith("/"):
        raise UsageError(f"not a SQLite log: {address!r}", cure="sqlite:///relative/path or sqlite:////absolute/path")
    if question:
        raise UsageError(f"unknown option {options.partition('=')[0]!r} in {SCHEME}{path}", cure="it has no options")
    return Path(os.path.abspath(unquote(path)))


def as_cutover(error: BaseException, address: str, doing: str) -> CutoverError:
    """The error to raise for `error`, met in the file at `address` while `doing` something.

    Gap for a file that is damaged or not a log, Busy for one that is locked, else Unreachable with what to do.
    """
    if isinstance(error, CutoverError):
        return error
    text = f"{address}: {doing}: {error}"
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Gap(text, hint="first move the file away", cure="cutover heal")
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Busy(text, cure="another process writes to the log; try again")
    cures = {
        sqlite3.SQLITE_FULL: "free some space; nothing acknowledged is lost",
        sqlite3.SQLITE_IOERR: "check the disk and its free space; nothing acknowledged is lost",
        sqlite3.SQLITE_READONLY: "make the file and its directory writable",
        sqlite3.SQLITE_CANTOPEN: "create the directory and make it writable",
    }
    return Unreachable(text, cure=cures.get(primary or 0, "check the file, then try again"))


class SqliteFile:
    """The file at an address. Made on first use; `connection()` is this thread's own and closed by `close()`.

    `make` False: it was made before. Where it is not there, nothing is put in its place, so that whoever moved it away
    can move it back.
    """

    def __init__(self, address: str, *, make: bool = True) -> None:
        self.path = parse_path(address)
        self.make = make
        self.address = address
        self._threads = threading.local()
        self._lock = threading.Lock()
        self._open: list[sqlite3.Connection] = []
        self._inode: tuple[int, int] | None = None

    def connection(self) -> sqlite3.Connection:
        """This thread's connection; Gap when the file is no longer the one that was opened first (L2)."""
        with self.doing("opening"):
            found: sqlite3.Connection | None = getattr(self._threads, "connection", None)
            if found is None:
                if self.gone():
                    hint = "move it back, if it is there elsewhere; if it is lost, heal"
                    raise Gap(f"{self.address}: the file is not there", hint=hint, cure="cutover heal")
                found = self._connect()
                self._threads.connection = found
            self.check()
            return found

    def gone(self) -> bool:
        """Was it made before, and is not there to be opened?"""
        return not self.make and self._inode is None and not self.path.exists()

    def check(self) -> None:
        """Gap when the file was removed or replaced while it was open (L2)."""
        try:
            now = os.stat(self.path)
        except FileNotFoundError:
            raise Gap(f"{self.address}: the file was removed", cure="cutover heal") from None
        except OSError as error:
            raise as_cutover(error, self.address, "looking at the file") from error
        if (now.st_dev, now.st_ino) != self._inode:
            raise Gap(f"{self.address}: the file was replaced by another", cure="cutover heal")

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Raise what sqlite3 raises inside as this service's errors."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise as_cutover(error, self.address, what) from error

    @contextmanager
    def transaction(self, what: str) -> Iterator[sqlite3.Connection]:
        """A write transaction on this thread's connection; rolled back on any error."""
        connection = self.connection()
        with self.doing(what):
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close_thread(self) -> None:
        """Close this thread's connection."""
        found: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        if found is not None:
            self._threads.connection = None
            with self._lock:
                self._open.remove(found)
            found.close()

    def close(self) -> None:
        """Close every connection; no other thread may be using one."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
        self._threads = threading.local()

    def _connect(self) -> sqlite3.Connection:
        with self._lock:
            connection = sqlite3.connect(
                self.path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(connection)
                now = os.stat(self.path)
                if self._inode is None:
                    self._inode = (now.st_dev, now.st_ino)
            except BaseException:
                connection.close()
                raise
            self._open.append(connection)
            return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            connection.execute("PRAGMA page_size = 8192")
            connection.execute("PRAGMA journal_mode = WAL")
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'record'").fetchone() is None:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            meta = [("identity", str(uuid.uuid4())), ("format", FORMAT)]
            connection.executemany("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO NOTHING", meta)
            connection.execute("COMMIT")
        found = connection.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
        if found != (FORMAT,):
            raise UsageError(
                f"{self.address}: not a log that this version can read", cure="upgrade, or choose a new file"
            )
