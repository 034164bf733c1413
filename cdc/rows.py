"""Rows: frames with all rows of some keys as one snapshot had them. A touch besides; `restore` begins with them.

A frame lists keys and sources; its changes are Insert messages, and they are *all* rows that these sources had for
these keys: a key without a row had none. Its first relation line tells the snapshot. Frames without keys mark where a
backfill began and where it had read everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

from cdc import frame
from cdc.frame import Frame
from cdc.log import LogWriter
from cdc.replication import lsn_number, lsn_text
from cdc.router import encode_key, partition_of
from cdc.touch import KEYS_PER_FRAME
from sql.model import Move

LIMIT: Final = frame.MAX_FRAME // 2  # bytes of rows in one frame
LARGEST: Final = frame.MAX_FRAME - 64_000  # bytes of one row; a larger one leaves its key only (L4)
_RELATION: Final = b'{"oid":'

Mark = Literal["begin", "end"]


@dataclass(frozen=True, slots=True)
class Seen:
    """When rows were read: what `snapshot` sees is in them, and nothing else.

    lsn: no commit that the snapshot sees lies beyond it. time: the server's, microseconds since 2000-01-01 UTC.
    more: the rows of the frame before go on. large: (source, key) of rows that are too large for a frame.
    """

    lsn: int
    time: int
    snapshot: str  # xmin:xmax:xip,…
    mark: Mark | None = None
    more: bool = False
    large: tuple[tuple[str, str], ...] = ()

    def line(self) -> bytes:
        """As the first relation line of a frame."""
        found = {"lsn": lsn_text(self.lsn), "time": self.time, "snapshot": self.snapshot}
        more = {"mark": self.mark, "more": self.more, "large": self.large}
        return orjson.dumps({"rows": found | {name: value for name, value in more.items() if value}})


@dataclass(frozen=True, slots=True)
class Table:
    """A source's rows: each with its key as in frames, as an Insert message. `description`: a relation line."""

    source: str
    description: bytes
    rows: list[tuple[bytes, bytes]]


@dataclass(slots=True)
class _Portion:
    """What goes into one frame."""

    keys: list[bytes] = field(default_factory=list)
    rows: list[bytes] = field(default_factory=list)
    large: set[tuple[str, str]] = field(default_factory=set)
    size: int = 0
    more: bool = False


# Before a value in a message: that it is text, and how long. Most are short, and a backfill packs tens of millions.
_SHORT: Final = tuple(b"t" + length.to_bytes(4, "big") for length in range(256))


def insert_head(oid: int, columns: int) -> bytes:
    """How the Insert messages of a table begin."""
    return b"I" + oid.to_bytes(4, "big") + b"N" + columns.to_bytes(2, "big")


def insert(head: bytes, values: Sequence[bytes | None]) -> bytes:
    """A row as the Insert message that would have brought it."""
    parts = [head]
    for value in values:
        if value is None:
            parts.append(b"n")
        else:
            size = len(value)
            parts.append(_SHORT[size] if size < 256 else b"t" + size.to_bytes(4, "big"))
            parts.append(value)
    return b"".join(parts)


def append(writer: LogWriter, move: Move, seen: Seen, keys: Iterable[tuple[str, ...]], tables: Sequence[Table]) -> None:
    """Append these keys with their rows and let them go; durable once `writer.wait(writer.queued(), …)` says so."""
    found: dict[bytes, list[tuple[str, bytes]]] = {encode_key(key): [] for key in keys}
    for table in tables:
        for key, message in table.rows:
            found.setdefault(key, []).append((table.source, message))
    by_partition: dict[int, list[bytes]] = {}
    for key in found:
        by_partition.setdefault(partition_of(key, move.partitions), []).append(key)
    for partition, listed in by_partition.items():
        for portion in _portions(listed, found):
            now = Seen(seen.lsn, seen.time, seen.snapshot, None, portion.more, tuple(sorted(portion.large)))
            value = frame.encode(
                frame.ROWS,
                lsn=0,
                time=seen.time,
                keys=portion.keys,
                sources=[table.source for table in tables],
                relations=[now.line(), *(table.description for table in tables)],
                changes=portion.rows,
            )
            writer.append(move.topic, partition, value)
    writer.commit()


def mark(writer: LogWriter, move: Move, seen: Seen, what: Mark) -> None:
    """Note in every partition that a backfill begins, or has read every row of these sources."""
    line = Seen(seen.lsn, seen.time, seen.snapshot, what).line()
    sources = [source.name.sql for source in move.sources if source.keys]
    value = frame.encode(frame.ROWS, lsn=0, time=seen.time, sources=sources, relations=[line])
    for partition in range(move.partitions):
        writer.append(move.topic, partition, value)
    writer.commit()


def _portions(keys: list[bytes], found: dict[bytes, list[tuple[str, bytes]]]) -> Iterator[_Portion]:
    portion = _Portion()
    for key in keys:
        rows, large, size = found[key], None, len(key) + 4
        for _, message in rows:
            size += len(message) + 4
        if size > LARGEST:  # then one of them may be too large
            large = {(source, key.decode()) for source, message in rows if len(message) > LARGEST}
            rows = [(source, message) for source, message in rows if len(message) <= LARGEST]
            size = len(key) + 4 + sum(len(message) + 4 for _, message in rows)
        if portion.keys and (portion.size + size > LIMIT or len(portion.keys) >= KEYS_PER_FRAME):
            yield portion
            portion = _Portion()
        portion.keys.append(key)
        if large:
            portion.large |= large
        if portion.size + size <= LIMIT:
            portion.rows += [message for _, message in rows]
            portion.size += size
            continue
        portion.size += len(key) + 4
        for _, message in rows:
            if portion.rows and portion.size + len(message) > LIMIT:  # of this key alone
                yield portion
                portion = _Portion([key], more=True, size=len(key) + 4)
            portion.rows.append(message)
            portion.size += len(message) + 4
    if portion.keys:
        yield portion


def seen(found: Frame) -> Seen:
    """When the rows of a ROWS frame were read."""
    it = orjson.loads(found.relations()[0])["rows"]
    large = tuple((source, key) for source, key in it.get("large", ()))
    return Seen(lsn_number(it["lsn"]), it["time"], it["snapshot"], it.get("mark"), it.get("more", False), large)


def relations(found: Frame) -> dict[int, dict[str, Any]]:
    """The relation descriptions of a frame of any kind, by oid."""
    described = [orjson.loads(line) for line in found.relations() if line.startswith(_RELATION)]
    return {each["oid"]: each for each in described}
