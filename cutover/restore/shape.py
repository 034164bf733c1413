"""Shapes: a source's columns as a frame describes them, and which of its rows are which."""

from __future__ import annotations

from typing import Any

from cdc import pgoutput
from cdc.pgoutput import Value


class Shape:
    """A source as one relation line describes it."""

    def __init__(self, relation: dict[str, Any], move: str) -> None:
        self.source: str = relation["source"]
        self.columns: list[dict[str, Any]] = relation["columns"]
        self.names = tuple(column["name"] for column in self.columns)
        self._identity = [at for at, column in enumerate(self.columns) if column["key"]]
        self.full = len(self._identity) == len(self.names)
        self._keys = [tuple(self.names.index(name) for name in key) for key in relation["keys"].get(move, ())]

    def identity(self, values: tuple[Value, ...]) -> bytes:
        """What tells a row from the others of its key."""
        return pgoutput.pack_row(tuple(values[at] for at in self._identity))

    def key(self, values: tuple[Value, ...], lane: int = 0) -> bytes | None:
        """The row's key as in frames; None where a part of it is NULL."""
        parts = [values[at] for at in self._keys[lane]]
        found = [part for part in parts if isinstance(part, bytes)]
        return b"\0".join(found) if len(found) == len(parts) else None

    def keys(self, values: tuple[Value, ...] | None) -> set[bytes]:
        """Every key that the row belongs to."""
        if not values:
            return set()
        return {key for lane in range(len(self._keys)) if (key := self.key(values, lane)) is not None}


def merged(new: tuple[Value, ...] | None, old: tuple[Value, ...] | None) -> tuple[Value, ...]:
    """The new row, with the old one's values where it was left alone."""
    if new is None or old is None:
        return new or ()
    return tuple(before if value is pgoutput.UNCHANGED else value for value, before in zip(new, old, strict=True))
