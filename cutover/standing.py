"""How the topics and positions of a plan stand: what the database recorded, held against the log that is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cdc import frame
from cdc.log import Log
from consumers.positions import moved
from sql.connection import Connection
from sql.files import load


@dataclass(frozen=True, slots=True)
class Standing:
    """What is recorded of a move. `positions`: by partition, where reading goes on and what was applied by converge."""

    log_identity: str | None
    log: str
    move: str
    topic: str
    topic_identity: str | None
    partitions: int
    positions: dict[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why what is recorded does not fit the log. `partition` None: it is the whole topic's."""

    partition: int | None
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


def read_standings(conn: Connection, plan: str) -> list[Standing]:
    """What is recorded of each move of a prepared plan, in their names' order."""
    rows = conn.execute(load("status/topics").encode(), {"plan": plan}).fetchall()
    found = []
    for identity, log, move, topic, topic_identity, partitions, positions in rows:
        at = {int(partition): (offset, applied) for partition, (offset, applied) in positions.items()}
        found.append(Standing(identity, log, move, topic, topic_identity, partitions, at))
    return found


def troubles(log: Log, it: Standing) -> Iterator[Trouble]:
    """Everything that makes a gap of a move's topic and positions. Raises Unreachable."""
    if log.topic_identity(it.topic) != it.topic_identity or it.topic_identity is None:
        yield Trouble(
            None,
            f"the topic of {it.move}, {it.topic}, is not the one that prepare made",
            "it was deleted, or deleted and made again: what it held is lost",
        )
        return
    begins, ends = log.begin_offsets(it.topic), log.end_offsets(it.topic)
    for partition in range(it.partitions):
        if partition not in it.positions:
            what = f"{it.move}, partition {partition}: its position is missing"
            yield Trouble(partition, what, "somebody removed its row from cutover.position")
        else:
            yield from _position(it, partition, begins, ends)


def _position(it: Standing, partition: int, begins: Sequence[int], ends: Sequence[int]) -> Iterator[Trouble]:
    offset, applied = it.positions[partition]
    begin, end = begins[partition], ends[partition]
    if not begin <= offset <= end:
        what = f"{it.move}, partition {partition}: the position {offset} is outside the log"
        yield Trouble(partition, what, f"the log holds {begin} to {end}: retention, or a lost disk")
    elif offset > applied:
        what, _, why = moved(it.move, partition, offset, applied).partition(", and ")
        yield Trouble(partition, what, why)


def log_gap(conn: Connection, plan: str, log: Log) -> str | None:
    """Why changes may be missing between the positions and the log, as they are now; None: they are not."""
    standings = read_standings(conn, plan)
    for it in standings:
        if it.log_identity is not None and it.log_identity != log.identity():
            if log.address == it.log:
                return f"the log {log.address} is not there, or is not the one that it was"
            return f"the log is another one: {log.address}, was {it.log}"
    return next((str(found) for it in standings for found in troubles(log, it)), None)


def behind_unreadable(log: Log, it: Standing) -> dict[int, int]:
    """The offset behind the last unreadable record of each partition that has one between its position and its end."""
    behind: dict[int, int] = {}
    ends = log.end_offsets(it.topic)
    left = {partition: ends[partition] for partition, (at, _) in it.positions.items() if at < ends[partition]}
    reader = log.reader()
    try:
        reader.assign({(it.topic, partition): it.positions[partition][0] for partition in left})
        while left:
            for record in reader.poll(1.0):
                try:
                    frame.decode(record.value)
                except frame.UnreadableFrame:
                    behind[record.partition] = record.offset + 1
                if record.offset + 1 >= left.get(record.partition, 0):
                    left.pop(record.partition, None)
    finally:
        reader.close()
    return behind
