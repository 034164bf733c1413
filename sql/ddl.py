"""A plan's own DDL: read with pglast, refused unless it is additive and online, run so that a rerun does nothing.

Additive: nothing that exists is dropped, renamed, retyped or written. Online: no statement scans or rewrites a table
under a lock that the application would wait for; indexes are built CONCURRENTLY, constraints come NOT VALID first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import psycopg
from pglast import ast, enums, parser
from pglast.stream import RawStream
from pglast.visitors import Visitor

from sql.connection import Connection, transient
from sql.errors import PlanError, Refused
from sql.lock import LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS, Mode, build_patiently, with_lock
from sql.names import Name, quote

Kind = Literal["schema", "table", "columns", "index", "sequence", "type", "extension", "note"]

_CONSTANT: Final = (enums.ConstrType.CONSTR_NULL, enums.ConstrType.CONSTR_NOTNULL, enums.ConstrType.CONSTR_DEFAULT)
_SERIAL: Final = frozenset({"serial", "bigserial", "smallserial", "serial4", "serial8", "serial2"})
_EXISTS: Final[dict[Kind, str]] = {
    "schema": "SELECT to_regnamespace(%s) IS NOT NULL",
    "table": "SELECT to_regclass(%s) IS NOT NULL",
    "sequence": "SELECT to_regclass(%s) IS NOT NULL",
    "type": "SELECT to_regtype(%s) IS NOT NULL",
    "extension": "SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = %s)",
}


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a plan's DDL. `name` is what it creates, as SQL; `table` what it locks."""

    kind: Kind
    text: str
    name: str
    line: int
    table: Name | None = None
    node: Any = None


def read_ddl(text: str, file: str | None = None) -> list[Statement]:
    """Parse a plan's DDL. Raises PlanError when it is not SQL, Refused when it is not additive or not online."""
    try:
        parsed = parser.parse_sql(text)
    except parser.ParseError as error:
        at = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else 0
        raise PlanError(str(error.args[0]), file=file, line=text.count("\n", 0, at) + 1) from error
    statements: list[Statement] = []
    for raw in parsed:
        piece, line = _slice(text, raw)
        try:
            statements.append(_read(raw.stmt, piece, line, statements))
        except _Objection as objection:
            raise Refused(f"{file or 'ddl'}:{line}: {objection.args[0]}", cure=objection.args[1]) from None
    return statements


def run_ddl(
    conn: Connection,
    text: str,
    *,
    file: str | None = None,
    lock_timeout_ms: int = LOCK_TIMEOUT_MS,
    after: Callable[[], object] = lambda: None,
) -> list[str]:
    """Run what is not there yet, each statement by itself; returns what was run. `after` is called after each.

    `conn` is in autocommit mode. Raises as `read_ddl` does, Refused with file and line when PostgreSQL does not take a
    statement, Busy when a lock cannot be had.
    """
    statements = read_ddl(text, file)
    for statement in statements:
        _refuse_rewrite(conn, statement, file)
    done: list[str] = []
    for statement in statements:
        for piece in _pending(conn, statement):
            with _placed(statement, file):
                if statement.kind == "index" and statement.node.concurrent:
                    build_patiently(conn, [statement.table] if statement.table else [], piece)
                else:
                    _under_lock(conn, statement, piece, lock_timeout_ms)
            done.append(piece)
            after()
    return done


@contextmanager
def _placed(statement: Statement, file: str | None) -> Iterator[None]:
    """What PostgreSQL does not take names file, line and cure. A lock or a lost connection is not the statement's."""
    try:
        yield
    except psycopg.Error as error:
        if transient(error) or error.sqlstate is None:
            raise
        cure = error.diag.message_hint or "write it so that PostgreSQL takes it, or make by hand what it lacks"
        if isinstance(error, psycopg.errors.InvalidSchemaName):
            cure = "CREATE SCHEMA before it in the ddl, or by hand"
        elif (error.sqlstate or "").startswith("23"):  # never the detail, which has values
            cure = "mend the rows that are there and break it, or leave it out"
        message = f"{statement.kind} {statement.name}: {error.diag.message_primary or error} ({error.sqlstate})"
        raise Refused(f"{file or 'ddl'}:{statement.line}: {message}", cure=f"{cure}; then cutover prepare") from error


def _under_lock(conn: Connection, statement: Statement, piece: str, lock_timeout_ms: int) -> None:
    validates = statement.kind == "columns" and "VALIDATE CONSTRAINT" in piece
    mode: Mode = "SHARE UPDATE EXCLUSIVE" if validates or statement.kind == "note" else "ACCESS EXCLUSIVE"
    tables = [statement.table] if statement.table is not None else []
    with_lock(
        conn,
        tables,
        lambda conn: conn.execute(piece.encode(), prepare=False),
        mode=mode,
        lock_timeout_ms=lock_timeout_ms,
        # Validating reads the whole table, under a lock that blocks neither reads nor writes.
        statement_timeout_ms=0 if validates else STATEMENT_TIMEOUT_MS,
    )


def _pending(conn: Connection, statement: Statement) -> Iterator[str]:
    """The statement's text unless what it creates is there; of an ALTER TABLE, the actions that are still to do."""
    if statement.kind == "note":
        yield statement.text
    elif statement.kind == "index":
        yield from _pending_index(conn, statement)
    elif statement.kind == "columns":
        yield from _pending_actions(conn, statement)
    elif not _true(conn, _EXISTS[statement.kind], statement.name):
        yield statement.text


def _pending_index(conn: Connection, statement: Statement) -> Iterator[str]:
    row = conn.execute(
        "SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = to_regclass(%s)", (statement.name,)
    ).fetchone()
    if row is not None and not row[0]:  # left behind by a build that was killed
        yield (
            f"DROP INDEX CONCURRENTLY {statement.name}" if statement.node.concurrent else f"DROP INDEX {statement.name}"
        )
    if row is None or not row[0]:
        yield statement.text


def _pending_actions(conn: Connection, statement: Statement) -> Iterator[str]:
    assert statement.table is not None
    adding: list[Any] = []
    for action in statement.node.cmds:
        if action.subtype == enums.AlterTableType.AT_ValidateConstraint:
            continue
        if not _there(conn, statement.table, action):
            adding.append(action)
    if adding:
        yield _alter(statement, adding)
    for action in statement.node.cmds:  # each by itself: its lock is weaker than the others', and held for long
        if action.subtype == enums.AlterTableType.AT_ValidateConstraint and not _valid(
            conn, statement.table, action.name
        ):
            yield _alter(statement, [action])


def _alter(statement: Statement, actions: Sequence[Any]) -> str:
    node = statement.node
    reduced = ast.AlterTableStmt(
        relation=node.relation, cmds=tuple(actions), objtype=node.objtype, missing_ok=node.missing_ok
    )
    return str(RawStream()(reduced))


def _there(conn: Connection, table: Name, action: Any) -> bool:
    if action.subtype == enums.AlterTableType.AT_AddColumn:
        query = (
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s"
            " AND attnum > 0 AND NOT attisdropped)"
        )
        return _true(conn, query, table.sql, action.def_.colname)
    if action.subtype == enums.AlterTableType.AT_AddConstraint:
        query = "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conrelid = to_regclass(%s) AND conname = %s)"
        return _true(conn, query, table.sql, action.def_.conname)
    return False


def _valid(conn: Connection, table: Name, constraint: str) -> bool:
    query = (
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint"
        " WHERE conrelid = to_regclass(%s) AND conname = %s AND convalidated)"
    )
    return _true(conn, query, table.sql, constraint)


def _true(conn: Connection, query: str, *parameters: str) -> bool:
    row = conn.execute(query.encode(), parameters).fetchone()
    return bool(row and row[0])


class _Objection(Exception):
    """Why a statement is refused, and what to write instead."""


_SHOWN: Final = 120  # characters of a statement: two names in quotes fit
_ADDITIVE: Final = "the target's DDL may only add; do the rest by hand, outside the plan"


def _read(node: Any, text: str, line: int, before: Sequence[Statement]) -> Statement:
    shape = node  # matched on its class; `node` stays untyped, as pglast's attributes are filled in at run time
    match shape:
        case ast.CreateSchemaStmt() if not node.schemaElts:
            return Statement("schema", text, quote(node.schemaname or _role(node.authrole)), line)
        case ast.CreateStmt():
            name = _name(node.relation)
            return Statement("table", text, name.sql, line, node=node)
        case ast.AlterTableStmt() if node.objtype == enums.ObjectType.OBJECT_TABLE:
            return _columns(node, text, line, before)
        case ast.IndexStmt():
            return _index(node, text, line, before)
        case ast.CreateSeqStmt():
            return Statement("sequence", text, _name(node.sequence).sql, line)
        case ast.CreateEnumStmt():
            return Statement("type", text, _dotted(node.typeName), line)
        case ast.CreateDomainStmt():
            return Statement("type", text, _dotted(node.domainname), line, node=node)
        case ast.CreateExtensionStmt():
            return Statement("extension", text, node.extname, line, node=node)
        case ast.CommentStmt():
            return Statement("note", text, "comment", line)
        case ast.GrantStmt() if node.is_grant:
            return Statement("note", text, "grant", line)
    said = " ".join(line.strip() for line in text.splitlines())
    raise _Objection(f"{said if len(said) <= _SHOWN else said[:_SHOWN] + ' …'} is not additive", _ADDITIVE)


def _role(role: Any) -> str:
    """The role after which a schema without a name is named."""
    if role.roletype != enums.RoleSpecType.ROLESPEC_CSTRING:
        raise _Objection(
            "a schema named after whoever runs this is another one for each role", "CREATE SCHEMA name AUTHORIZATION …"
        )
    return str(role.rolename)


def _columns(node: Any, text: str, line: int, before: Sequence[Statement]) -> Statement:
    table = _name(node.relation)
    new = any(each.kind == "table" and each.name == table.sql for each in before)
    for action in node.cmds:
        _check_action(action, new)
    return Statement("columns", text, table.sql, line, table, node)


def _index(node: Any, text: str, line: int, before: Sequence[Statement]) -> Statement:
    table = _name(node.relation)
    if node.idxname is None:
        raise _Objection("an index needs a name, so that it is not built twice", "CREATE INDEX CONCURRENTLY name ON …")
    new = any(each.kind == "table" and each.name == table.sql for each in before)
    if not node.concurrent and not new:
        raise _Objection(
            f"CREATE INDEX {quote(node.idxname)} blocks all writes to {table.sql} while it is built",
            "CREATE INDEX CONCURRENTLY",
        )
    return Statement("index", text, Name(table.schema, node.idxname).sql, line, table, node)


def _check_action(action: Any, new_table: bool) -> None:
    kind = enums.AlterTableType
    if action.subtype == kind.AT_AddColumn:
        _check_column(action.def_, new_table)
    elif action.subtype == kind.AT_AddConstraint:
        constraint = action.def_
        if constraint.conname is None:
            raise _Objection("a constraint needs a name, so that it is not added twice", "ADD CONSTRAINT name …")
        if not (new_table or constraint.skip_validation or constraint.indexname):
            raise _Objection(
                f"adding {quote(constraint.conname)} reads the whole table under a lock",
                "ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT; UNIQUE and PRIMARY KEY … USING INDEX",
            )
    elif action.subtype not in (kind.AT_ValidateConstraint, kind.AT_SetStatistics, kind.AT_SetRelOptions) and not (
        action.subtype == kind.AT_ColumnDefault and action.def_ is not None
    ):
        raise _Objection(f"{action.subtype.name.removeprefix('AT_')} is not additive", _ADDITIVE)


def _check_column(column: Any, new_table: bool) -> None:
    if new_table:
        return
    name = quote(column.colname)
    if column.typeName.names[-1].sval in _SERIAL:
        raise _Objection(f"{name} is a serial: adding it rewrites the table", "add the column, then its default")
    for constraint in column.constraints or ():
        if constraint.contype not in _CONSTANT:
            raise _Objection(
                f"{name} comes with a constraint that reads or rewrites the table under a lock",
                "add the column plain; the constraint afterwards, NOT VALID or USING INDEX",
            )


def _refuse_rewrite(conn: Connection, statement: Statement, file: str | None) -> None:
    """A volatile default makes ADD COLUMN rewrite the table; only the catalog knows which functions are volatile."""
    if statement.kind != "columns":
        return
    functions = _Functions()
    for action in statement.node.cmds:
        if action.subtype == enums.AlterTableType.AT_AddColumn:
            functions(action.def_)
    if not functions.names:
        return
    query = "SELECT min(proname::text) FROM pg_catalog.pg_proc WHERE proname = ANY (%s) AND provolatile = 'v'"
    row = conn.execute(query, (sorted(functions.names),)).fetchone()
    if row is not None and row[0] is not None and _true(conn, _EXISTS["table"], statement.name):
        raise Refused(
            f"{file or 'ddl'}:{statement.line}: the default {row[0]}() is volatile: adding the column rewrites"
            f" {statement.name} under a lock",
            cure="ADD COLUMN without the default, then ALTER COLUMN … SET DEFAULT",
        )


class _Functions(Visitor):
    """Collects the functions that an expression calls."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def visit_FuncCall(self, ancestors: Any, node: Any) -> None:
        self.names.add(node.funcname[-1].sval)


def _name(relation: Any) -> Name:
    if relation.schemaname is None:
        raise _Objection(f"{quote(relation.relname)} needs its schema", f"schema.{quote(relation.relname)}")
    return Name(relation.schemaname, relation.relname)


def _dotted(parts: Any) -> str:
    return ".".join(quote(part.sval) for part in parts)


def _slice(text: str, raw: Any) -> tuple[str, int]:
    """The statement's own text and the line it begins on. Locations are in characters, as pglast gives them."""
    start = raw.stmt_location or 0
    end = start + raw.stmt_len if raw.stmt_len else len(text)
    piece = text[start:end]
    lead = len(piece) - len(_without_comments(piece))
    return piece[lead:].strip(), text.count("\n", 0, start + lead) + 1


def _without_comments(text: str) -> str:
    while True:
        text = text.lstrip()
        if text.startswith("--"):
            text = text.partition("\n")[2]
        elif text.startswith("/*"):
            text = text.partition("*/")[2]
        else:
            return text
