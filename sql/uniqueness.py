"""Can the mapping yield two rows for one key? Names the sources that it would take them from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sql.names import Name
from sql.query import Column, Expression, Join, Leaf, Query, Select, SetOperation, Shape, joins_of, leaves_of
from sql.trace import Held


def loose(query: Query, bound: set[Column], shapes: Mapping[Name, Shape]) -> list[Leaf]:
    """The FROM items that may give several rows when the columns of `bound` are fixed; none: at most one row."""
    if query.at_most_one:
        return []
    if isinstance(query, SetOperation):
        return _loose_set(query, bound, shapes)
    if query.aggregated and not query.group:
        return []
    if _grouped_by(query, bound):
        return []
    pending = undetermined(list(leaves_of(query.tree)), bound, shapes)
    pending += [leaf for join in joins_of(query.tree) for leaf in _unpaired(join) if leaf not in pending]
    if not pending and any(output.expression.multiplies for output in query.outputs):
        return list(leaves_of(query.tree))[:1]
    return pending


def undetermined(leaves: list[Leaf], bound: set[Column], shapes: Mapping[Name, Shape]) -> list[Leaf]:
    """Those of `leaves` that no unique set of columns ties to `bound` or to one another."""
    bound, pending = {*bound}, list(leaves)
    grew = True
    while grew:
        grew = False
        for leaf in list(pending):
            if _single(leaf, Held(leaf).closure(bound), shapes):
                pending.remove(leaf)
                bound |= {*leaf.nodes}
                grew = True
    return pending


def tables_in(leaf: Leaf) -> list[Leaf]:
    """The base tables below a FROM item."""
    if leaf.table is not None:
        return [leaf]
    return [] if leaf.query is None else _tables(leaf.query)


def _tables(query: Query) -> list[Leaf]:
    if isinstance(query, SetOperation):
        return _tables(query.left) + _tables(query.right)
    return [found for leaf in leaves_of(query.tree) for found in tables_in(leaf)]


def _single(leaf: Leaf, bound: set[Column], shapes: Mapping[Name, Shape]) -> bool:
    if leaf.table is not None:
        fixed = {column.name for column in leaf.nodes if column in bound}
        return any(unique <= fixed for unique in shapes[leaf.table].unique)
    if leaf.query is not None:
        return not loose(leaf.query, bound, shapes)
    return leaf.single_row


def _loose_set(query: SetOperation, bound: set[Column], shapes: Mapping[Name, Shape]) -> list[Leaf]:
    if query.kind != "union":
        return loose(query.left, bound, shapes)
    if not query.all and query.host is not None and all(node in bound for node in query.host.nodes):
        return []
    return _tables(query)


def _grouped_by(select: Select, bound: set[Column]) -> bool:
    """Whether fixed columns pick one group, one distinct row, or the one row with a given number."""
    if select.group and _fixed(select.group, bound):
        return True
    if select.distinct_on and _fixed(select.distinct_on, bound):
        return True
    if select.distinct and _fixed([output.expression for output in select.outputs], bound):
        return True
    return select.host is not None and any(
        _numbered(output.expression, node, bound, select)
        for output, node in zip(select.outputs, select.host.nodes, strict=False)
    )


def _numbered(expression: Expression, node: Column, bound: set[Column], select: Select) -> bool:
    """row_number() = n, or count(*) = 1, over a partition that is fixed."""
    if len(expression.windows) != 1 or not expression.bare_window:
        return False
    window = expression.windows[0]
    if window.function == "row_number":
        known = node in bound
    else:
        known = window.function == "count" and not window.order and select.host is not None
        known = known and node in Held(select.host).ones  # type: ignore[arg-type]
    return known and _fixed(window.partition, bound)


def _fixed(expressions: Iterable[Expression], bound: set[Column]) -> bool:
    for expression in expressions:
        reads = [expression.column] if expression.column is not None else expression.reads
        if expression.subqueries or expression.windows or expression.aggregate or expression.multiplies:
            return False
        for column in reads:
            known = Held(column.leaf).closure(bound) if column.leaf is not None else bound
            if column not in known:
                return False
    return True


def _unpaired(join: Join) -> list[Leaf]:
    """A FULL JOIN on more than equalities yields a row for each side of one key."""
    if join.kind == "full" and not (join.on and all(condition.whole for condition in join.on)):
        return list(leaves_of(join.right))
    return []
