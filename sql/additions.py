"""What a plan's ddl will add, read from its text: columns with their types, tables, unique keys. Pure pglast."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from pglast import enums, parser
from pglast.stream import RawStream

from sql.errors import PlanError
from sql.names import Name
from sql.parsetree import ast
from sql.query import line_of


@dataclass(frozen=True, slots=True)
class AddedColumn:
    """A column that the ddl adds. `type` as it is written there."""

    name: str
    type: str
    not_null: bool
    has_default: bool


@dataclass(slots=True)
class Additions:
    """Everything that a ddl adds to tables, by table; `created`: tables that it makes."""

    columns: dict[Name, dict[str, AddedColumn]] = field(default_factory=dict)
    unique: dict[Name, list[frozenset[str]]] = field(default_factory=dict)
    created: set[Name] = field(default_factory=set)

    def of(self, table: Name) -> dict[str, AddedColumn]:
        """The columns that it adds to one table."""
        return self.columns.get(table, {})


def read_additions(text: str, file: str | None = None, there: Collection[Name] = ()) -> Additions:
    """Read a ddl; statements that add nothing to a table are passed over, and CREATE TABLE of one that is `there`: it
    has what it has by now. Raises PlanError when it is not SQL."""
    try:
        statements = parser.parse_sql(text)
    except parser.ParseError as error:
        at = error.args[1] if len(error.args) > 1 and isinstance(error.args[1], int) else 0
        raise PlanError(str(error.args[0]), file=file, line=line_of(text, at)) from None
    found = Additions()
    for raw in statements:
        node: Any = raw.stmt
        if isinstance(node, ast.AlterTableStmt) and node.relation.schemaname:
            for command in node.cmds:
                _definition(Name(node.relation.schemaname, node.relation.relname), command.def_, found)
        elif isinstance(node, ast.CreateStmt) and node.relation.schemaname:
            name = Name(node.relation.schemaname, node.relation.relname)
            found.created.add(name)
            for element in () if name in there else node.tableElts or ():
                _definition(name, element, found)
        elif isinstance(node, ast.IndexStmt) and node.unique and node.whereClause is None and node.relation.schemaname:
            columns = [element.name for element in node.indexParams]
            if all(columns):
                name = Name(node.relation.schemaname, node.relation.relname)
                found.unique.setdefault(name, []).append(frozenset(columns))
    return found


def _definition(table: Name, node: Any, found: Additions) -> None:
    unique = (enums.ConstrType.CONSTR_PRIMARY, enums.ConstrType.CONSTR_UNIQUE)
    if isinstance(node, ast.Constraint) and node.contype in unique and node.keys and not node.deferrable:
        found.unique.setdefault(table, []).append(frozenset(key.sval for key in node.keys))
    if not isinstance(node, ast.ColumnDef):
        return
    kinds = [constraint.contype for constraint in node.constraints or ()]
    filled = (enums.ConstrType.CONSTR_DEFAULT, enums.ConstrType.CONSTR_IDENTITY, enums.ConstrType.CONSTR_GENERATED)
    not_null = enums.ConstrType.CONSTR_NOTNULL in kinds or enums.ConstrType.CONSTR_PRIMARY in kinds
    written = RawStream()(node.typeName)
    serial = written.lower() in ("serial", "bigserial", "smallserial", "serial4", "serial8", "serial2")
    collation = f" COLLATE {RawStream()(node.collClause).split(None, 1)[1]}" if node.collClause else ""
    found.columns.setdefault(table, {})[node.colname] = AddedColumn(
        node.colname, written + collation, not_null, serial or any(kind in filled for kind in kinds)
    )
    if any(kind in unique for kind in kinds):
        found.unique.setdefault(table, []).append(frozenset({node.colname}))
