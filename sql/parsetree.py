"""Small questions to a parse tree of pglast."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pglast import ast as _ast
from pglast import enums

ast: Any = _ast  # pglast declares every attribute of every node optional; what the grammar requires is there


def limits(stmt: Any) -> tuple[bool, bool]:
    """Whether there is a LIMIT or OFFSET, and whether it is LIMIT 1."""
    count = stmt.limitCount
    literal = isinstance(count, ast.A_Const) and isinstance(count.val, ast.Integer)
    one = literal and count.val.ival in (0, 1) and stmt.limitOption != enums.LimitOption.LIMIT_OPTION_WITH_TIES
    return count is not None or stmt.limitOffset is not None, one


def parts(node: Any) -> Iterable[Any]:
    """The child nodes of a parse-tree node, flattened."""
    for attribute in node:
        value = getattr(node, attribute)
        if isinstance(value, ast.Node):
            yield value
        elif isinstance(value, tuple | list):
            yield from flat(value)


def flat(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, tuple | list):
            yield from flat(value)
        elif isinstance(value, ast.Node):
            yield value


def walk(node: Any) -> Iterable[Any]:
    if isinstance(node, ast.Node):
        yield node
        for part in parts(node):
            yield from walk(part)


def operator(node: Any) -> str | None:
    """An operator's name, unless it is qualified by a schema other than pg_catalog."""
    if not node.name or (len(node.name) == 2 and node.name[0].sval != "pg_catalog"):
        return None
    return str(node.name[-1].sval)


def pairs(left: Any, right: Any) -> list[tuple[Any, Any]]:
    if isinstance(left, ast.RowExpr) and isinstance(right, ast.RowExpr) and len(left.args) == len(right.args):
        return list(zip(left.args, right.args, strict=True))
    return [(left, right)]


def type_name(node: Any) -> str:
    return str(node.typeName.names[-1].sval)


def named(column: Any) -> bool:
    return bool(getattr(column, "colname", None) or getattr(column, "name", None))


def function_name(item: Any) -> str | None:
    for node in walk(item):
        if isinstance(node, ast.FuncCall):
            return str(node.funcname[-1].sval)
    return None


def output_name(value: Any) -> str:
    """The name that PostgreSQL gives to an unnamed output (FigureColname in parse_target.c)."""
    return _figured(value)[1] or "?column?"


_NOTHING = (0, "")
_CONSTRUCTS = {  # whose outputs are called as they are written
    "A_ArrayExpr": "array", "CoalesceExpr": "coalesce", "GroupingFunc": "grouping", "RowExpr": "row",
    "XmlSerialize": "xmlserialize", "JsonParseExpr": "json", "JsonScalarExpr": "json_scalar",
    "JsonSerializeExpr": "json_serialize", "JsonObjectConstructor": "json_object", "JsonArrayConstructor": "json_array",
    "JsonArrayQueryConstructor": "json_array", "JsonObjectAgg": "json_objectagg", "JsonArrayAgg": "json_arrayagg",
}  # fmt: skip


def _figured(value: Any) -> tuple[int, str]:
    """A name, and how good it is: 0, there is none; 1, a cast around it has a better one; 2, it stays."""
    kind = type(value).__name__
    if kind in _CONSTRUCTS:
        return 2, _CONSTRUCTS[kind]
    if isinstance(value, ast.ColumnRef):
        return (2, str(value.fields[-1].sval)) if isinstance(value.fields[-1], ast.String) else _NOTHING
    if isinstance(value, ast.A_Indirection):
        names = [part.sval for part in value.indirection if isinstance(part, ast.String)]
        return (2, str(names[-1])) if names else _figured(value.arg)
    if isinstance(value, ast.FuncCall):
        return 2, str(value.funcname[-1].sval)
    if isinstance(value, ast.A_Expr) and value.kind == enums.A_Expr_Kind.AEXPR_NULLIF:
        return 2, "nullif"
    if isinstance(value, ast.TypeCast):
        inner = _figured(value.arg)
        return inner if inner[0] > 1 else (1, type_name(value))
    if isinstance(value, ast.CollateClause):
        return _figured(value.arg)
    if isinstance(value, ast.CaseExpr):
        inner = _figured(value.defresult)
        return inner if inner[0] > 1 else (1, "case")
    if isinstance(value, ast.MinMaxExpr):
        return 2, "greatest" if value.op == enums.MinMaxOp.IS_GREATEST else "least"
    if isinstance(value, ast.SQLValueFunction):
        name = enums.SQLValueFunctionOp(value.op).name.removeprefix("SVFOP_").removesuffix("_N").lower()
        return 2, name
    if isinstance(value, ast.XmlExpr) and value.op != enums.XmlExprOp.IS_DOCUMENT:
        return 2, enums.XmlExprOp(value.op).name.removeprefix("IS_").lower()
    if isinstance(value, ast.SubLink):
        return _of_sublink(value)
    return _NOTHING


def _of_sublink(value: Any) -> tuple[int, str]:
    if value.subLinkType == enums.SubLinkType.EXISTS_SUBLINK:
        return 2, "exists"
    if value.subLinkType == enums.SubLinkType.ARRAY_SUBLINK:
        return 2, "array"
    if value.subLinkType != enums.SubLinkType.EXPR_SUBLINK:
        return _NOTHING
    first = value.subselect
    while first.op != enums.SetOperation.SETOP_NONE:
        first = first.larg
    target = first.targetList[0] if first.targetList else None
    return 2, (target.name or output_name(target.val)) if target is not None else "column1"
