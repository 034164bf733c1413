"""May the ranges of a comparison be written into the mapping's sources? Asked once, of the view that is there."""

from __future__ import annotations

from functools import partial

import psycopg

from reconcile.session import patiently
from sql.catalog import Table, read_aggregates, read_tables, read_types, read_view
from sql.compile import shape
from sql.connection import Connection
from sql.errors import PlanError
from sql.files import load
from sql.model import Column, Move
from sql.names import Name
from sql.narrowed import Narrowed, narrow
from sql.query import tables_of


def ranged(conn: Connection, move: Move) -> Narrowed | None:
    """The mapping as the view has it, for ranges to be written into; None: read the view.

    The text is PostgreSQL's own of the view, every name in it qualified. The view is read where it is not the mapping
    of this plan, where its sources are no plain tables, where a policy may show the session other rows than the view's
    owner, where the session may not read the sources, and where what it would read has other columns or types.
    """
    try:
        return patiently(partial(_ranged, conn, move))
    except (PlanError, psycopg.ProgrammingError, psycopg.NotSupportedError, psycopg.DataError):
        return None


def _ranged(conn: Connection, move: Move) -> Narrowed | None:
    with conn.transaction():
        # Every name is qualified then, and no digit of a constant is lost.
        conn.execute("SET LOCAL search_path = pg_catalog; SET LOCAL extra_float_digits = 1", prepare=False)
        row = conn.execute(load("reconcile/definition").encode(), {"view": move.view.sql, "mark": move.mark}).fetchone()
        if row is None:
            return None
        oid, text = int(row[0]), str(row[1]).strip().removesuffix(";")
        tables = read_tables(conn, tables_of(text))
        if any(table.kind not in ("r", "p") or table.row_security for table in tables.values()):
            return None
        types = read_types(conn, (column for table in tables.values() for column in table.columns))
        columns = {column.name: column for column in read_view(conn, oid)[0]}
        if any(it.name not in columns for it in move.key):
            return None
        key = [columns[it.name] for it in move.key]
        shapes = {name: shape(table, types) for name, table in tables.items()}
        found = narrow(text, tuple(it.name for it in key), shapes, partial(_same, tables, key), read_aggregates(conn))
    if found is None:
        return None
    whole = found.query(lambda keys: " AND ".join(f"{it} IS NOT NULL" for it in keys))
    return found if _yields(conn, f"({whole}) r") == _yields(conn, f"{move.view} r") else None


def _same(tables: dict[Name, Table], key: list[Column], table: Name, name: str, at: int) -> bool:
    column = tables[table].column(name)
    return column is not None and (column.type_oid, column.collation) == (key[at].type_oid, key[at].collation)


def _yields(conn: Connection, relation: str) -> list[tuple[object, ...]]:
    """Names and types; reads no row, and fails as reading would where a right is missing."""
    cursor = conn.execute(f"SELECT * FROM {relation} LIMIT 0".encode(), prepare=False)
    return [(it.name, it.type_code, it.precision, it.scale) for it in cursor.description or ()]
