"""The table that a restore fills: made with the log's columns and types, or there and empty."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from cdc.pgoutput import Value
from cutover.restore.shape import Shape
from cutover.restore.spool import Names
from sql.connection import Connection
from sql.errors import Refused
from sql.files import load
from sql.names import Name, quote


class Into:
    """The table within one transaction. Raises Refused when it has rows, or lacks columns that the log has."""

    def __init__(self, conn: Connection, name: Name) -> None:
        self._conn, self._name = conn, name
        self._there = self._names()
        self._made = not self._there
        self._shape: Shape | None = None
        self.columns: set[str] = set()
        if self._there and conn.execute(f"SELECT FROM {name} LIMIT 1".encode()).fetchone() is not None:
            raise Refused(f"{name} has rows", cure="name a new table, or one that is empty")

    def fill(self, shape: Shape, rows: Iterable[tuple[Names, tuple[Value, ...]]]) -> int:
        """Copy rows into it; returns how many."""
        self._shape = shape
        self._add(shape.columns)
        listed = ", ".join(quote(name) for name in shape.names)
        count = 0
        with self._conn.cursor().copy(f"COPY {self._name} ({listed}) FROM STDIN".encode()) as copy:
            for names, values in rows:
                copy.write_row(_texts(names, values, shape.names))
                count += 1
        return count

    @property
    def there(self) -> bool:
        """Was it there before, or made?"""
        return not self._made or self._shape is not None

    def finish(self) -> None:
        """A table that was made here gets the source's identity as its primary key, which proves it unique."""
        if not self._made or self._shape is None or self._shape.full:
            return
        key = ", ".join(quote(column["name"]) for column in self._shape.columns if column["key"])
        if key:
            self._conn.execute(f"ALTER TABLE {self._name} ADD PRIMARY KEY ({key})".encode())

    def _names(self) -> list[str]:
        return [name for (name,) in self._conn.execute(load("restore/columns").encode(), {"table": self._name.sql})]

    def _add(self, columns: Sequence[dict[str, Any]]) -> None:
        self.columns.update(column["name"] for column in columns)
        new = [column for column in columns if column["name"] not in self._there]
        if not new:
            return
        if not self._made:
            names = ", ".join(quote(column["name"]) for column in new)
            raise Refused(f"{self._name} has no column {names}", cure="add it, or name a new table")
        typed = [f"{quote(column['name'])} {kind}" for column, kind in zip(new, self._types(new), strict=True)]
        statement = (
            f"ALTER TABLE {self._name} {', '.join('ADD ' + each for each in typed)}"
            if self._there
            else f"CREATE TABLE {self._name} ({', '.join(typed)})"
        )
        self._conn.execute(statement.encode())
        self._there = self._names()

    def _types(self, columns: Sequence[dict[str, Any]]) -> list[str]:
        parameters = {"types": [each["type"] for each in columns], "typmods": [each["typmod"] for each in columns]}
        found = [kind for (kind,) in self._conn.execute(load("restore/types").encode(), parameters)]
        for column, kind in zip(columns, found, strict=True):
            if kind is None:
                raise Refused(
                    f"the type of {quote(column['name'])} is gone from this database",
                    cure=f"make the type and the table {self._name}, then restore into that",
                )
        return found


def refuse_missing_schema(conn: Connection, name: Name) -> None:
    """A restore makes a table, and no schema. Raises Refused."""
    there = [schema for (schema,) in conn.execute("SELECT nspname::text FROM pg_catalog.pg_namespace")]
    if name.schema in there:
        return
    near = difflib.get_close_matches(name.schema, there, 1)
    make = f"CREATE SCHEMA {quote(name.schema)}"
    hint = f"did you mean {quote(near[0])}? Else {make}" if near else f"{make}, or name a schema that is there"
    raise Refused(f"there is no schema {quote(name.schema)} for the table {name}", hint=hint)


def _texts(names: Names, values: tuple[Value, ...], wanted: Names) -> list[str | None]:
    if names != wanted:
        known = dict(zip(names, values, strict=True))
        values = tuple(known.get(name) for name in wanted)
    return [value.decode() if isinstance(value, bytes) else None for value in values]
