"""Which conditions hold whenever a row of a source takes part, and so which of its columns equal the key."""

from __future__ import annotations

from collections.abc import Iterable

from sql.query import Column, Condition, Join, Leaf, Query, Select, Tree


class Held:
    """The conditions that are true of every row of the mapping that a row of `leaf` can change.

    They are gathered by climbing from the leaf to the mapping: a WHERE and the ON of an inner join hold, the ON of
    an outer join holds for its nullable side only, and a sub-query passes a column on unless LIMIT, DISTINCT ON or a
    window makes one row's fate depend on rows with other values. A condition that is true needs the rows it reads,
    so their own conditions hold too.
    """

    def __init__(self, leaf: Leaf) -> None:
        self.equal: list[tuple[Column, Column]] = []
        self.fixed: list[Column] = []
        self.ones: list[Column] = []
        self._seen: set[Leaf] = set()
        self._conditions: set[Condition] = set()
        self._hosts = set(_hosts(leaf))
        self._take_part(leaf)

    def closure(self, columns: Iterable[Column]) -> set[Column]:
        """All columns that equal one of `columns`, or a constant."""
        found = {*columns, *self.fixed}
        grew = True
        while grew:
            grew = False
            for one, other in self.equal:
                if (one in found) != (other in found):
                    found |= {one, other}
                    grew = True
        return found

    def equals(self, column: Column) -> set[Column]:
        """All columns that equal `column`, itself among them."""
        found = {column}
        grew = True
        while grew:
            grew = False
            for one, other in self.equal:
                if (one in found) != (other in found):
                    found |= {one, other}
                    grew = True
        return found

    def _take_part(self, leaf: Leaf) -> None:
        if leaf in self._seen:
            return
        self._seen.add(leaf)
        if leaf.query is not None and leaf not in self._hosts:
            self._inside(leaf)
        for join, side in _above(leaf):
            self._joined(join, side)
        if leaf.select is None:
            return
        if leaf.expression_of:
            for column, index in leaf.tests:
                self._equate(column, leaf.nodes[index])
            if not leaf.above:
                self._needed(leaf.select.tree)
        self._hold(leaf.select.where)
        self._out(leaf.select)

    def _joined(self, join: Join, side: str) -> None:
        if join.kind == "inner" or side == "on" or side == {"left": "right", "right": "left"}.get(join.kind):
            self._hold(join.on)
            if side != "left":
                self._needed(join.left)
            if side != "right":
                self._needed(join.right)
        for merged in join.merged:
            assert merged.merged is not None
            left, right = merged.merged
            if side != "right":
                self._equate(merged, left)
            if side != "left":
                self._equate(merged, right)

    def _needed(self, tree: Tree | None) -> None:
        """The parts of a FROM that every row of it has."""
        if isinstance(tree, Leaf):
            self._take_part(tree)
        elif tree is not None:
            if tree.kind == "inner":
                self._hold(tree.on)
            if tree.kind in ("inner", "left"):
                self._needed(tree.left)
            if tree.kind in ("inner", "right"):
                self._needed(tree.right)

    def _inside(self, leaf: Leaf) -> None:
        """What a row of another sub-query says of the rows it was made from."""
        query = leaf.query
        if not isinstance(query, Select) or (query.aggregated and not query.group):
            return
        for node, output in zip(leaf.nodes, query.outputs, strict=False):
            if output.expression.column is not None:
                self._equate(node, output.expression.column)
        self._hold(query.where)
        self._needed(query.tree)

    def _out(self, select: Select) -> None:
        stable = _stable(select)
        top: Query = select
        while top.within is not None:
            top = top.within
            if top.limited:
                stable = []
        if top.host is None:
            return
        nodes = top.host.nodes
        for index, column in stable:
            self._equate(nodes[index], column)
        self._take_part(top.host)

    def _hold(self, conditions: Iterable[Condition]) -> None:
        for condition in conditions:
            if condition in self._conditions:
                continue
            self._conditions.add(condition)
            self.fixed += condition.fixed
            self.ones += condition.ones
            self.equal += condition.equal
            if condition.strict:
                for column in (*condition.fixed, *(it for pair in condition.equal for it in pair)):
                    if column.leaf is not None:
                        self._take_part(column.leaf)

    def _equate(self, one: Column, other: Column) -> None:
        if one.family is not None and one.family == other.family:
            self.equal.append((one, other))


def key_columns(leaf: Leaf, key: tuple[Column, ...], names: tuple[str, ...]) -> tuple[str | None, ...]:
    """For each key column of the mapping, the column of this place of a table that always equals it, or None.

    Of several, the one with the key's name, else the first of the table.
    """
    held = Held(leaf)
    found: list[str | None] = []
    for column, name in zip(key, names, strict=True):
        equal = held.equals(column)
        mine = [it.name for it in leaf.nodes if it in equal]
        found.append(name if name in mine else mine[0] if mine else None)
    return tuple(found)


def _hosts(leaf: Leaf) -> Iterable[Leaf]:
    at: Leaf | None = leaf
    while at is not None and at.select is not None:
        at = _host(at.select)
        if at is not None:
            yield at


def _host(query: Query) -> Leaf | None:
    while query.within is not None:
        query = query.within
    return query.host


def _above(leaf: Leaf) -> list[tuple[Join, str]]:
    """The joins a leaf is in; a sub-query of an ON is also in the joins above that one."""
    if not leaf.above or leaf.above[0][1] != "on":
        return leaf.above
    join = leaf.above[0][0]
    inside = _first(join)
    at = [it for it, _ in inside.above].index(join)
    return [leaf.above[0], *inside.above[at + 1 :]]


def _first(tree: Tree) -> Leaf:
    while isinstance(tree, Join):
        tree = tree.left
    return tree


def _stable(select: Select) -> list[tuple[int, Column]]:
    """The outputs that a row keeps its own value in, so that a condition on the output is one on the row."""
    if select.limited:
        return []
    found = [
        (index, output.expression.column)
        for index, output in enumerate(select.outputs)
        if output.expression.column is not None
    ]
    for window in select.windows:
        within = {expression.column for expression in window.partition}
        found = [(index, column) for index, column in found if column in within]
    if select.distinct_on:
        within = {expression.column for expression in select.distinct_on}
        found = [(index, column) for index, column in found if column in within]
    return found
