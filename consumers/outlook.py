"""Outlook: what a replay would read, before it does anything; and whether it is the right log that it would read."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from cdc.log import Log
from cdc.router import encode_key, partition_of
from cdc.stretch import Stretch
from consumers.dead_letters import Key
from consumers.reading import Reading, readable
from sql.connection import Connection
from sql.errors import Gap, Refused
from sql.files import load
from sql.model import Move

ASSUMED_RATE: Final = 50_000  # keys converged per second, for an estimate; docs/performance.md


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a replay would read: `keys` are distinct; `seconds` is an estimate."""

    records: int
    keys: int
    bytes: int
    seconds: float


def check_topic(conn: Connection, log: Log, move: Move) -> None:
    """Raises Gap unless the topic is the one that `prepare` or `heal` recorded: another one has other records at the
    same offsets (L2). Refused for a move that is not prepared."""
    row = conn.execute(load("consume/topic_identity"), (move.plan, move.name)).fetchone()
    if row is None:
        raise Refused(f"{move.name} is not prepared", cure="cutover prepare")
    if log.topic_identity(move.topic) != row[0]:
        raise Gap(f"the topic of {move.name} is not the one that prepare made", cure="cutover heal")


def only_partitions(move: Move, stretches: Sequence[Stretch], keys: Collection[Key] | None) -> list[Stretch]:
    """The stretches in which these keys can be; all of them where no keys are given."""
    if keys is None:
        return list(stretches)
    wanted = {partition_of(encode_key(key), move.partitions) for key in keys}
    return [each for each in stretches if each.partition in wanted]


def look(log: Log, move: Move, stretches: Sequence[Stretch], keys: Collection[Key] | None = None) -> Outlook:
    """Read a stretch without doing anything."""
    started = time.monotonic()
    chosen = None if keys is None else {encode_key(key) for key in keys}
    seen: set[int] = set()
    records = size = 0
    reading = Reading(log, move, {each.partition: each.start for each in stretches})
    try:
        for fetched in reading.until({each.partition: each.end for each in stretches}, threading.Event()):
            records += len(fetched)
            size += sum(each.size for each in fetched)
            for each in fetched:
                seen.update(hash(key) for key in readable(move, each).keys if chosen is None or key in chosen)
    finally:
        reading.close()
    return Outlook(records, len(seen), size, round(time.monotonic() - started + len(seen) / ASSUMED_RATE, 1))
