"""Decoding of the replication protocol, against messages made by its grammar."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from cdc import pgoutput
from cdc.pgoutput import UNCHANGED, Value
from cdc.router import Buffer, Lane, Route
from sql.model import Move, TargetColumn
from sql.names import Name

values = st.lists(st.one_of(st.none(), st.just(UNCHANGED), st.binary(max_size=40)), min_size=1, max_size=6).map(tuple)


@given(values)
def test_c7_an_unchanged_toast_value_is_neither_null_nor_a_value(row: tuple[Value, ...]) -> None:
    packed = pgoutput.pack_row(row)
    decoded, end = pgoutput.row(packed, 0)
    assert decoded == row
    assert end == len(packed)


@given(values, values)
def test_an_update_with_its_old_row(old: tuple[Value, ...], new: tuple[Value, ...]) -> None:
    message = b"U" + struct.pack("!I", 9) + b"O" + pgoutput.pack_row(old) + b"N" + pgoutput.pack_row(new)
    change = pgoutput.change(message)
    assert (change.op, change.oid, change.old, change.new) == ("U", 9, old, new)


def test_a_relation() -> None:
    message = b"R" + struct.pack("!I", 42) + b"sales\0order\0f" + struct.pack("!H", 2)
    message += b"\1id\0" + struct.pack("!Ii", 2950, -1) + b"\0total\0" + struct.pack("!Ii", 1700, 655366)
    relation = pgoutput.relation(message)
    assert (relation.oid, relation.schema, relation.name, relation.identity) == (42, "sales", "order", "f")
    assert [(c.name, c.key, c.type_oid, c.typmod) for c in relation.columns] == [
        ("id", True, 2950, -1),
        ("total", False, 1700, 655366),
    ]
    assert relation.position("total") == 1
    assert relation.position("gone") is None


def test_a_truncate_and_a_logical_message() -> None:
    assert pgoutput.truncated(b"T" + struct.pack("!IBII", 2, 1, 16, 17)) == (16, 17)
    message = b"M\1" + struct.pack("!Q", 99) + b"cutover\0" + struct.pack("!I", 3) + b"own"
    assert pgoutput.logical_message(message) == (True, 99, "cutover", b"own")


def _route(partitions: int, strip: tuple[int, ...] | None = None) -> Route:
    key = TargetColumn("id", "text", 25, False, frozenset(), True)
    move = Move("p", "m", Name("a", "b"), 1, "all", "report", (key,), (), (), "", True, None, partitions)
    buffers = [Buffer(move, at) for at in range(partitions)]
    return Route("a.b", b"{}", [Lane((0,), buffers, move)], False, 0, buffers, strip)


def _message(op: bytes, *rows: tuple[bytes, tuple[Value, ...]]) -> bytes:
    return op + struct.pack("!I", 1) + b"".join(marker + pgoutput.pack_row(row) for marker, row in rows)


def test_c6_a_moved_key_touches_the_old_and_the_new_one() -> None:
    message = _message(b"U", (b"K", (b"old", None)), (b"N", (b"new", b"1")))
    assert {key for _, key in _route(4).spread(message)[1]} == {b"old", b"new"}


def test_c5_a_delete_touches_its_old_key() -> None:
    assert [key for _, key in _route(4).spread(_message(b"D", (b"K", (b"gone", None))))[1]] == [b"gone"]


def test_a_null_key_belongs_nowhere() -> None:
    assert _route(4).spread(_message(b"I", (b"N", (None, b"1"))))[1] == []


def test_c7_a_toasted_key_is_taken_from_the_old_row() -> None:
    message = _message(b"U", (b"O", (b"long", b"1")), (b"N", (UNCHANGED, b"2")))
    assert [key for _, key in _route(1).spread(message)[1]] == [b"long"]


def test_c11_columns_that_nobody_mapped_are_taken_out() -> None:
    message = _message(b"U", (b"O", (b"k", b"card-token", b"1")), (b"N", (b"k", b"card-token", b"2")))
    stripped, places = _route(1, strip=(0, 2)).spread(message)
    assert b"card-token" not in stripped
    assert pgoutput.change(stripped) == pgoutput.Change("U", 1, (b"k", b"1"), (b"k", b"2"))
    assert [key for _, key in places] == [b"k"]
