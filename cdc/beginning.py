"""Marks in every partition: beginnings, where capture begins, again, to follow which slot; sources that it lost; how
far it has read where the log is not whole.

From a beginning on the log has every commit of that slot in order, those too that stand before the mark already: a
capture that was killed appends them once more. Whoever reads the log as a history needs to know; consumers do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final

import orjson

from cdc import frame
from cdc.frame import WATERMARK, Frame
from cdc.log import LogWriter
from cdc.replication import lsn_number, lsn_text
from cdc.router import Buffer
from sql.connection import Connection
from sql.errors import Gap
from sql.files import load
from sql.model import Move, Plan

_MARK: Final = b'{"slot":'
_LOST: Final = b'{"lost":'
_PASSED: Final = b'{"passed":'

Chapter = tuple[str, str, int, str | None]


@dataclass(frozen=True, slots=True)
class Beginning:
    """A slot, and where in it capture begins.

    system, point: the server that the slot was made on, and its consistent point. healed, accepted: gaps of the plan
    that were healed before, and the LSN up to which halts of the move were. lsn: every commit from it on follows.
    again: those among them that stand before it already come once more; otherwise nothing new begins but a chapter.
    """

    system: str
    point: str
    healed: int
    accepted: str | None
    lsn: int
    again: bool = True

    @property
    def chapter(self) -> Chapter:
        """Between two beginnings of the same chapter nothing is missing; between others it may be."""
        return self.system, self.point, self.healed, self.accepted

    def line(self) -> bytes:
        """As the relation line of a watermark."""
        return orjson.dumps({"slot": asdict(self) | {"lsn": lsn_text(self.lsn)}})


def mark(conn: Connection, plan: Plan, writer: LogWriter, silent: Iterable[tuple[str, int]] = ()) -> None:
    """Append the mark to every partition, before anything else; also to the `silent` ones, of which no source is
    followed any more. The stream must have been started: until then another capture may move the slot."""
    begun, time = _mark(conn, plan, plan.moves, writer, again=True)
    for topic, partition in silent:
        writer.append(topic, partition, frame.encode(WATERMARK, lsn=begun.lsn, time=time, relations=[begun.line()]))
    writer.commit()


def name_chapter(conn: Connection, plan: Plan, move: Move, writer: LogWriter) -> None:
    """Append to a move's partitions which chapter follows, before a backfill's rows: capture may not have begun it."""
    _mark(conn, plan, [move], writer, again=False)


def turn_page(conn: Connection, plan: Plan, move: Move, writer: LogWriter) -> None:
    """Append to a move's partitions that a gap is being healed: the chapter that follows it, and a watermark of where
    the slot stands, from which on the log is to be trusted again."""
    _mark(conn, plan, [move], writer, again=False, page=1)


def _mark(
    conn: Connection, plan: Plan, moves: Iterable[Move], writer: LogWriter, *, again: bool, page: int = 0
) -> tuple[Beginning, int]:
    """Append it; returns it as of a move that nobody knows, and the server's time."""
    row = conn.execute(load("capture/beginning"), (plan.name,)).fetchone()
    if row is None or row[3] is None:
        raise Gap(f"the slot {plan.slot} is gone", cure="cutover heal")
    system, point, healed, confirmed, time, accepted = row
    for move in moves:
        begun = Beginning(system, point, healed + page, accepted.get(move.name), lsn_number(confirmed), again)
        sources = [source.name.sql for source in move.sources if source.keys]
        value = frame.encode(
            WATERMARK, lsn=begun.lsn if page else 0, time=int(time), sources=sources, relations=[begun.line()]
        )
        for partition in range(move.partitions):
            writer.append(move.topic, partition, value)
    writer.commit()
    return Beginning(system, point, healed, None, lsn_number(confirmed), again), int(time)


def passing(lsn: int, time: int) -> bytes:
    """A watermark of a partition that capture leaves something out of: it has read so far, and nobody has applied all
    that came before."""
    return frame.encode(WATERMARK, lsn=0, time=time, relations=[orjson.dumps({"passed": lsn_text(lsn)})])


def reached(found: Frame) -> int:
    """The LSN up to which capture had read when it appended a frame; 0: it does not say. Not all of that needs to be in
    the log: what is, the frame's own LSN tells."""
    if found.lsn or found.kind != WATERMARK:
        return found.lsn
    lines = found.relations()
    return lsn_number(orjson.loads(lines[0])["passed"]) if lines and lines[0].startswith(_PASSED) else 0


def lose(writer: LogWriter, buffers: Iterable[Buffer], source: str, lsn: int, time: int) -> None:
    """Note in these partitions, which must have been flushed, that a source's changes come up to an LSN and no more."""
    value = frame.encode(WATERMARK, lsn=lsn, time=time, relations=[orjson.dumps({"lost": source})])
    for buffer in buffers:
        writer.append(buffer.move.topic, buffer.partition, value)


def beginning(found: Frame) -> Beginning | None:
    """What a frame says of it, if it is such a mark; its `sources` are followed, its `time` is the server's."""
    lines = found.relations() if found.kind == WATERMARK else []
    if not lines or not lines[0].startswith(_MARK):
        return None
    it = orjson.loads(lines[0])["slot"]
    return Beginning(**it | {"lsn": lsn_number(it["lsn"])})


def lost(found: Frame) -> str | None:
    """The source that a frame says is lost, if it does."""
    lines = found.relations() if found.kind == WATERMARK else []
    return orjson.loads(lines[0])["lost"] if lines and lines[0].startswith(_LOST) else None
