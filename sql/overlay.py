"""A statement over the target, read as if keys in flight had arrived already.

Every mention of the target is replaced by the target without these keys, plus the mapping's rows for them; likewise the
table that remembers an `add` move's keys. What is read is one snapshot, nothing is written.
"""

from __future__ import annotations

from typing import Any

from pglast import ast, parser

from sql.model import Column, Move
from sql.names import Name, quote
from sql.render import _parameterised, _placeholder, base_type


def overlay(text: str, move: Move, target_columns: tuple[Column, ...]) -> str | None:
    """The statement with the keys %(k1)s, %(k2)s … (text arrays) taken as arrived; None where it reads no target."""
    replaced = {move.target: _target(move, target_columns)}
    if move.owned is not None:
        replaced[move.owned] = _owned(move)
    mentions = sorted(_mentions(parser.parse_sql(text)[0].stmt, replaced), key=lambda it: it[0])
    if not any(name == move.target for _, name, _ in mentions):
        return None
    ends = {token.start: token.end + 1 for token in parser.scan(text)}
    starts = sorted(ends)
    parts, at = [], 0
    for start, name, aliased in mentions:
        last = starts[starts.index(start) + 2]  # schema . relation
        parts += [text[at:start], replaced[name], "" if aliased else f" AS {quote(name.relation)}"]
        at = ends[last]
    return _parameterised("".join([*parts, text[at:]]).strip().rstrip(";"))


def _mentions(node: Any, names: dict[Name, str]) -> list[tuple[int, Name, bool]]:
    """Where the statement reads one of these tables: offset, name, whether an alias follows."""
    if isinstance(node, tuple | list):
        return [found for item in node for found in _mentions(item, names)]
    if not isinstance(node, ast.Node):
        return []
    if isinstance(node, ast.RangeVar) and node.schemaname is not None:
        name = Name(node.schemaname, str(node.relname))
        return [(int(node.location or 0), name, node.alias is not None)] if name in names else []
    return [found for attribute in node for found in _mentions(getattr(node, attribute), names)]


def _target(move: Move, columns: tuple[Column, ...]) -> str:
    written = {column.name for column in (*move.key, *move.written)}
    listed = ", ".join(f"o.{quote(column.name)}" for column in columns)
    arriving = ", ".join(
        f"v.{quote(c.name)}::{c.type} AS {quote(c.name)}" if c.name in written else f"o.{quote(c.name)}"
        for c in columns
    )
    # Where only existing rows are kept current, a row that the target has not is not going to arrive.
    join = "JOIN" if move.rows == "existing" else "LEFT JOIN"
    stays = (
        f" OR NOT EXISTS (SELECT FROM {move.view} v WHERE {_same(move, 'v', 'o')})" if move.rows == "existing" else ""
    )
    return (
        f"(SELECT {listed} FROM {move.target} o WHERE NOT EXISTS ({_given(move, 'o')}){stays}"
        f" UNION ALL SELECT {arriving} FROM {move.view} v {join} {move.target} o ON {_same(move, 'v', 'o')}"
        f" WHERE EXISTS ({_given(move, 'v')}))"
    )


def _owned(move: Move) -> str:
    keys = ", ".join(f"o.{quote(key.name)}" for key in move.key)
    mapped = ", ".join(f"v.{quote(key.name)}" for key in move.key)
    return (
        f"(SELECT {keys} FROM {move.owned} o WHERE NOT EXISTS ({_given(move, 'o')})"
        f" UNION ALL SELECT {mapped} FROM {move.view} v WHERE EXISTS ({_given(move, 'v')}))"
    )


def _given(move: Move, relation: str) -> str:
    arrays = ", ".join(f"{_placeholder(f'k{at + 1}')}::{base_type(key)}[]" for at, key in enumerate(move.key))
    names = ", ".join(quote(key.name) for key in move.key)
    return f"SELECT FROM unnest({arrays}) AS g ({names}) WHERE {_same(move, 'g', relation)}"


def _same(move: Move, left: str, right: str) -> str:
    return " AND ".join(f"{left}.{quote(key.name)} = {right}.{quote(key.name)}" for key in move.key)
