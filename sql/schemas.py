"""Schemas that a plan takes for granted: prepare makes none but those that a ddl says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from sql.connection import Connection
from sql.ddl import Statement, read_ddl
from sql.errors import CutoverError
from sql.files import load
from sql.model import Finding
from sql.names import quote, split
from sql.spec import MoveSpec, PlanFolder

CODE = "missing-schema"
_INSTALLED: Final = "SELECT 1 FROM pg_catalog.pg_extension WHERE extname = %s"
CONTROL = "cutover"  # the control schema, which prepare makes


def check_schemas(conn: Connection, folder: PlanFolder) -> Iterator[Finding]:
    """A blocking finding for each move's schema that neither is there nor is made before it is needed: by an earlier
    statement of a ddl, in the order of the plan; for a facade by any, for those come after every ddl."""
    there = {name for (name,) in conn.execute("SELECT nspname::text FROM pg_catalog.pg_namespace").fetchall()} | {
        CONTROL
    }
    for spec in folder.moves:
        yield from _of_ddl(conn, spec, there)
    for spec in folder.moves:
        if spec.facade is not None and spec.facade.schema not in there:
            message = f"the facade {spec.facade} is to be in the schema {quote(spec.facade.schema)}, which is not there"
            line = spec.line("facade")
            cure = schema_cure(spec.facade.schema, spec.ddl.file if spec.ddl else None)
            yield Finding("block", CODE, message, move=spec.name, file=folder.file, line=line, cure=cure)


def _of_ddl(conn: Connection, spec: MoveSpec, there: set[str]) -> Iterator[Finding]:
    told = set[str]()
    for statement in _statements(spec):
        if statement.kind == "schema":
            there.add(split(statement.name)[0])
        elif statement.kind == "extension":
            there |= _of_extension(conn, statement)
        schema = _of_new_extension(conn, statement) if statement.kind == "extension" else schema_of(statement)
        if spec.ddl is None or schema is None or schema in there or schema in told:
            continue
        told.add(schema)
        what = f"the extension {statement.name}" if statement.kind == "extension" else statement.name
        message = f"{what} is to be in the schema {quote(schema)}, which is not there"
        cure = schema_cure(schema)
        yield Finding("block", CODE, message, move=spec.name, file=spec.ddl.file, line=statement.line, cure=cure)


def _options(statement: Statement) -> dict[str, Any]:
    return {option.defname: option.arg for option in statement.node.options or ()}


def _of_new_extension(conn: Connection, statement: Statement) -> str | None:
    """The schema that CREATE EXTENSION … SCHEMA names, of an extension that is not there yet: else nothing is run."""
    schema = _options(statement).get("schema")
    if schema is None or conn.execute(_INSTALLED, (statement.name,)).fetchone():
        return None
    return str(schema.sval)


def _of_extension(conn: Connection, statement: Statement) -> set[str]:
    options = _options(statement)
    version = options["new_version"].sval if "new_version" in options else None
    query = load("catalog/extension_schemas")
    return {name for (name,) in conn.execute(query, {"name": statement.name, "version": version}).fetchall()}


def schema_of(statement: Statement) -> str | None:
    """The schema in which a statement makes something; None where it says none."""
    if statement.table is not None:
        return statement.table.schema
    parts = split(statement.name) if statement.kind in ("table", "sequence", "type") else ()
    return parts[0] if len(parts) == 2 else None


def schema_cure(schema: str, file: str | None = None) -> str:
    """What makes it, and where to write that."""
    where = f"at the head of {file}" if file else "before it in the ddl"
    return f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}; ({where}, or by hand; or another schema, if it is misspelt)"


def _statements(spec: MoveSpec) -> Sequence[Statement]:
    """Of a ddl that cannot be read, or may not be run, other findings tell."""
    try:
        return read_ddl(spec.ddl.text, spec.ddl.file) if spec.ddl else ()
    except CutoverError:
        return ()
