"""Where the demo plays: a database, a log and a copy of the plan under a name of its own, all gone afterwards."""

from __future__ import annotations

import re
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import IO

from psycopg import conninfo, sql
from psycopg.errors import InsufficientPrivilege

from cdc.log import Log
from cutover.demo.workload import Workload, load_workload
from cutover.embedded import ThrowawayPostgres
from cutover.plan import load_plan, plan_folder
from cutover.settings import Settings, open_settings_log
from sql.connection import connect
from sql.errors import CutoverError

_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
_DROP_SLOTS = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s AND NOT active"
_SLOTS = "SELECT count(*) FROM pg_replication_slots WHERE database = %s"
_LEAVE = 10.0  # seconds for a walsender to leave its slot


@dataclass(frozen=True, slots=True)
class Stage:
    """`settings` are of this run: its database, its log, the folder of the plan's copy.

    `reader`: a role for the readers, which may do nothing yet; None where the server's `dsn` may not make one.
    """

    settings: Settings
    workload: Workload
    log: Log
    reader: str | None
    server: str  # in words
    stderr: IO[bytes]  # what the demo's processes log
    messages: Path  # the same, to read


@contextmanager
def stage(settings: Settings) -> Iterator[Stage]:
    """A throwaway PostgreSQL and a SQLite log; where settings name a server or a log, a database and topics there.

    Nothing of it is left, neither in the server nor in the log. Raises UsageError when the plan has no workload.
    """
    source = plan_folder(settings.plan)
    workload = load_workload(source)
    name = load_plan(settings.plan).name
    new = f"{name[:18]}_{secrets.token_hex(3)}"
    with ExitStack() as stack:
        home = None  # a folder that even a demo that is killed does not leave behind
        if settings.dsn:
            reader = make_reader(settings.dsn, f"cutover_demo_{new}")
            stack.callback(drop_reader, settings.dsn, f"cutover_demo_{new}")
            dsn = stack.enter_context(_database(settings.dsn, f"cutover_demo_{new}"))
        else:
            server = stack.enter_context(ThrowawayPostgres())
            dsn, home = server.dsn, server.folder
            reader = make_reader(dsn, f"cutover_demo_{new}")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cutover-demo-", dir=home)))
        copy_plan(source, folder / "plan", name, new)
        given = "log" in settings.model_fields_set
        log_address = settings.log if given else f"sqlite:///{folder / 'log.db'}"
        own = Settings(dsn=dsn, log=log_address, plan=str(folder / "plan"))
        log = stack.enter_context(_log(own, [f"cutover.{new}.{spec.name}" for spec in load_plan(own.plan).moves]))
        messages = folder / "messages"
        stderr = stack.enter_context(messages.open("ab"))
        yield Stage(own, workload, log, reader, _describe(dsn, embedded=not settings.dsn), stderr, messages)


def copy_plan(source: Traversable, target: Path, name: str, new: str) -> None:
    """Copy a plan's folder under another name, which slots, topics and views of the control schema then bear."""
    target.mkdir()
    for entry in source.iterdir():
        if entry.is_dir():
            if entry.name != "__pycache__":
                copy_plan(entry, target / entry.name, name, new)
        elif entry.name.endswith((".sql", ".toml")):
            text = entry.read_text(encoding="utf-8")
            if entry.name == "plan.toml":
                text = re.sub(rf'^name(\s*)=(\s*)"{name}"', rf'name\1=\2"{new}"', text, count=1, flags=re.MULTILINE)
            text = re.sub(rf"\b(map|owned)_{name}_", rf"\1_{new}_", text)
            (target / entry.name).write_text(text, encoding="utf-8")


def make_reader(dsn: str, name: str) -> str | None:
    """Make a role that may do nothing but what it is granted, if the one of the DSN may."""
    role = sql.Identifier(name)
    with connect(dsn, "demo") as conn, suppress(InsufficientPrivilege):
        with conn.transaction():
            conn.execute(sql.SQL("CREATE ROLE {}").format(role))
            conn.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
        return name
    return None


def drop_reader(dsn: str, name: str) -> None:
    """Drop that role, once its database is gone, which had all its rights."""
    with connect(dsn, "demo") as conn:
        conn.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


@contextmanager
def _database(dsn: str, name: str) -> Iterator[str]:
    """A database of this run's own on a given server."""
    with connect(dsn, "demo") as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name)))
    try:
        yield conninfo.make_conninfo(dsn, dbname=name)
    finally:
        _drop(dsn, name)


def _drop(dsn: str, name: str) -> None:
    """Drop the database and its slots, whoever still uses them. Raises CutoverError when a slot stays in use."""
    with connect(dsn, "demo") as conn:
        conn.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        deadline = time.monotonic() + _LEAVE
        while True:
            conn.execute(_TERMINATE, [name])
            conn.execute(_DROP_SLOTS, [name])
            row = conn.execute(_SLOTS, [name]).fetchone()
            if row is None or row[0] == 0:
                break
            if time.monotonic() > deadline:
                raise CutoverError(f"a replication slot of the demo's database {name} is still in use")
            time.sleep(0.02)
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def _log(settings: Settings, topics: list[str]) -> Iterator[Log]:
    log = open_settings_log(settings)
    try:
        yield log
    finally:
        for topic in topics:
            with suppress(CutoverError):  # it may never have been made
                log.delete_topic(topic)
        log.close()


def _describe(dsn: str, *, embedded: bool) -> str:
    with connect(dsn, "demo") as conn:
        row = conn.execute("SELECT current_setting('server_version')").fetchone()
    version = str(row[0]).split()[0] if row else "?"
    return f"{'throwaway ' if embedded else ''}PostgreSQL {version}"
