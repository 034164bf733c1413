"""Which column a word means at some point of a query."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field

from sql.names import quote
from sql.query import Column, Join, Leaf, Select, Tree, leaves_of

_SYSTEM_COLUMNS = frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"})
Named = list[tuple[str, Column]]


class NotThere(LookupError):
    """A word that names nothing in scope; `near` is the most similar word that does."""

    def __init__(self, message: str, near: str | None = None) -> None:
        super().__init__(message)
        self.near = near


@dataclass(slots=True)
class Scope:
    """The FROM items visible at some point of a SELECT, and the scope around it."""

    parent: Scope | None
    select: Select
    trees: list[Tree] = field(default_factory=list)
    aliases: dict[str, Named] = field(default_factory=dict)  # of joins in parentheses
    joins: list[Join] = field(default_factory=list)

    def leaves(self) -> Iterator[Leaf]:
        for tree in self.trees:
            yield from leaves_of(tree)

    def outwards(self) -> Iterator[Scope]:
        at: Scope | None = self
        while at is not None:
            yield at
            at = at.parent

    def star(self, words: list[str]) -> Named:
        """What `*` or `a.*` means. Raises NotThere."""
        if not words:
            return [(name, column) for tree in self.trees for name, column in visible(tree)]
        for scope in self.outwards():
            found = scope._item(words)
            if found is not None:
                return found
        raise NotThere(f"{'.'.join(map(quote, words))}.* names nothing in FROM")

    def columns(self, words: list[str]) -> list[Column]:
        """The column that a reference means, the nearest one; all columns when it is a whole row. Raises NotThere."""
        if len(words) == 1:
            return self._bare(words[0])
        for scope in self.outwards():
            item = scope._item(words[:-1])
            if item is None:
                continue
            for name, column in item:
                if name == words[-1]:
                    return [column]
            for leaf in scope.leaves():
                if leaf.open and words[:-1] == [leaf.alias]:
                    return [_opened(leaf, words[-1])]
        raise self._unknown(words)

    def _bare(self, word: str) -> list[Column]:
        for scope in self.outwards():
            for tree in scope.trees:
                for name, column in visible(tree):
                    if name == word:
                        return [column]
        for scope in self.outwards():
            item = scope._item([word])
            if item is not None:
                return [column for _, column in item]
        for scope in self.outwards():
            for leaf in scope.leaves():
                if leaf.open:
                    return [_opened(leaf, word)]
        raise self._unknown([word])

    def _item(self, words: list[str]) -> Named | None:
        """The columns of a FROM item by its alias, or by schema and table."""
        for leaf in self.leaves():
            if words == [leaf.alias] or (leaf.table and words == [leaf.table.schema, leaf.table.relation]):
                return visible(leaf)
        return self.aliases.get(words[0]) if len(words) == 1 else None

    def _unknown(self, words: list[str]) -> NotThere:
        shown = ".".join(map(quote, words))
        if words[-1] in _SYSTEM_COLUMNS:
            return NotThere(f"{shown}: a system column is not data")
        leaves = [leaf for scope in self.outwards() for leaf in scope.leaves()]
        mine = [leaf for leaf in leaves if len(words) > 1 and leaf.alias == words[-2]]
        known = {name for leaf in mine or leaves for name, _ in visible(leaf)}
        near = difflib.get_close_matches(words[-1], sorted(known), 1)
        if not near and not mine and len(words) > 1:
            near = difflib.get_close_matches(words[0], sorted({leaf.alias for leaf in leaves}), 1)
        return NotThere(f"no column {shown}", near[0] if near else None)


def visible(tree: Tree) -> Named:
    """The columns of a FROM item by name, in order; those that USING merges come once."""
    return [(name.split("\0")[0], it) for name, it in tree.columns.items()] if isinstance(tree, Leaf) else tree.visible


def cross(left: Tree, right: Tree) -> Join:
    """Two items of one FROM list: an inner join without a condition."""
    made = Join("inner", left, right, visible=[*visible(left), *visible(right)])
    for side, tree in (("left", left), ("right", right)):
        for leaf in leaves_of(tree):
            leaf.above.append((made, side))
    return made


def _opened(leaf: Leaf, name: str) -> Column:
    return leaf.columns.setdefault(name, Column(name, None, leaf))
