"""The one place that opens connections, for queries and for replication."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import conninfo, pq
from psycopg.pq.abc import PGconn

from sql.errors import Busy, CutoverError, Refused, Unreachable, UsageError
from sql.files import load

Connection = psycopg.Connection[tuple[Any, ...]]

# Keys and captured values are PostgreSQL's text output: these settings make it the same in every session.
# (PostgreSQL documentation, chapter 20.11 "Client Connection Defaults".)
TEXT_OUTPUT = {
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "client_encoding": "UTF8",
    "xmloption": "content",
}
# An administrator may have set these for the database or the role. A startup option goes before ALTER DATABASE … SET
# and ALTER ROLE … SET.
OWN_DEFAULTS = {
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",  # converge looks again after it has locked (DESIGN section 2)
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "row_security": "off",  # rows that a policy hides are an error, and not missing
}
_NETWORK = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
_TRANSACTION_TIMEOUT = 170000  # the version since which there is one
OWN = "cutover"  # prefix of the logical messages by which capture knows the service's own transactions
ANY_MOVE = b"*"  # for whose it is, where such a message does not say
_EMIT_OWN = "SELECT pg_logical_emit_message(true, 'cutover', 'own')"


def parameters(dsn: str, name: str, **settings: str) -> dict[str, Any]:
    """Connection parameters of a libpq string or URL, with this service's session settings added.

    Raises UsageError when libpq cannot read the string; the message never repeats it, it may hold a password.
    """
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise UsageError(
            "the DSN is neither a libpq string nor a postgresql:// URL", cure="see --help on --dsn"
        ) from None
    wanted = {**TEXT_OUTPUT, **OWN_DEFAULTS, **settings}
    options = " ".join(f"-c {key}={_escape(value)}" for key, value in wanted.items())
    given["options"] = " ".join(part for part in (str(given.get("options") or ""), options) if part)
    merged: dict[str, Any] = {**_NETWORK, **given, "application_name": f"cutover {name}"}
    return merged


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def connect(dsn: str, name: str, **settings: str) -> Connection:
    """Open an autocommit session called "cutover <name>"; `settings` are server settings for it.

    Raises Unreachable when the server does not answer or refuses the login.
    """
    try:
        conn = psycopg.connect(**parameters(dsn, name, **settings), autocommit=True)
    except psycopg.OperationalError as error:
        raise unreachable(error) from error
    conn.prepared_max = 500
    _settle(conn, settings)
    return conn


def _settle(conn: Connection, settings: Mapping[str, str]) -> None:
    """What is no plain option: it depends on the server's version, or on what was set."""
    try:
        if conn.info.server_version >= _TRANSACTION_TIMEOUT:
            conn.execute("SET transaction_timeout = 0", prepare=False)
        conn.execute(load("connection/settle"), {"durable": "synchronous_commit" not in settings}, prepare=False)
    except psycopg.OperationalError as error:
        conn.close()
        raise unreachable(error) from error


def connect_replication(dsn: str, name: str) -> PGconn:
    """Open a walsender session of the database (chapter 55.4, "Streaming Replication Protocol")."""
    return _connect_raw(parameters(dsn, name) | {"replication": "database"})


def connect_raw(dsn: str, name: str, **settings: str) -> PGconn:
    """Open a session as `connect` does, for who reads its messages one by one."""
    return _connect_raw(parameters(dsn, name, **settings))


def _connect_raw(settings: dict[str, Any]) -> PGconn:
    pgconn = pq.PGconn.connect(conninfo.make_conninfo("", **settings).encode())
    if pgconn.status != pq.ConnStatus.OK:
        message = pgconn.get_error_message()
        pgconn.finish()
        what = "a replication connection" if "replication" in settings else "the connection"
        raise Unreachable(f"PostgreSQL does not take {what}: {message.strip()}")
    if pgconn.server_version >= _TRANSACTION_TIMEOUT:
        pgconn.exec_(b"SET transaction_timeout = 0")
    return pgconn


_NOT_YET = re.compile(r"starting up|shutting down|not yet accepting connections|in recovery mode")


def unreachable(error: psycopg.Error) -> CutoverError:
    """What a failure to reach PostgreSQL is called here."""
    said = str(error).strip()
    if "FATAL:" in said:  # it answered
        said = said.partition("FATAL:")[2].strip()
        cure = "check the user, the password and dbname in --dsn / CUTOVER_DSN"
        if _NOT_YET.search(said):
            cure = "wait until it is up, and run the same command again"
        if re.search(r'database ".*" does not exist', said):
            cure = "createdb makes it; or another dbname in --dsn / CUTOVER_DSN (by default it is the user's name)"
        return Unreachable(f"PostgreSQL refuses the connection: {said}", cure=cure)
    return Unreachable(
        f"PostgreSQL does not answer: {str(error).strip()}", cure="check --dsn / CUTOVER_DSN and that the server runs"
    )


TRANSIENT = (
    "08",  # connection exception
    "40",  # serialization failure, deadlock
    "53",  # insufficient resources: disk full, out of memory, too many connections
    "55",  # object not in prerequisite state: lock not available
    "57",  # operator intervention: shutdown, cancelled, cannot connect now
    "58",  # system error: I/O
    "25P03",  # idle in transaction timeout
)


def transient(error: psycopg.Error) -> bool:
    """Can trying again help? True for lost connections, locks, shortages (appendix A, "Error Codes")."""
    state = error.sqlstate
    return isinstance(error, psycopg.OperationalError) if state is None else state.startswith(TRANSIENT)


@contextmanager
def own(conn: Connection) -> Iterator[Connection]:
    """A transaction that capture recognises as the service's own: what the service writes is skipped (C12)."""
    with conn.transaction():
        conn.execute(_EMIT_OWN)
        yield conn


_MISSING = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction)


@contextmanager
def translated() -> Iterator[None]:
    """Turn psycopg's errors into this project's tree at the edge of a command."""
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        raise Busy(str(error).strip()) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise Refused(f"PostgreSQL refuses: {str(error).strip()}", cure="grant it, or use another role") from error
    except _MISSING as error:  # dropped or renamed since the plan was prepared
        said = error.diag.message_primary or str(error).strip()
        raise Refused(f"something that the plan names is not there: {said}", cure="cutover doctor") from error
    except psycopg.OperationalError as error:
        raise unreachable(error) from error
