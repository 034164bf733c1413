"""What a column of a mapping depends on: columns of sources, and which rows the sources hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sql.names import Name
from sql.query import Column, Condition, Expression, Join, Leaf, Query, Select, SetOperation, Shape, Tree, leaves_of
from sql.uniqueness import undetermined

ROWS = ""  # in place of a column: which rows the table holds
Reads = frozenset[tuple[Name, str]]
_NONE: Reads = frozenset()


class Lineage:
    """The dependencies of one resolved mapping. Sets of (table, column); ROWS stands for the table's rows."""

    def __init__(self, shapes: Mapping[Name, Shape]) -> None:
        self._shapes = shapes
        self._rows: dict[Query, Reads] = {}
        self._matching: set[Leaf] = set()
        self._matches: dict[Leaf, Reads] = {}
        self._unique_right: dict[Join, bool] = {}

    def output(self, query: Query, index: int) -> Reads:
        """What one output depends on, given that its row is there."""
        if isinstance(query, SetOperation):
            return self.output(query.left, index) | self.output(query.right, index)
        expression = query.outputs[index].expression
        found = self.expression(expression)
        if expression.windows or (query.aggregated and expression.column is None):
            found |= self._from(query)
        return found

    def value(self, query: Query, index: int) -> Reads:
        """The source columns that one output's value is computed from; not those that decide which rows there are."""
        if isinstance(query, SetOperation):
            return self.value(query.left, index) | self.value(query.right, index)
        return self._values(query.outputs[index].expression)

    def rows(self, query: Query) -> Reads:
        """What decides which rows the query yields."""
        if query not in self._rows:
            self._rows[query] = self._rows_of(query)
        return self._rows[query]

    def expression(self, expression: Expression) -> Reads:
        """What the value of an expression depends on."""
        found = self._columns(expression.reads)
        for leaf in expression.subqueries:
            assert leaf.query is not None
            found |= self.rows(leaf.query)
            for index in range(len(leaf.query.outputs)):
                found |= self.output(leaf.query, index)
        return found

    def _rows_of(self, query: Query) -> Reads:
        if isinstance(query, SetOperation):
            found = self.rows(query.left) | self.rows(query.right)
            if not (query.kind == "union" and query.all) or query.limited:
                found |= self._outputs(query)
            return found
        having = self._conditions(query.having)
        if query.aggregated and not query.group:
            return having | (self._from(query) if having else _NONE)
        found = self._from(query) | having | self._expressions(query.group) | self._expressions(query.distinct_on)
        if query.limited or query.distinct_on:
            found |= self._expressions(query.order)
        if query.distinct:
            found |= self._outputs(query)
        if any(output.expression.multiplies for output in query.outputs):
            found |= self._outputs(query)
        return found

    def _outputs(self, query: Query) -> Reads:
        return _union(self.output(query, index) for index in range(len(query.outputs)))

    def _from(self, select: Select) -> Reads:
        return self._tree(select.tree) | self._conditions(select.where)

    def _tree(self, tree: Tree | None) -> Reads:
        """What decides which rows a FROM has. A LEFT JOIN to at most one row takes none away and adds none."""
        if tree is None:
            return _NONE
        if isinstance(tree, Leaf):
            return self._leaf(tree)
        kept, joined = (tree.right, tree.left) if tree.kind == "right" else (tree.left, tree.right)
        if tree.kind in ("left", "right") and self._at_most_one(tree, kept, joined):
            return self._tree(kept)
        return self._tree(kept) | self._tree(joined) | self._conditions(tree.on)

    def _at_most_one(self, join: Join, kept: Tree, joined: Tree) -> bool:
        if join not in self._unique_right:
            bound = {column for leaf in leaves_of(kept) for column in leaf.nodes}
            self._unique_right[join] = not undetermined(list(leaves_of(joined)), bound, self._shapes)
        return self._unique_right[join]

    def _leaf(self, leaf: Leaf) -> Reads:
        if leaf.table is not None:
            return frozenset({(leaf.table, ROWS)})
        if leaf.query is not None:
            return self.rows(leaf.query)
        return self._expressions(leaf.function)

    def _column(self, column: Column) -> Reads:
        if column.merged is not None:
            return self._columns(column.merged)
        leaf = column.leaf
        assert leaf is not None
        if leaf.table is not None:
            found: Reads = frozenset({(leaf.table, ROWS), (leaf.table, column.name)})
        elif leaf.query is not None:
            index = next((at for at, node in enumerate(leaf.nodes) if node is column), None)
            found = self.output(leaf.query, index) if index is not None else _NONE
        else:
            found = self._expressions(leaf.function)
        return found | self._match(leaf)

    def _match(self, leaf: Leaf) -> Reads:
        """What decides whether the nullable side of an outer join is there."""
        if leaf in self._matches:
            return self._matches[leaf]
        if leaf in self._matching:  # its own condition reads it; whoever asked first has the rest
            return _NONE
        whole = not self._matching
        self._matching.add(leaf)
        try:
            found = _NONE
            for join, side in leaf.above:
                if side == {"left": "right", "right": "left"}.get(join.kind, side) and join.kind != "inner":
                    sides = (join.left, join.right) if join.kind == "full" else (getattr(join, side),)
                    found |= self._conditions(join.on) | _union(self._tree(tree) for tree in sides)
        finally:
            self._matching.discard(leaf)
        if whole:
            self._matches[leaf] = found
        return found

    def _values(self, expression: Expression) -> Reads:
        inner = [leaf.query for leaf in expression.subqueries if leaf.query is not None]
        return _union(self._value(column) for column in expression.reads) | _union(
            self.value(query, index) for query in inner for index in range(len(query.outputs))
        )

    def _value(self, column: Column) -> Reads:
        if column.merged is not None:
            return _union(self._value(part) for part in column.merged)
        leaf = column.leaf
        assert leaf is not None
        if leaf.table is not None:
            return frozenset({(leaf.table, column.name)})
        if leaf.query is not None:
            return _union(self.value(leaf.query, at) for at, node in enumerate(leaf.nodes) if node is column)
        return _union(self._values(expression) for expression in leaf.function)

    def _columns(self, columns: Iterable[Column]) -> Reads:
        return _union(self._column(column) for column in columns)

    def _expressions(self, expressions: Iterable[Expression]) -> Reads:
        return _union(self.expression(expression) for expression in expressions)

    def _conditions(self, conditions: Iterable[Condition]) -> Reads:
        return self._expressions(condition.expression for condition in conditions)


def _union(parts: Iterable[Reads]) -> Reads:
    return frozenset().union(*parts)
