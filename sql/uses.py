"""Which tables and columns a plan's own statement reads and writes, as far as its text tells."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pglast

from sql.names import Name
from sql.parsetree import ast, walk

_PARAMETER = re.compile(r"(?<![:\w]):(keys|key\d+|since|until)\b")


@dataclass(slots=True)
class Use:
    """One table. `columns`: every column name that the statement mentions, whosesoever it is; None: all (a star).

    `updates`: the columns that it assigns; `inserts`, `deletes`: whether it does.
    """

    columns: frozenset[str] | None
    updates: set[str] = field(default_factory=set)
    inserts: bool = False
    deletes: bool = False


def uses(text: str) -> dict[Name, Use]:
    """The schema-qualified tables of one or more statements. Names without a schema are common table expressions."""
    found: dict[Name, Use] = {}
    for raw in pglast.parse_sql(_PARAMETER.sub("NULL", text)):
        nodes = list(walk(raw.stmt))
        mentioned = _mentioned(nodes)
        for node in nodes:
            if isinstance(node, ast.RangeVar) and node.schemaname is not None:
                use = found.setdefault(Name(node.schemaname, node.relname), Use(mentioned))
                use.columns = None if use.columns is None or mentioned is None else use.columns | mentioned
        for node in nodes:
            _written(node, found)
    return found


def written(text: str) -> set[tuple[str | None, str]]:
    """The relations that one or more statements write, each as (schema or None, name)."""
    nodes = [node for raw in pglast.parse_sql(_PARAMETER.sub("NULL", text)) for node in walk(raw.stmt)]
    writes = [node for node in nodes if isinstance(node, ast.UpdateStmt | ast.InsertStmt | ast.DeleteStmt)]
    return {(node.relation.schemaname, node.relation.relname) for node in writes}


def _mentioned(nodes: list[object]) -> frozenset[str] | None:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.ColumnRef):
            if isinstance(node.fields[-1], ast.A_Star):
                return None
            names.update(part.sval for part in node.fields)  # a column's composite field comes after its name
        elif isinstance(node, ast.JoinExpr) and node.usingClause:
            names.update(part.sval for part in node.usingClause)
    return frozenset(names)


def _written(node: object, found: dict[Name, Use]) -> None:
    if not isinstance(node, ast.UpdateStmt | ast.InsertStmt | ast.DeleteStmt) or node.relation.schemaname is None:
        return
    use = found[Name(node.relation.schemaname, node.relation.relname)]
    if isinstance(node, ast.UpdateStmt):
        use.updates.update(target.name for target in node.targetList)
    use.inserts |= isinstance(node, ast.InsertStmt)
    use.deletes |= isinstance(node, ast.DeleteStmt)
