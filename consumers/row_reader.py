"""Read the sources' rows of some keys in one snapshot, for a backfill that puts rows into the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from cdc.replication import lsn_number
from cdc.rows import Seen, Table, insert, insert_head
from sql import render
from sql.connection import Connection
from sql.files import load
from sql.model import Move, Source

_ONE_SNAPSHOT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"


@dataclass(frozen=True, slots=True)
class _Described:
    """A source as the stream describes it, and where its key stands in its rows."""

    source: Source
    description: bytes
    key: tuple[int, ...]


class RowReader:
    """Reads chunks of one move's sources, each in a short transaction of its own."""

    def __init__(self, conn: Connection, move: Move) -> None:
        self._conn, self._move = conn, move
        self._sources = [_described(conn, move, source) for source in move.sources if source.keys]

    def now(self) -> Seen:
        """A snapshot without rows."""
        return self.read([])[0]

    def read(self, keys: Sequence[tuple[str, ...]]) -> tuple[Seen, list[Table]]:
        """All rows that the sources have for these keys, and what the snapshot of all of them saw."""
        with self._conn.transaction():
            self._conn.execute(_ONE_SNAPSHOT)
            row = self._conn.execute(load("backfill/snapshot").encode()).fetchone()
            assert row is not None
            found = Seen(lsn_number(row[1]), row[2], row[0])
            return found, [self._table(each, keys) for each in self._sources] if keys else []

    def _table(self, each: _Described, keys: Sequence[tuple[str, ...]]) -> Table:
        parameters = render.key_parameters(keys, len(self._move.key))
        cursor = self._conn.execute(render.source_rows(self._move, each.source).encode(), parameters)
        result = cursor.pgresult  # as text: a value's output, which is what the stream sends
        assert result is not None
        rows = []
        value, columns, head = result.get_value, range(result.nfields), insert_head(each.source.oid, result.nfields)
        single = each.key[0] if len(each.key) == 1 else None
        for at in range(result.ntuples):
            values = [value(at, column) for column in columns]
            if single is not None:
                key = values[single] or b""
            else:
                key = b"\0".join(values[part] or b"" for part in each.key)
            rows.append((key, insert(head, values)))
        return Table(each.source.name.sql, each.description, rows)


def _described(conn: Connection, move: Move, source: Source) -> _Described:
    found = conn.execute(
        load("backfill/columns").encode(), {"oid": source.oid, "columns": list(source.columns)}
    ).fetchall()
    names = [name for name, *_ in found]
    description = {
        "oid": source.oid,
        "source": source.name.sql,
        "columns": [{"name": name, "type": kind, "typmod": mod, "key": key} for name, kind, mod, key in found],
        "keys": {move.name: source.keys},
    }
    return _Described(source, orjson.dumps(description), tuple(names.index(column) for column in source.keys[0]))
