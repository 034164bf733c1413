"""Let PostgreSQL itself say what a plan's statements yield: temporary views that are rolled back at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import psycopg
from pglast import parser

from sql.additions import Additions
from sql.catalog import Function, Table, read_view
from sql.connection import Connection
from sql.errors import PlanError
from sql.mapping import MappingAnalysis
from sql.model import Column
from sql.names import Name, quote
from sql.query import line_of, statement
from sql.spec import MoveSpec, SqlFile

_VIEW = "cutover_understood"
_CREATE = f"CREATE TEMPORARY VIEW {_VIEW} AS "
_PARAMETER = re.compile(r"(?<![:\w]):(keys|key\d+|since|until)\b")


def describe_mapping(
    conn: Connection, spec: MoveSpec, tables: Mapping[Name, Table], analysis: MappingAnalysis, additions: Additions
) -> tuple[dict[str, Column], tuple[Function, ...]]:
    """The mapping's columns and the functions that it calls. Raises PlanError with PostgreSQL's objection.

    Where the mapping reads columns that only the ddl will add, they are added inside that transaction too.
    """
    missing = _missing(tables, analysis, additions)
    try:
        with conn.transaction(force_rollback=True):
            conn.execute("SET LOCAL lock_timeout = '100ms'", prepare=False)
            for name, absent in missing.items():
                adds = ", ".join(f"ADD COLUMN {quote(it)} {additions.of(name)[it].type}" for it in absent)
                conn.execute(f"ALTER TABLE {name} {adds}".encode(), prepare=False)
            conn.execute("SET LOCAL lock_timeout = 0", prepare=False)
            columns, functions = _view(conn, analysis.text)
    except psycopg.errors.InsufficientPrivilege:
        raise
    except (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError) as error:
        raise _objection(error, spec.mapping, statement(spec.mapping.text)[2]) from error
    return {column.name: column for column in columns}, functions


def describe_added(conn: Connection, additions: Additions, target: Name) -> dict[str, Column]:
    """The columns that the ddl adds to the target, typed; one of a type that the ddl itself creates is left out."""
    found: dict[str, Column] = {}
    for column in additions.of(target).values():
        try:
            with conn.transaction(force_rollback=True):
                (described,), _ = _view(conn, f"SELECT NULL::{column.type} AS value")
        except (psycopg.ProgrammingError, psycopg.DataError):  # a finding of sql.ddl_types
            continue
        found[column.name] = replace(described, name=column.name, not_null=column.not_null)
    return found


def describe_due(conn: Connection, spec: MoveSpec) -> tuple[Column, ...] | None:
    """What the refresh's statement yields; None while it reads what `prepare` has yet to make. Raises PlanError."""
    if spec.refresh is None:
        return None
    file = spec.refresh.keys
    _, text, offset = statement(_PARAMETER.sub("NULL::timestamptz", file.text), file.file)
    try:
        with conn.transaction(force_rollback=True):
            return _view(conn, text)[0]
    except psycopg.errors.InsufficientPrivilege:
        raise
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        if spec.ddl is not None or "cutover." in text:
            return None
        raise _objection(error, file, offset) from error
    except psycopg.ProgrammingError as error:
        raise _objection(error, file, offset) from error


def refuse_invariants(conn: Connection, file: str, spec: MoveSpec, *, pending: bool) -> None:
    """Each side of each invariant is a statement that PostgreSQL takes. Raises PlanError with its name.

    `pending`: what the ddl adds is not there yet, so that nothing can be said of names that are unknown.
    """
    for number, invariant in enumerate(spec.invariants):
        for side, text in (("legacy", invariant.legacy), ("consolidated", invariant.consolidated)):
            try:
                with conn.transaction(force_rollback=True):
                    conn.execute(f"EXPLAIN {text}".encode(), prepare=False)  # its columns may share a name
            except psycopg.errors.InsufficientPrivilege:
                raise
            except (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError) as error:
                unknown = isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn)
                if unknown and (pending or "cutover." in text):  # what prepare has yet to make
                    continue
                message = f"invariant {invariant.name!r}, {side}: {error.diag.message_primary or error}"
                raise PlanError(
                    message, file=file, line=spec.line("invariants", str(number), side), cure=error.diag.message_hint
                ) from error


def refuse_broken(spec: MoveSpec) -> None:
    """Statements that only `prepare` can ask PostgreSQL about are at least SQL, and say for which keys.

    Raises PlanError with file and line.
    """
    if spec.quarantine is not None:
        statement(spec.quarantine.text, spec.quarantine.file)
    if spec.annotate is None:
        return
    file = spec.annotate
    try:
        count = len(parser.parse_sql(_PARAMETER.sub("NULL", file.text)))
    except parser.ParseError as error:
        at = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else 0
        raise PlanError(str(error.args[0]), file=file.file, line=line_of(file.text, at)) from None
    needed = ["keys"] if len(spec.key) == 1 else [f"key{at + 1}" for at in range(len(spec.key))]
    if count != 1 or not set(needed) & {"key1", *needed} & set(_PARAMETER.findall(file.text)):
        cure = f"write one UPDATE whose WHERE uses :{', :'.join(needed)} (arrays of the key's type)"
        raise PlanError("expected one statement for the keys just converged", file=file.file, line=1, cure=cure)


def _view(conn: Connection, text: str) -> tuple[tuple[Column, ...], tuple[Function, ...]]:
    conn.execute((_CREATE + text).encode(), prepare=False)
    row = conn.execute(f"SELECT 'pg_temp.{_VIEW}'::regclass::oid::int8".encode(), prepare=False).fetchone()
    assert row is not None
    return read_view(conn, row[0])


def _missing(tables: Mapping[Name, Table], analysis: MappingAnalysis, additions: Additions) -> dict[Name, list[str]]:
    found: dict[Name, list[str]] = {}
    for name, column in sorted({read for output in analysis.outputs for read in output.reads}):
        if tables[name].column(column) is None and column in additions.of(name):
            found.setdefault(name, []).append(column)
    return found


def _objection(error: psycopg.Error, file: SqlFile, offset: int) -> PlanError:
    """What PostgreSQL says of a statement, at its line of the file."""
    position = error.diag.statement_position
    at = offset + max(int(position) - 1 - len(_CREATE), 0) if position else offset
    message = error.diag.message_primary or str(error)
    return PlanError(message, file=file.file, line=line_of(file.text, at), cure=error.diag.message_hint)
