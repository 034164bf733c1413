"""Restore a source as of a moment.

Needs the plan's folder and the log, not the source: it may be gone, and the mapping's view with it. The rows of one
partition at a time are on disk. What the log cannot know is counted and said, never guessed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg

from cdc import frame
from cdc.beginning import reached
from cdc.log import Log
from cdc.replication import lsn_number
from cdc.stretch import whole
from consumers.reading import frames_between
from cutover.interrupted import Interrupted
from cutover.restore.bases import Bases
from cutover.restore.into import Into, refuse_missing_schema
from cutover.restore.moment import Moment
from cutover.restore.rebuild import Reach, Rebuild, reaches
from cutover.restore.report import Restored
from cutover.restore.spool import Spool
from sql.connection import Connection, connect, own
from sql.errors import CutoverError, Gap, UsageError
from sql.files import load
from sql.keys import key_text
from sql.model import topic_name
from sql.names import Name
from sql.query import tables_of
from sql.spec import MoveSpec, PlanFolder

_PATIENCE: Final = 10.0  # seconds that capture may take to bring the log up to now
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)

Progress = Callable[[int, int], None]  # partitions done, partitions in all


@dataclass(frozen=True, slots=True)
class Topic:
    """A move as far as reading its log needs it."""

    name: str
    topic: str


def restore(
    conn: Connection,
    log: Log,
    folder: PlanFolder,
    source: Name,
    moment: Moment,
    into: Name,
    move: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Restored:
    """Rebuild the rows of `source` as they were at the moment into a table that is new or empty; all of it or nothing.

    Raises UsageError for a source that no move reads or a moment to come, Gap when the topic is gone, Refused when the
    table has rows, lacks columns that the log has, or is to be in a schema that is not there.
    """
    spec = _spec(folder, source, move)
    refuse_missing_schema(conn, into)
    topic = Topic(spec.name, topic_name(folder.name, spec.name))
    if log.topic_identity(topic.topic) is None:
        raise Gap(f"the topic {topic.topic} is gone, and the rows with it", cure="cutover heal")
    wanted = _wanted_lsn(conn, moment)
    _wait_reached(log, topic, wanted)
    done = Restored(source.sql, into.sql, spec.name)
    stretches = whole(log, topic)
    times: list[int] = []
    reached: list[Reach] = []
    with conn.transaction(), closing(log.reader()) as reader:
        table = Into(conn, into)
        for stretch in stretches:
            with Spool() as spool:
                bases = Bases(topic.name, source.sql, moment, spool)
                for offset, found in frames_between(reader, topic, stretch):
                    bases.take(offset, found)
                places = stretch.partition, len(stretches)
                rebuild = Rebuild(topic.name, source.sql, moment, places, bases, spool)
                for offset, found in frames_between(reader, topic, stretch):
                    rebuild.take(offset, found)
                if rebuild.shape is not None:
                    done.rows += table.fill(rebuild.shape, rebuild.rows())
                _report(done, stretch.partition, rebuild, bases)
            reached.append(rebuild.reach)
            times += [] if rebuild.first_time is None else [rebuild.first_time]
            progress(stretch.partition + 1, len(stretches))
        table.finish()
        done.there = table.there
    done.reached = reaches(reached, wanted)
    done.since = (_EPOCH + timedelta(microseconds=min(times))).isoformat() if times else None
    done.not_in_log = _not_in_log(conn, spec, source, table.columns)
    return done


def interrupted(dsn: str, into: Name) -> Interrupted:
    """What an interruption has left: all of the restore, or nothing of it."""
    try:
        with connect(dsn, "restore") as conn:
            row = conn.execute("SELECT to_regclass(%s) IS NOT NULL", (into.sql,)).fetchone()
            done = row == (True,) and conn.execute(f"SELECT FROM {into} LIMIT 1".encode()).fetchone() is not None
    except (KeyboardInterrupt, CutoverError, psycopg.Error):
        return Interrupted(f"interrupted, and the database does not answer: {into} has all rows, or none was restored")
    if done:
        return Interrupted(f"interrupted, and {into} has rows: they were there before, or it was done already")
    return Interrupted("interrupted: nothing was restored")


def _spec(folder: PlanFolder, source: Name, move: str | None) -> MoveSpec:
    """The move whose log holds the source: the one named, else one with the rows of a backfill, else any."""
    readers = [each for each in folder.moves if source in tables_of(each.mapping.text, each.mapping.file)]
    if move is not None:
        readers = [each for each in readers if each.name == move]
    if not readers:
        known = sorted({str(it) for each in folder.moves for it in tables_of(each.mapping.text, each.mapping.file)})
        of = f"move {move}" if move else f"plan {folder.name}"
        raise UsageError(f"{source} is no source of {of}", cure=f"its sources: {', '.join(known)}")
    return min(readers, key=lambda each: each.backfill != "rows")


def _wanted_lsn(conn: Connection, moment: Moment) -> int:
    """How far the log must reach. UsageError for what is yet to come."""
    row = conn.execute(load("backfill/snapshot").encode()).fetchone()
    assert row is not None
    now, clock = lsn_number(row[1]), row[2]
    if (moment.lsn or 0) > now or (moment.time or 0) > clock:
        at = (_EPOCH + timedelta(microseconds=clock)).isoformat(timespec="seconds")
        raise UsageError(f"{moment.given} is yet to come", hint=f"the server is at {row[1]}, {at}")
    with own(conn):  # a commit: what nobody flushes stays where capture cannot see it
        conn.execute("SELECT pg_logical_emit_message(false, 'cutover', 'watermark')")
    return now if moment.lsn is None else moment.lsn


def _wait_reached(log: Log, topic: Topic, lsn: int) -> None:
    """Give capture a moment to bring the log up to an LSN; whether it did is judged by what is read then."""
    deadline = time.monotonic() + _PATIENCE
    waiting = set(range(len(log.end_offsets(topic.topic))))
    with closing(log.reader()) as reader:
        begins, ends = log.begin_offsets(topic.topic), log.end_offsets(topic.topic)
        reader.assign({(topic.topic, at): max(begins[at], ends[at] - 1) for at in waiting})
        while waiting and time.monotonic() < deadline:
            for record in reader.poll(0.5):
                if reached(frame.decode(record.value)) >= lsn:
                    waiting.discard(record.partition)


def _report(done: Restored, partition: int, found: Rebuild, bases: Bases) -> None:
    done.complete &= found.complete
    done.long_values += found.unknown()
    done.without_key += found.without_key
    done.too_large += [key_text(key.decode().split("\0")) for key in sorted(found.large)]
    if bases.chapters.other_history:
        done.other_history.append(partition)
    if bases.chapters.gap:
        done.gaps.append(partition)


def _not_in_log(conn: Connection, spec: MoveSpec, source: Name, logged: set[str]) -> list[str]:
    """Columns of the source that never entered the log, as far as the plan and the table, if it is there, name them.

    Without any row in the log, say behind a gap, nothing tells which columns it would have had.
    """
    if not logged:
        return []
    there = [name for (name,) in conn.execute(load("restore/columns").encode(), {"table": source.sql})]
    waived = [column for table, column in spec.waive if table == source]
    return sorted({*there, *waived} - logged)
