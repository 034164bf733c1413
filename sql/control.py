"""The control schema `cutover`: versioned migrations, and the refusal of a schema that is newer than this service."""

from __future__ import annotations

from sql.connection import Connection, own
from sql.errors import Refused
from sql.files import migrations

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('cutover.schema', 0))"


def version(conn: Connection) -> int:
    """The version of the control schema; 0 when there is none."""
    row = conn.execute("SELECT to_regclass('cutover.schema_version')::oid").fetchone()
    if row is None or row[0] is None:
        return 0
    found = conn.execute("SELECT coalesce(max(version), 0) FROM cutover.schema_version").fetchone()
    return int(found[0]) if found else 0


def migrate(conn: Connection) -> int:
    """Bring the control schema up to this service's version; returns it. Idempotent; two at once wait for each other.

    Raises Refused when the schema is newer.
    """
    with own(conn):
        conn.execute(_LOCK)
        conn.execute("CREATE SCHEMA IF NOT EXISTS cutover")
        conn.execute(
            "CREATE TABLE IF NOT EXISTS cutover.schema_version"
            " (version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        at = version(conn)
        _refuse_newer(at)
        for number, text in migrations():
            if number > at:
                conn.execute(text.encode(), prepare=False)
                conn.execute("INSERT INTO cutover.schema_version (version) VALUES (%s)", (number,))
    return latest()


def check(conn: Connection) -> None:
    """Raises Refused unless the control schema is there and exactly of this service's version."""
    at = version(conn)
    _refuse_newer(at)
    if at < latest():
        what = "is not there" if at == 0 else f"is of version {at}, this service needs {latest()}"
        raise Refused(f"the control schema {what}", cure="cutover prepare")


def latest() -> int:
    """The version that this service knows."""
    return migrations()[-1][0]


def _refuse_newer(at: int) -> None:
    if at > latest():
        raise Refused(
            f"the control schema is of version {at}, this service knows {latest()}", hint="upgrade this installation"
        )
