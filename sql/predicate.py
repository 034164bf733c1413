"""A condition that somebody types: one boolean expression over a move's columns, to be evaluated on both sides."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from pglast import parser

from sql.connection import Connection
from sql.errors import UsageError
from sql.model import Move
from sql.names import quote
from sql.parsetree import ast, walk

_HEAD = "SELECT 1 WHERE ("
_TAIL = "\n)"  # on a line of its own: the expression may end in a comment


@dataclass(frozen=True, slots=True)
class Predicate:
    """`text` as it was typed, `sql` with its columns taken from the relation `r`."""

    text: str
    sql: str


def read_predicate(conn: Connection, move: Move, text: str) -> Predicate:
    """Understand the condition. Reads only.

    Raises UsageError with the place of what is not one boolean expression over the move's columns: sub-queries,
    aggregates, parameters, volatile functions, unknown or masked columns.
    """
    expression = _parsed(text)
    references = []
    functions = set()
    for node in walk(expression):
        if isinstance(node, ast.SubLink):
            raise _refused(text, node, "a sub-query reads more than the row")
        if isinstance(node, ast.ParamRef):
            raise _refused(text, node, "there are no parameters here")
        if isinstance(node, ast.FuncCall):
            functions.add(str(node.funcname[-1].sval))
        if isinstance(node, ast.ColumnRef):
            _refuse_unknown(text, node, move)
            references.append(node.location)
    _refuse_volatile(conn, text, expression, functions)
    found = Predicate(text, _qualified(text, references))
    for relation in (move.view, move.target):
        _try(conn, found, f"EXPLAIN SELECT FROM {relation} r WHERE ", references)
    return found


def _parsed(text: str) -> Any:
    try:
        statements = parser.parse_sql(_HEAD + text + _TAIL)
    except parser.ParseError as error:
        at = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else len(_HEAD)
        raise _wrong(text, at - len(_HEAD), str(error.args[0])) from None
    stmt = statements[0].stmt if len(statements) == 1 else None
    if not isinstance(stmt, ast.SelectStmt) or stmt.whereClause is None or _more(stmt):
        raise _wrong(text, 0, "this is more than one expression")
    return stmt.whereClause


def _more(stmt: Any) -> bool:
    """Is there anything of a SELECT besides its WHERE? Then a parenthesis of the text has closed ours."""
    clauses = ("fromClause", "groupClause", "havingClause", "windowClause", "sortClause", "limitCount", "limitOffset")
    others = ("lockingClause", "withClause", "valuesLists", "larg", "rarg", "distinctClause", "intoClause")
    return any(getattr(stmt, name) for name in (*clauses, *others))


def _refuse_unknown(text: str, node: Any, move: Move) -> None:
    if len(node.fields) != 1 or isinstance(node.fields[0], ast.A_Star):
        raise _refused(text, node, "columns are named alone, without their table")
    name = node.fields[0].sval
    known = [column.name for column in (*move.key, *move.columns)]
    if name in move.mask:
        raise _refused(text, node, f"{quote(name)} is masked, and a condition on it would tell its values")
    if name not in known:
        folded = {column.lower(): column for column in known}
        near = difflib.get_close_matches(name.lower(), folded, 1, 0.5)
        listed = ", ".join(map(quote, known))
        cure = f"did you mean {quote(folded[near[0]])}?" if near else f"the columns of {move.name}: {listed}"
        raise _refused(text, node, f"{move.name} has no column {quote(name)}", cure)


def _refuse_volatile(conn: Connection, text: str, expression: Any, functions: set[str]) -> None:
    """Whatever else is called cannot write: the comparison's transactions are READ ONLY."""
    rows = conn.execute(
        "SELECT DISTINCT proname::text FROM pg_catalog.pg_proc WHERE proname = ANY (%s) AND provolatile = 'v'",
        (sorted(functions),),
    ).fetchall()
    volatile = {name for (name,) in rows}
    for node in walk(expression):
        if isinstance(node, ast.FuncCall) and node.funcname[-1].sval in volatile:
            raise _refused(text, node, f"{node.funcname[-1].sval} is volatile: both sides would not be asked the same")


def _qualified(text: str, locations: Iterable[int]) -> str:
    """The text with `r.` in front of every column; locations are characters of the whole statement."""
    found = text
    for at in sorted({location - len(_HEAD) for location in locations}, reverse=True):
        found = f"{found[:at]}r.{found[at:]}"
    return found


def _try(conn: Connection, predicate: Predicate, head: str, references: list[int]) -> None:
    """Let PostgreSQL type it: types, names of functions, aggregates, sets."""
    try:
        with conn.transaction(force_rollback=True):
            conn.execute("SET TRANSACTION READ ONLY", prepare=False)
            conn.execute(f"{head}({predicate.sql}{_TAIL}".encode(), prepare=False)
    except (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError) as error:
        at = int(error.diag.statement_position or 0) - len(head) - 2
        starts = sorted(place - len(_HEAD) for place in references)
        shifted = 2 * sum(start + 2 * before < at for before, start in enumerate(starts))  # the `r.` of those before
        raise _wrong(predicate.text, at - shifted, error.diag.message_primary or str(error)) from None


def _refused(text: str, node: Any, why: str, cure: str | None = None) -> UsageError:
    return _wrong(text, (node.location or len(_HEAD)) - len(_HEAD), why, cure)


def _wrong(text: str, at: int, why: str, cure: str | None = None) -> UsageError:
    """`at`: characters into the text."""
    before = text[: max(0, at)]
    line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
    near = text[len(before) :].split("\n")[0][:30]
    return UsageError(
        f"--where {line}:{column}: {why}" + (f", at {near!r}" if near else ""),
        cure=cure or "one condition, as after WHERE, over the target's columns: price > 10 AND currency = 'EUR'",
    )
