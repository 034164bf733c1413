"""The legacy tables by themselves: rows that share a key, rows that the mapping shows nowhere, rows without a key."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from reconcile.diff import Comparison
from reconcile.document import SourceRows
from reconcile.session import of_data
from sql.model import Move, Source
from sql.names import quote
from sql.render import base_type, output

_EXAMPLES = 5


def source_rows(comparison: Comparison, limit_ms: int) -> list[SourceRows]:
    """Count each source once, in a snapshot of its own; `limit_ms` each at most, beyond which it is not told."""
    return list(_counted(comparison, limit_ms))


def _counted(comparison: Comparison, limit_ms: int) -> Iterator[SourceRows]:
    move = comparison.move
    for source in move.sources:
        if source.is_target or not source.keys:
            continue
        name = source.name.sql
        try:
            with comparison.snapshot(limit_ms):
                # Totals read everything: what a planner with too low a guess would look up row by row is better hashed.
                comparison.conn.execute("SET LOCAL enable_nestloop = off", prepare=False)
                row = comparison.conn.execute(statement(move, source).encode(), prepare=False).fetchone()
        except psycopg.errors.QueryCanceled:
            yield SourceRows(source=name, told=f"not counted: it takes longer than {limit_ms / 1000:g} s")
            continue
        except psycopg.errors.LockNotAvailable:
            yield SourceRows(source=name, told="not counted: it is locked")
            continue
        except psycopg.errors.InsufficientPrivilege:
            yield SourceRows(source=name, told="not counted: this role may not read it")
            continue
        except psycopg.Error as error:
            if not of_data(error):
                raise
            yield SourceRows(source=name, told=f"not counted: it fails with SQLSTATE {error.sqlstate}")
            continue
        assert row is not None
        rows, keys, most, several, orphans, examples, without = row
        yield SourceRows(
            source=name, rows=rows + without, keys=keys, most=most, several=several, orphans=orphans,
            orphan_keys=examples, without_key=without,
        )  # fmt: skip


def statement(move: Move, source: Source) -> str:
    """One row: rows with a key, keys, the most rows of one key, keys with several, rows that the mapping does not show,
    a few keys of these, rows without a key."""
    columns = source.keys[0]
    numbered = [f'"#{at + 1}"' for at in range(len(columns))]
    listed = ", ".join(
        f"s.{quote(column)}::{base_type(key)} AS {alias}"
        for column, key, alias in zip(columns, move.key, numbered, strict=True)
    )
    there = " AND ".join(f"s.{quote(column)} IS NOT NULL" for column in columns)
    same = " AND ".join(f"v.{quote(key.name)} = g.{alias}" for key, alias in zip(move.key, numbered, strict=True))
    texts = ", ".join(output(f"o.{alias}") for alias in numbered)
    grouped = ", ".join(str(at + 1) for at in range(len(columns)))
    return (
        f"WITH g AS MATERIALIZED (SELECT {listed}, count(*) AS n FROM {source.name} s WHERE {there}"
        f" GROUP BY {grouped}),"
        f" o AS MATERIALIZED (SELECT * FROM g WHERE NOT EXISTS (SELECT FROM {move.view} v WHERE {same}))"
        " SELECT coalesce(sum(g.n), 0)::bigint, count(*), coalesce(max(g.n), 0), count(*) FILTER (WHERE g.n > 1),"
        " (SELECT coalesce(sum(n), 0)::bigint FROM o),"
        f" ARRAY(SELECT ARRAY[{texts}] FROM o LIMIT {_EXAMPLES}),"
        f" (SELECT count(*) FROM {source.name} s WHERE NOT ({there})) FROM g"
    )
