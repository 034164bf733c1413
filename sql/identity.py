"""The replica identity that a published source needs, and the statements that give it one (C4, C5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sql.catalog import Table
from sql.names import quote


@dataclass(frozen=True, slots=True)
class IdentityCure:
    """What to run, each statement by itself, and what it costs."""

    statements: tuple[str, ...]
    cost: str


def identity_problem(table: Table, keys: Iterable[tuple[str, ...]]) -> str | None:
    """Why the table must not be published as it is; None when it may."""
    needed = {column for key in keys for column in key}
    if table.kind == "p":  # PostgreSQL looks at the partition that a row is in, never at the root
        carried = [_of_partition(table, letter) for _, letter in table.partitions]
    else:
        carried = [table.identity_columns]
    if not all(carried):
        return f"{table.name} has no replica identity: {_FAIL}"
    if table.virtual and (table.identity == "full" or any(letter == "f" for _, letter in table.partitions)):
        names = ", ".join(map(quote, sorted(table.virtual)))
        return f"{table.name} has REPLICA IDENTITY FULL and {names}, virtual and generated: {_FAIL}"
    generated = {column.name for column in table.columns if column.generated}
    unsent = sorted(
        {column for columns in carried if not _whole(table, columns) for column in generated & set(columns)}
    )
    if unsent:
        names = ", ".join(map(quote, unsent))
        return f"the replica identity of {table.name} holds {names}, generated and never in a column list: {_FAIL}"
    missing = sorted({column for columns in carried for column in needed - set(columns)})
    if missing:
        names = ", ".join(map(quote, missing))
        return f"a DELETE on {table.name}, or a change of its key, would not say the old {names}"
    return None


_FAIL = "once published, the application's UPDATE and DELETE on it fail"


def _whole(table: Table, columns: tuple[str, ...]) -> bool:
    return len(columns) == len(table.columns)


def _of_partition(table: Table, letter: str) -> tuple[str, ...]:
    """The old columns that a partition carries. An index of its own counts only where the root has such an index."""
    if letter == "f":
        return tuple(column.name for column in table.columns)
    return table.primary_key if letter == "d" else table.identity_columns if letter == table.replident == "i" else ()


def identity_cure(table: Table, keys: Iterable[tuple[str, ...]]) -> IdentityCure:
    """The cheapest replica identity that always carries the old target key: an index that is there, a new one, FULL.

    No statement where PostgreSQL takes none of them: FULL is nothing for a table with virtual columns.
    """
    needed = tuple(dict.fromkeys(column for key in keys for column in key))
    filled = {column.name for column in table.columns if column.not_null and not column.generated}
    if table.kind == "p" and not table.virtual:
        names = [table.name, *(name for name, _ in table.partitions)]
        return IdentityCure(tuple(f"ALTER TABLE {name} REPLICA IDENTITY FULL" for name in names), _FULL)
    for index in table.unique if table.kind != "p" else ():
        if index.complete and set(needed) <= set(index.columns) <= filled:
            return IdentityCure((_using(table, index.name),), _INDEX)
    columns = tuple(dict.fromkeys((*needed, *table.primary_key)))
    if table.kind != "p" and table.primary_key and set(columns) <= filled:
        name = _index_name(table)
        listed = ", ".join(quote(column) for column in columns)
        create = f"CREATE UNIQUE INDEX CONCURRENTLY {quote(name)} ON {table.name} ({listed})"
        return IdentityCure((create, _using(table, name)), _INDEX)
    if table.virtual:
        listed = ", ".join(map(quote, needed))
        return IdentityCure((), f"make its virtual columns STORED, or {listed} NOT NULL beside a primary key")
    return IdentityCure((f"ALTER TABLE {table.name} REPLICA IDENTITY FULL",), _FULL)


_INDEX = "each UPDATE of these columns and each DELETE writes them to the WAL once more"
_FULL = "each UPDATE and each DELETE writes the whole old row to the WAL"


def _using(table: Table, index: str) -> str:
    return f"ALTER TABLE {table.name} REPLICA IDENTITY USING INDEX {quote(index)}"


def _index_name(table: Table) -> str:
    """At most 63 bytes, as PostgreSQL would cut it otherwise."""
    suffix = "_cutover_identity"
    stem = table.name.relation.encode()[: 63 - len(suffix)].decode(errors="ignore")
    return stem + suffix
