"""Which partition a change belongs to: by the target key, whichever table it came from (DESIGN section 3)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import orjson

from cdc import pgoutput
from cdc.pgoutput import Relation, Value
from sql.connection import ANY_MOVE
from sql.errors import Halted
from sql.model import Move, Plan, Source
from sql.names import Name
from sql.uses import written

logger = logging.getLogger("cutover.capture")


def encode_key(components: Sequence[str]) -> bytes:
    """A key as it stands in frames: its components' text joined by NUL, which text cannot contain."""
    return "\0".join(components).encode()


def decode_key(key: bytes) -> tuple[str, ...]:
    """The components of a frame's key."""
    return tuple(key.decode().split("\0"))


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key. Part of the log's format: changing it would tear keys apart (L3)."""
    return crc32(key) % partitions


class Buffer:
    """What one partition has collected since its last frame."""

    __slots__ = ("changes", "keys", "lsn", "move", "partition", "relations", "size", "sources", "txns", "xid")

    def __init__(self, move: Move, partition: int) -> None:
        self.move, self.partition = move, partition
        self.lsn = 0
        self.clear()

    def clear(self) -> None:
        self.keys: dict[bytes, None] = {}
        self.changes: list[bytes] = []
        self.txns: list[tuple[int, int, int, int]] = []
        self.sources: set[str] = set()
        self.relations: set[bytes] = set()
        self.size = 0
        self.xid = -1


@dataclass(slots=True)
class Lane:
    """One way of a relation's rows into one move: the tuple positions of a key, and the move's buffers."""

    positions: tuple[int, ...]
    buffers: list[Buffer]
    move: Move


@dataclass(slots=True)
class Route:
    """What capture does with a relation's changes.

    `simple`: one lane, a key of one column, no columns to strip: capture reads the key in place.
    `strip`: positions to keep where a table sends more than may enter the log (REPLICA IDENTITY FULL).
    `ours`: the moves that write it themselves, as `own_by` names them, and read none of these writes again (C12).
    """

    source: str
    description: bytes
    lanes: list[Lane]
    simple: bool
    before: int
    buffers: list[Buffer]
    strip: tuple[int, ...] | None
    ours: frozenset[bytes] = frozenset()

    def spread(self, message: bytes) -> tuple[bytes, list[tuple[Buffer, bytes]]]:
        """The message as the log may have it, and each (buffer, key) it belongs to.

        A moved key counts twice, old and new (C6). A row whose key is NULL belongs nowhere.
        """
        change = pgoutput.change(message)
        found: dict[tuple[int, bytes], Buffer] = {}
        for lane in self.lanes:
            for values, other in ((change.new, change.old), (change.old, None)):
                key = _key(values, lane.positions, other)
                if key is not None:
                    buffer = lane.buffers[crc32(key) % len(lane.buffers)]
                    found[(id(buffer), key)] = buffer
        if self.strip is not None:
            message = _stripped(message, change, self.strip)
        return message, [(buffer, key) for (_, key), buffer in found.items()]


def _key(values: tuple[Value, ...] | None, positions: tuple[int, ...], other: tuple[Value, ...] | None) -> bytes | None:
    if values is None:
        return None
    parts = []
    for at in positions:
        value = values[at]
        if value is pgoutput.UNCHANGED and other is not None:
            value = other[at]  # a toasted key column that did not change: the old tuple carries it
        if not isinstance(value, bytes):
            return None
        parts.append(value)
    return b"\0".join(parts)


def _positions(relation: Relation, source: Name, columns: tuple[str, ...]) -> tuple[int, ...]:
    """Where the key's columns stand. Raises Halted when one is gone, or no longer comes with every change (C5, C10)."""
    positions = []
    for column in columns:
        at = relation.position(column)
        if at is None:
            raise Halted(
                f"column {column!r} of {source} is gone or renamed",
                hint="first mend the plan",
                cure="cutover prepare\ncutover heal",
            )
        if not relation.columns[at].key:
            raise Halted(
                f"the replica identity of {source} no longer holds {column!r}: a DELETE would not say which key it was",
                cure="cutover prepare --set-identity\ncutover heal",
            )
        positions.append(at)
    return tuple(positions)


def _stripped(message: bytes, change: pgoutput.Change, keep: tuple[int, ...]) -> bytes:
    parts = [message[:5]]
    if change.old is not None:
        parts += (message[5:6], pgoutput.pack_row(tuple(change.old[at] for at in keep)))
    if change.new is not None:
        parts += (b"N", pgoutput.pack_row(tuple(change.new[at] for at in keep)))
    return b"".join(parts)


class Router:
    """Routes by relation oid, made from Relation messages as they come."""

    def __init__(self, plan: Plan) -> None:
        self.buffers = {move.name: [Buffer(move, at) for at in range(move.partitions)] for move in plan.moves}
        self.all = [buffer for buffers in self.buffers.values() for buffer in buffers]
        self._sources: dict[int, list[tuple[Move, Source]]] = {}
        # What converge and the annotation of a move write. What else is in such a transaction a trigger or a cascade of
        # the target wrote, be it to another move's target, and nobody but the stream tells of it.
        self._ours: dict[tuple[str | None, str], set[bytes]] = {}
        for move in plan.moves:
            for table in {(move.target.schema, move.target.relation), *written(move.annotate_sql or "")}:
                self._ours.setdefault(table, {ANY_MOVE}).add(f"{move.plan} {move.name}".encode())
            for source in move.sources:
                if source.keys:
                    self._sources.setdefault(source.oid, []).append((move, source))

    def moves_of(self, oid: int) -> list[Move]:
        """The moves that a relation feeds."""
        return [move for move, _ in self._sources.get(oid, [])]

    def name_of(self, oid: int) -> str:
        """A relation's name as the plan knows it."""
        found = self._sources.get(oid)
        return found[0][1].name.sql if found else str(oid)

    def route(self, relation: Relation) -> Route | None:
        """How the changes of a relation go; None when no move reads it.

        Raises Halted when the table no longer has the shape the mapping was compiled against (C10).
        """
        readers = self._sources.get(relation.oid)
        if not readers:
            return None
        source = readers[0][1]
        if Name(relation.schema, relation.name) != source.name:
            raise Halted(
                f"{source.name} is now called {Name(relation.schema, relation.name)}",
                hint="first rename it back, or mend the plan",
                cure="cutover prepare\ncutover heal",
            )
        lanes: list[Lane] = []
        for move, reader in readers:
            for column in reader.columns:
                if relation.position(column) is None:
                    # Converge reads the view, which follows a rename; WAL from before a `prepare` lacks its columns.
                    logger.warning("column %s of %s is not in the stream", column, source.name)
            for columns in reader.keys:
                positions = _positions(relation, source.name, columns)
                lanes.append(Lane(positions, self.buffers[move.name], move))
        allowed = {column for _, reader in readers for column in reader.columns}
        keep = tuple(at for at, column in enumerate(relation.columns) if column.name in allowed)
        strip = keep if len(keep) < len(relation.columns) else None
        described = orjson.dumps(
            {
                "oid": relation.oid,
                "source": source.name.sql,
                "columns": [
                    {"name": c.name, "type": c.type_oid, "typmod": c.typmod, "key": c.key}
                    for c in (relation.columns[at] for at in keep)
                ],
                "keys": {move.name: reader.keys for move, reader in readers},
            }
        )
        simple = len(lanes) == 1 and len(lanes[0].positions) == 1 and strip is None
        return Route(
            source.name.sql, described, lanes, simple, lanes[0].positions[0] if simple else 0, lanes[0].buffers, strip,
            self._written_by(source.name),
        )  # fmt: skip

    def _written_by(self, table: Name) -> frozenset[bytes]:
        found = (self._ours.get((schema, table.relation), set()) for schema in (table.schema, None))
        return frozenset().union(*found)


def own_by(content: bytes) -> bytes:
    """Whose a transaction is that began with this message: a move's ("plan move"), ANY_MOVE, or nobody's of the service
    (empty)."""
    if content == b"own":
        return ANY_MOVE
    return content[4:] if content.startswith(b"own ") else b""
