"""Frames: one log record holds many changes of one partition. The format is documented in docs/log-format.md.

Layout, little endian: a fixed header, then the sections relations, transactions, keys, changes. A consumer reads
the header and the keys; the changes are pgoutput messages as PostgreSQL sent them, for history, replay and restore.
Why columnar: converge needs only the distinct keys, and slicing one blob is the cheapest thing Python can do.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sql.errors import CutoverError

VERSION = 2  # the newest that is read; each kind is written with the version that brought it
MAX_FRAME = 900_000  # bytes; below Kafka's default message.max.bytes of 1 MiB with room for the record's own header

CHANGES, TOUCH, WATERMARK, ROWS = 1, 2, 3, 4
_KINDS = {CHANGES: 1, TOUCH: 1, WATERMARK: 1, ROWS: 2}  # with the version that brought it
ASKED = frozenset((TOUCH, ROWS))  # somebody wants these keys made right, whatever changed; they say nothing of LSNs

# magic, version, kind, flags, crc32 of all that follows | complete lsn, time, newest xid, number and bytes of sections
_HEAD = struct.Struct("<4sBBHI")
_BODY = struct.Struct("<QqIIIIIIIII")
_TXN = struct.Struct("<IQqI")
_MAGIC = b"CUTF"
_VARIABLE = 0xFFFFFFFF

PG_EPOCH_US = 946_684_800_000_000  # 2000-01-01 in Unix microseconds; pgoutput's times count from there


class UnreadableFrame(CutoverError):
    """A record of the log is torn, foreign or from a newer version; the partition stops there (L6)."""


class Transaction(NamedTuple):
    """One transaction's part of a frame: its changes start at `first` in the frame's list of changes."""

    xid: int
    commit_lsn: int
    commit_time: int  # microseconds since 2000-01-01 UTC
    first: int


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame.

    kind: CHANGES, TOUCH (keys to converge, no values), WATERMARK (nothing but `lsn`) or ROWS (a touch with the rows
    of its keys as a snapshot had them, as Insert messages; `cdc.rows`).
    lsn: every commit that ends at or before it is in this frame or an earlier one of the partition; 0: says nothing.
    time: commit time of the newest change, or when the watermark was taken; microseconds since 2000-01-01 UTC.
    xid: the newest transaction id; 0 where there is none.
    keys: distinct keys, each its components' text joined by NUL.
    sources: names of the tables that changed, as SQL; empty in a touch: any may have.
    """

    kind: int
    lsn: int
    time: int
    xid: int
    sources: tuple[str, ...]
    keys: list[bytes]
    _relations: bytes
    _transactions: bytes
    _changes: bytes
    _count: int

    def transactions(self) -> list[Transaction]:
        """The transactions in commit order."""
        return [Transaction(*fields) for fields in _TXN.iter_unpack(self._transactions)]

    def newest_commit(self) -> int:
        """The LSN of the newest of its commits; 0 where there is none."""
        if not self._transactions:
            return 0
        return Transaction(*_TXN.unpack_from(self._transactions, len(self._transactions) - _TXN.size)).commit_lsn

    def relations(self) -> list[bytes]:
        """The relation descriptions of the frame, JSON, in no order."""
        return self._relations.split(b"\n") if self._relations else []

    def changes(self) -> list[bytes]:
        """The changes as pgoutput messages (Insert, Update, Delete, Truncate), in commit order."""
        return _unpack(self._changes, self._count, variable=True)


def encode(
    kind: int,
    *,
    lsn: int,
    time: int,
    keys: Sequence[bytes] | dict[bytes, None] = (),
    sources: Iterable[str] = (),
    relations: Iterable[bytes] = (),
    transactions: Sequence[tuple[int, int, int, int]] = (),
    changes: Sequence[bytes] = (),
) -> bytes:
    """One frame as bytes. The caller keeps it below MAX_FRAME (`split` does)."""
    names = "\0".join(sources).encode()
    described = b"\n".join(relations)
    packed_transactions = b"".join([_TXN.pack(*fields) for fields in transactions])
    packed_keys = _pack(list(keys), variable=False)
    packed_changes = _pack(changes, variable=True)
    body = b"".join(
        (
            _BODY.pack(
                lsn,
                time,
                newest_xid([fields[0] for fields in transactions]),
                len(keys),
                len(changes),
                len(transactions),
                len(names),
                len(described),
                len(packed_transactions),
                len(packed_keys),
                len(packed_changes),
            ),
            names,
            described,
            packed_transactions,
            packed_keys,
            packed_changes,
        )
    )
    return _HEAD.pack(_MAGIC, _KINDS[kind], kind, 0, zlib.crc32(body)) + body


def decode(value: bytes) -> Frame:
    """Read a frame; UnreadableFrame when it is torn, foreign or newer."""
    try:
        magic, version, kind, _flags, crc = _HEAD.unpack_from(value)
    except struct.error:
        raise UnreadableFrame(f"a record of {len(value)} bytes is too short to be a frame") from None
    if magic != _MAGIC:
        raise UnreadableFrame("a record that is not a frame of this service")
    if version != _KINDS.get(kind):
        raise UnreadableFrame(
            f"a frame of version {version}, kind {kind}; this service reads up to version {VERSION}",
            cure="upgrade this installation",
        )
    body = memoryview(value)[_HEAD.size :]
    if zlib.crc32(body) != crc:
        raise UnreadableFrame("a frame whose checksum does not match its content")
    lsn, time, xid, n_keys, n_changes, _n_txns, *sizes = _BODY.unpack_from(body)
    sections: list[bytes] = []
    at = _HEAD.size + _BODY.size
    for size in sizes:
        sections.append(value[at : at + size])
        at += size
    names, described, transactions, keys, changes = sections
    return Frame(
        kind,
        lsn,
        time,
        xid,
        tuple(names.decode().split("\0")) if names else (),
        _unpack(keys, n_keys, variable=False),
        described,
        transactions,
        changes,
        n_changes,
    )


def newest_xid(xids: Sequence[int]) -> int:
    """The newest of some 32-bit transaction ids, which wrap around (chapter 67.1, "Transactions and Identifiers")."""
    if not xids:
        return 0
    newest = max(xids)
    if newest - min(xids) < 1 << 31:
        return newest
    return max(xid for xid in xids if xid < 1 << 31)


def split_keys(keys: Iterable[bytes], limit: int = MAX_FRAME // 2) -> Iterable[list[bytes]]:
    """Keys in portions that fit a frame."""
    portion: list[bytes] = []
    size = 0
    for key in keys:
        if portion and size + len(key) + 4 > limit:
            yield portion
            portion, size = [], 0
        portion.append(key)
        size += len(key) + 4
    if portion:
        yield portion


def _pack(items: Sequence[bytes], *, variable: bool) -> bytes:
    if not items:
        return b""
    width = len(items[0])
    if not variable and all(len(item) == width for item in items):
        return struct.pack("<I", width) + b"".join(items)
    lengths = array("I", [len(item) for item in items])
    return (b"" if variable else struct.pack("<I", _VARIABLE)) + lengths.tobytes() + b"".join(items)


def _unpack(packed: bytes, count: int, *, variable: bool) -> list[bytes]:
    if count == 0:
        return []
    at = 0
    if not variable:
        (width,) = struct.unpack_from("<I", packed)
        at = 4
        if width != _VARIABLE:
            if width == 0:
                return [b""] * count
            return [packed[i : i + width] for i in range(4, 4 + width * count, width)]
    lengths = array("I", packed[at : at + 4 * count])
    at += 4 * count
    items: list[bytes] = []
    for length in lengths:
        items.append(packed[at : at + length])
        at += length
    return items
