"""Echo: what a trigger of the target writes to a source when the service writes the target comes back in the stream.

That is a change as any other (docs/streaming.md), unless the trigger gives a mapped column another value each time: the
row is made right, the trigger fires, the stream tells of it, for ever. So where the target has triggers, a key that the
service's own transactions alone ask for, again and again, is left alone after ROUNDS of it and becomes a dead letter.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from cdc import pgoutput, rows
from cdc.frame import Frame
from cdc.router import decode_key
from consumers.dead_letters import Key, Letter
from sql.connection import Connection
from sql.effects import read_effects
from sql.model import Move

if TYPE_CHECKING:
    from consumers.converge import Batch

ROUNDS: Final = 20  # in which a chain of changes that does come to an end has come to it
_LOOK = 30.0  # seconds between looks at the target's triggers
_REMEMBERED = 10_000  # own transactions, and keys that echo: half of them are forgotten then
_STATE = "09000"  # triggered_action_exception


class Echo:
    """One move's, in the session that converges it: a key has one partition, so one session sees all its rounds."""

    def __init__(self, conn: Connection, move: Move) -> None:
        self._conn, self._move = conn, move
        self._triggers: list[str] = []
        self._looked = float("-inf")
        self._newer: set[int] = set()
        self._older: set[int] = set()
        self._rounds: dict[bytes, int] = {}

    def look(self) -> bool:
        """Has the target triggers that may write to a source? The connection is in autocommit."""
        if time.monotonic() - self._looked >= _LOOK:
            self._looked = time.monotonic()
            found = read_effects(self._conn, self._move.target_oid)
            mine = [each for each in found if each.kind in ("before", "after") and each.upon(self._move.rows)]
            self._triggers = [f"{each.name} of {each.table} ({each.function})" for each in mine]
        return bool(self._triggers)

    def wrote(self) -> None:
        """The transaction that is open has written to the target."""
        if self._triggers:
            row = self._conn.execute("SELECT pg_current_xact_id()::text", prepare=True).fetchone()
            assert row is not None
            if len(self._newer) >= _REMEMBERED // 2:
                self._older, self._newer = self._newer, set()
            self._newer.add(int(row[0]) & 0xFFFFFFFF)

    def endless(self, batch: Batch) -> list[Letter]:
        """A dead letter for each key of a batch that has come back ROUNDS times with nobody else asking for it."""
        if not self.look():
            return []
        mine, others = self._asked([*batch.frames, *batch.left_out])
        for key in [
            key for key in self._rounds if key in others or (key not in mine and decode_key(key) in batch.keys)
        ]:
            del self._rounds[key]
        for key in mine - others:
            self._rounds[key] = self._rounds.get(key, 0) + 1
        if len(self._rounds) > _REMEMBERED:
            most = sorted(self._rounds.items(), key=lambda each: -each[1])
            self._rounds = dict(most[: _REMEMBERED // 2])
        found = sorted(key for key in mine if self._rounds.get(key, 0) >= ROUNDS and decode_key(key) in batch.keys)
        for key in found:
            del self._rounds[key]
        return [self._letter(decode_key(key), *batch.keys[decode_key(key)]) for key in found]

    def _asked(self, frames: Sequence[Frame]) -> tuple[set[bytes], set[bytes]]:
        """The keys that own transactions changed, and those of them, or with rounds, that others did."""
        mine: set[bytes] = set()
        others: set[bytes] = set()
        for frame in frames:
            if not any(self._is_own(it.xid) for it in frame.transactions()):
                others.update(self._rounds.keys() & frame.keys)
                continue
            for xid, keys in _changed(frame, self._move.name):
                (mine if self._is_own(xid) else others).update(keys)
        return mine, others

    def _letter(self, key: Key, partition: int, offset: int) -> Letter:
        message = (
            f"applied {ROUNDS} times in a row for what nothing but its own writes changed in a source: a trigger gives"
            f" it another value each time: {', '.join(self._triggers)}"
        )
        return Letter(key, partition, offset, _STATE, message, None)

    def _is_own(self, xid: int) -> bool:
        return xid in self._newer or xid in self._older


def _changed(found: Frame, move: str) -> Iterator[tuple[int, set[bytes]]]:
    """The id of each transaction of a frame, with the keys of a move that it changed."""
    relations = rows.relations(found)
    transactions, changes = found.transactions(), found.changes()
    ends = [*(it.first for it in transactions[1:]), len(changes)]
    for it, end in zip(transactions, ends, strict=True):
        keys: set[bytes] = set()
        for message in changes[it.first : end]:
            if message[:1] != b"T":
                change = pgoutput.change(message)
                relation = relations[change.oid]
                names = [column["name"] for column in relation["columns"]]
                for columns in relation["keys"].get(move, ()):
                    for row in (change.old, change.new):
                        parts = [row[names.index(column)] for column in columns] if row else [None]
                        if all(isinstance(part, bytes) for part in parts):
                            keys.add(b"\0".join(part for part in parts if isinstance(part, bytes)))
        yield it.xid, keys
