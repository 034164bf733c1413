"""The bytes of the logical replication protocol, version 1 (chapter 55.9, "Logical Replication Message Formats").

Pure decoding. Capture's loop reads the hot messages in place; what is here serves everything else.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

UNCHANGED = object()  # an unchanged TOASTed value: it is not in the message, and it is not NULL (C7)

_TUPLE_COUNT = struct.Struct("!H")
_LENGTH = struct.Struct("!I")
_OID = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class RelationColumn:
    name: str
    key: bool  # part of the replica identity
    type_oid: int
    typmod: int


@dataclass(frozen=True, slots=True)
class Relation:
    """What PostgreSQL says of a table before its first change, and again after each change of its shape."""

    oid: int
    schema: str
    name: str
    identity: str  # pg_class.relreplident: d, n, f, i
    columns: tuple[RelationColumn, ...]

    def position(self, column: str) -> int | None:
        """Where a column stands in the tuples; None when it is not sent."""
        for at, candidate in enumerate(self.columns):
            if candidate.name == column:
                return at
        return None


Value = bytes | None | object  # text output; None: NULL; UNCHANGED


@dataclass(frozen=True, slots=True)
class Change:
    """One row change. `old` has the replica identity (all columns under FULL), or None where it was not sent."""

    op: str  # I, U, D
    oid: int
    old: tuple[Value, ...] | None
    new: tuple[Value, ...] | None


def relation(message: bytes) -> Relation:
    """Decode a Relation message (R)."""
    oid = _OID.unpack_from(message, 1)[0]
    schema, at = _string(message, 5)
    name, at = _string(message, at)
    identity = chr(message[at])
    (count,) = _TUPLE_COUNT.unpack_from(message, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        key = bool(message[at] & 1)
        column, at = _string(message, at + 1)
        type_oid, typmod = struct.unpack_from("!Ii", message, at)
        at += 8
        columns.append(RelationColumn(column, key, type_oid, typmod))
    return Relation(oid, schema or "pg_catalog", name, identity, tuple(columns))


def oid(message: bytes) -> int:
    """The relation of an Insert, Update or Delete message."""
    return int.from_bytes(message[1:5], "big")


def change(message: bytes) -> Change:
    """Decode an Insert, Update or Delete message."""
    op = chr(message[0])
    oid = _OID.unpack_from(message, 1)[0]
    old: tuple[Value, ...] | None = None
    new: tuple[Value, ...] | None = None
    at = 5
    while at < len(message):
        marker = message[at]
        values, at = row(message, at + 1)
        if marker == 78:  # N
            new = values
        else:  # K or O
            old = values
    return Change(op, oid, old, new)


def row(message: bytes, at: int) -> tuple[tuple[Value, ...], int]:
    """Decode a TupleData at an offset; returns it and the offset behind it."""
    (count,) = _TUPLE_COUNT.unpack_from(message, at)
    at += 2
    values: list[Value] = []
    for _ in range(count):
        kind = message[at]
        at += 1
        if kind == 116:  # t
            (length,) = _LENGTH.unpack_from(message, at)
            at += 4
            values.append(message[at : at + length])
            at += length
        elif kind == 110:  # n
            values.append(None)
        else:  # u
            values.append(UNCHANGED)
    return tuple(values), at


def pack_row(values: tuple[Value, ...]) -> bytes:
    """The inverse of `row`, for tuples that lose columns on the way into the log (C11)."""
    parts = [_TUPLE_COUNT.pack(len(values))]
    for value in values:
        if value is None:
            parts.append(b"n")
        elif isinstance(value, bytes):
            parts += (b"t", _LENGTH.pack(len(value)), value)
        else:
            parts.append(b"u")
    return b"".join(parts)


def truncated(message: bytes) -> tuple[int, ...]:
    """The oids of a Truncate message (T)."""
    (count,) = struct.unpack_from("!I", message, 1)
    return struct.unpack_from(f"!{count}I", message, 6)


def logical_message(message: bytes) -> tuple[bool, int, str, bytes]:
    """A logical decoding Message (M): transactional, LSN, prefix, content."""
    transactional = bool(message[1] & 1)
    (lsn,) = struct.unpack_from("!Q", message, 2)
    prefix, at = _string(message, 10)
    (length,) = struct.unpack_from("!I", message, at)
    return transactional, lsn, prefix, message[at + 4 : at + 4 + length]


def _string(message: bytes, at: int) -> tuple[str, int]:
    end = message.index(0, at)
    return message[at:end].decode(), end + 1
