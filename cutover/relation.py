"""Relations as they stand in the database: are they there, and whose do their comments say that they are?"""

from __future__ import annotations

from collections.abc import Iterable

from psycopg import sql

from sql.connection import Connection
from sql.files import load
from sql.names import Name


def exists(conn: Connection, name: Name) -> bool:
    """Is there a relation of this name?"""
    row = conn.execute("SELECT to_regclass(%s) IS NOT NULL", (name.sql,)).fetchone()
    return bool(row and row[0])


def comment(conn: Connection, name: Name) -> str | None:
    """The comment of a relation; empty when it has none, None when there is no such relation."""
    row = conn.execute(
        "SELECT coalesce(obj_description(oid, 'pg_class'), '') FROM pg_catalog.pg_class WHERE oid = to_regclass(%s)",
        (name.sql,),
    ).fetchone()
    return None if row is None else str(row[0])


def set_comment(conn: Connection, kind: str, name: Name, text: str) -> None:
    """Say of a relation whose it is; `kind` as in COMMENT ON."""
    statement = sql.SQL("COMMENT ON {} {} IS {}").format(
        sql.SQL(kind), sql.Identifier(name.schema, name.relation), sql.Literal(text)
    )
    conn.execute(statement, prepare=False)


def do(conn: Connection, statement: str) -> None:
    """Run a statement of DDL."""
    conn.execute(statement.encode(), prepare=False)


def reads_only(conn: Connection, view: Name, tables: Iterable[Name]) -> bool:
    """Does a view read none but the relations that bear these names now?"""
    parameters = {"view": view.sql, "tables": [table.sql for table in tables]}
    return conn.execute(load("prepare/reads"), parameters).fetchone() == (True,)
