"""A range of keys written into the places of a mapping's tables, where PostgreSQL does not carry it itself. Pure.

Why it is safe: the tracer proves of each place, on which the whole stream rests, that a row of it can change only rows
of the mapping whose key equals its traced columns; so leaving out a place's rows outside of a range changes only
rows of the mapping outside of it, which the range's own condition leaves out anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pglast import parser

from sql.names import Name, quote
from sql.parsetree import ast, walk
from sql.query import Leaf, Shape
from sql.resolve import parse
from sql.trace import key_columns

Condition = Callable[[Sequence[str]], str]  # SQL for: the key in these columns is in the range
Same = Callable[[Name, str, int], bool]  # is this column of type and collation of the key's column at that place?


@dataclass(frozen=True, slots=True)
class Place:
    """Where the text names a table, [start, end) in characters. `alias`: what it lacks, as SQL. `columns`: all used."""

    start: int
    end: int
    table: Name
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    alias: str


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A mapping's SELECT and the places, in the text's order, that a range is written into."""

    text: str
    places: tuple[Place, ...]

    def query(self, condition: Condition) -> str:
        """The mapping with only those rows of its tables that satisfy the condition."""
        pieces, at = [], 0
        for place in self.places:
            columns = ", ".join(map(quote, place.columns))
            rows = f"(SELECT {columns} FROM {place.table} WHERE {condition([quote(it) for it in place.keys])})"
            pieces += [self.text[at : place.start], rows, place.alias]
            at = place.end
        return "".join(pieces) + self.text[at:]


def narrow(
    text: str, key: tuple[str, ...], tables: Mapping[Name, Shape], same: Same, aggregates: frozenset[str]
) -> Narrowed | None:
    """The places of a mapping that can take a range of `key`; None when there is none. What is not understood stays.

    `text`: one SELECT as PostgreSQL prints it, nothing around it. Raises PlanError when it is anything else.
    """
    parsed = parse(text, tables, aggregates=aggregates)
    nodes = [node for statement in parser.parse_sql(text) for node in walk(statement.stmt)]
    if any(map(_odd, nodes)):
        return None
    written = {node.location: node for node in nodes if isinstance(node, ast.RangeVar)}
    read = Counter(leaf.location for leaf in parsed.leaves)  # a WITH query that is named twice has its places twice
    names = {str(part.sval) for node in nodes for part in _mentioned(node)}
    tokens = parser.scan(text)
    starts = {token.start: at for at, token in enumerate(tokens)}
    places = []
    for leaf in parsed.leaves:
        keys = key_columns(leaf, tuple(parsed.root.columns[name] for name in key), key)
        node = written.get(leaf.location)
        if node is None or read[leaf.location] > 1 or not node.inh or (node.alias and node.alias.colnames):
            continue
        known = tuple(it for it in keys if it is not None)
        if len(known) < len(key) or not all(same(_table(leaf), it, at) for at, it in enumerate(known)):
            continue
        first = starts.get(leaf.location)
        if first is None or tokens[first + 1].name != "ASCII_46":
            continue
        columns = tuple(it.name for it in leaf.nodes if it.name in names or it.name in known)
        alias = "" if node.alias else f" AS {quote(node.relname)}"
        places.append(Place(leaf.location, tokens[first + 2].end + 1, _table(leaf), known, columns, alias))
    return Narrowed(text, tuple(sorted(places, key=lambda it: it.start))) if places else None


def _table(leaf: Leaf) -> Name:
    assert leaf.table is not None
    return leaf.table


def _odd(node: Any) -> bool:
    """What asks a place for more than columns by their name: samples, whole rows, NATURAL."""
    natural = isinstance(node, ast.JoinExpr) and bool(node.isNatural)
    return natural or isinstance(node, ast.RangeTableSample | ast.A_Star)


def _mentioned(node: Any) -> Sequence[Any]:
    """The names of columns in a node, and maybe other names."""
    if isinstance(node, ast.ColumnRef):
        return [part for part in node.fields if isinstance(part, ast.String)]
    return node.usingClause or () if isinstance(node, ast.JoinExpr) else ()
