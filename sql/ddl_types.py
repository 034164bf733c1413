"""What is wrong with a plan's DDL before any of it runs: statements that may not be there, types that are not.

PostgreSQL is asked about every column and domain as it is written, in temporary tables that are rolled back at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, Final

import psycopg
from pglast import enums
from pglast.stream import RawStream

from sql.connection import Connection
from sql.ddl import Statement, read_ddl
from sql.errors import PlanError, Refused
from sql.model import Finding
from sql.names import Name, quote
from sql.parsetree import ast
from sql.spec import SqlFile

_PROBE: Final = "CREATE TEMPORARY TABLE cutover_probe"
_KEPT: Final = (enums.ConstrType.CONSTR_DEFAULT, enums.ConstrType.CONSTR_NULL, enums.ConstrType.CONSTR_NOTNULL)
_TYPES: Final = (
    "SELECT typname::text FROM pg_catalog.pg_type WHERE pg_type_is_visible(oid) AND typtype <> 'p' AND typelem = 0"
    " AND (typrelid = 0 OR typnamespace <> 'pg_catalog'::regnamespace)"
)
_SPOKEN: Final = (
    "bigint", "bigserial", "boolean", "character", "character varying", "decimal", "double precision", "int", "integer",
    "real", "serial", "smallint", "timestamp", "varchar",
)  # fmt: skip


def check_ddl(conn: Connection, ddl: SqlFile | None) -> Iterator[Finding]:
    """Blocking findings with file, line and cure. What the DDL itself makes is taken for right. Raises PlanError when
    it is not SQL."""
    if ddl is None:
        return
    try:
        statements = read_ddl(ddl.text, ddl.file)
    except Refused as refused:  # its message begins with file and line
        file, at, message = str(refused.args[0]).split(":", 2)
        yield Finding("block", "ddl", message.strip(), file=file, line=int(at), cure=refused.hint)
        return
    for statement in statements:
        yield from _unfilled(conn, statement, ddl)
        for what, probe, location in _probes(statement):
            try:
                with conn.transaction(force_rollback=True):
                    conn.execute(f"{_PROBE} ({probe})".encode(), prepare=False)
            except (psycopg.errors.InsufficientPrivilege, PlanError):
                raise
            except (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError) as error:
                if isinstance(error, _UNKNOWN) and _made_here(statements, error):
                    continue
                line = ddl.text.count("\n", 0, location) + 1
                message = f"{what}: {error.diag.message_primary or error}"
                yield Finding("block", "ddl", message, file=ddl.file, line=line, cure=_cure(conn, error))


def _unfilled(conn: Connection, statement: Statement, ddl: SqlFile) -> Iterator[Finding]:
    """Columns that may not be NULL, without a default: the rows that are there would have nothing in them."""
    node: Any = statement.node
    if not isinstance(node, ast.AlterTableStmt) or statement.table is None:
        return
    for action in node.cmds:
        column = action.def_
        if not isinstance(column, ast.ColumnDef):
            continue
        kinds = {each.contype for each in column.constraints or ()}
        if enums.ConstrType.CONSTR_NOTNULL not in kinds or enums.ConstrType.CONSTR_DEFAULT in kinds:
            continue
        if _to_be_added(conn, statement.table, column.colname) and _has_rows(conn, statement.table):
            name = quote(column.colname)
            yield Finding(
                "block", "ddl", f"{statement.table}.{name} is NOT NULL, without a default, and the table has rows",
                file=ddl.file, line=ddl.text.count("\n", 0, column.location) + 1,
                cure=f"give {name} a DEFAULT, or leave NOT NULL out",
            )  # fmt: skip


def _to_be_added(conn: Connection, table: Name, column: str) -> bool:
    row = conn.execute(
        "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = t AND a.attname = %s"
        " AND a.attnum > 0 AND NOT a.attisdropped) FROM to_regclass(%s) t WHERE t IS NOT NULL",
        (column, table.sql),
    ).fetchone()
    return bool(row and row[0])


def _has_rows(conn: Connection, table: Name) -> bool:
    """Whether anybody may see; who may not read it is told of that elsewhere."""
    try:
        with conn.transaction():
            return conn.execute(f"SELECT FROM {table.sql} LIMIT 1".encode(), prepare=False).fetchone() is not None
    except psycopg.errors.InsufficientPrivilege:
        return False


_UNKNOWN: Final = (
    psycopg.errors.UndefinedObject, psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction,
    psycopg.errors.InvalidSchemaName,
)  # fmt: skip


def _made_here(statements: list[Statement], error: psycopg.Error) -> bool:
    """Is it unknown only because the DDL has not made it yet? What an extension brings is not known either."""
    message = error.diag.message_primary or ""
    if any(statement.kind == "extension" for statement in statements):
        return True
    makes = [each.name for each in statements if each.kind in ("schema", "type", "sequence", "table")]
    return any(f'"{made.replace(chr(34), "")}' in message for made in makes)


def _probes(statement: Statement) -> Iterator[tuple[str, str, int]]:
    """What a statement says of types: of what, as the column of a table, and where that stands in the file."""
    node: Any = statement.node
    match node:
        case ast.CreateStmt():
            definitions = [element for element in node.tableElts or () if isinstance(element, ast.ColumnDef)]
        case ast.AlterTableStmt():
            definitions = [action.def_ for action in node.cmds if isinstance(action.def_, ast.ColumnDef)]
        case ast.CreateDomainStmt():
            yield statement.name, f"value {RawStream()(node.typeName)}", node.typeName.location
            return
        case _:
            return
    for column in definitions:
        kept = tuple(each for each in column.constraints or () if each.contype in _KEPT)
        plain = ast.ColumnDef(
            colname=column.colname, typeName=column.typeName, collClause=column.collClause, constraints=kept or None
        )
        yield f"{statement.name}.{quote(column.colname)}", RawStream()(plain), column.location


def _cure(conn: Connection, error: psycopg.Error) -> str:
    message = error.diag.message_primary or ""
    if isinstance(error, psycopg.errors.UndefinedObject) and message.startswith("type "):
        written = message.split('"')[1]
        known = [*_SPOKEN, *(name for (name,) in conn.execute(_TYPES.encode()).fetchall())]
        near = difflib.get_close_matches(written, known, 1)
        if near:
            return f"did you mean {near[0]}?"
        return "a type of PostgreSQL, or one that the ddl creates, with its schema"
    return error.diag.message_hint or "write it so that PostgreSQL takes it"
