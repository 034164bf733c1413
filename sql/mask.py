"""Masked columns: values that nobody may see, and how two of them differ in kind without either being told."""

from __future__ import annotations

from typing import Final

from pglast import parse_sql

from sql.compare import differs
from sql.model import Invariant, Move, TargetColumn
from sql.parsetree import ast, walk

MASKED: Final = "***"  # stands for a value in every output
_NUMERIC: Final = 1700


def literal(text: str) -> str:
    """A text constant of this module: none of them has a quote, a percent sign or a backslash in it."""
    return f"'{text}'"


def unlike(column: TargetColumn, left: str, right: str) -> str:
    """An SQL expression that says how two values of a column differ in kind; NULL where they do not.

    Of the content it tells NULL, emptiness, blanks at the ends, capitals and equal length, nothing else.
    """
    legacy, consolidated = f"concat({left})", f"concat({right})"
    same_number = f" WHEN {left} = {right} THEN {literal('the same number, written otherwise')}"
    return (
        f"CASE WHEN NOT {differs(column, left, right)} THEN NULL"
        f" WHEN num_nulls({left}) = 1 THEN {literal('NULL against a value')}"
        f" WHEN num_nulls({right}) = 1 THEN {literal('a value against NULL')}"
        f" WHEN {legacy} = {consolidated} THEN {literal('they look the same and differ in their bytes')}"
        f" WHEN {legacy} = '' THEN {literal('the empty text against a value')}"
        f" WHEN {consolidated} = '' THEN {literal('a value against the empty text')}"
        f" WHEN btrim({legacy}) = btrim({consolidated}) THEN {literal('only blanks at the ends')}"
        f" WHEN lower({legacy}) = lower({consolidated}) THEN {literal('only capital and small letters')}"
        f"{same_number if column.type_oid == _NUMERIC else ''}"
        f" WHEN length({legacy}) = length({consolidated}) THEN {literal('different values of equal length')}"
        f" ELSE {literal('different values of different length')} END"
    )


def hides(move: Move, invariant: Invariant) -> bool:
    """Could an invariant's result show a masked value? Also where it only adds them up, or names a whole row.

    Cautious: by the names of columns alone, whichever table they are of.
    """
    if not move.mask:
        return False
    secret = {name for _, name in move.masked_sources}
    for text in (invariant.legacy, invariant.consolidated):
        nodes = [node for statement in parse_sql(text) for node in walk(statement.stmt)]
        rows = {node.relname for node in nodes if isinstance(node, ast.RangeVar)}
        rows |= {node.aliasname for node in nodes if isinstance(node, ast.Alias)}
        for node in nodes:
            if isinstance(node, ast.ColumnRef):
                last = node.fields[-1]
                if isinstance(last, ast.A_Star) or last.sval in secret | rows:
                    return True
    return False
