"""Restore: a source's rows as of a moment, rebuilt from the log into another table.

Needs the plan's folder and the log, not the source: it may be gone, and the mapping's view with it. One partition is in
memory at a time. What the log cannot know is counted and said, never guessed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cdc import frame
from cdc.log import Log, LogReader
from cdc.replication import lsn_number
from cdc.stretch import Stretch, whole
from consumers.reading import frames_between
from cutover.rebuild import Bases, Moment, Rebuild, Row, Shape
from sql.connection import Connection
from sql.errors import Gap, Refused, UsageError
from sql.files import load
from sql.model import topic_name
from sql.names import Name, quote
from sql.query import tables_of
from sql.spec import MoveSpec, PlanFolder

_PATIENCE: Final = 10.0  # seconds that capture may take to bring the log up to now
_EXAMPLES: Final = 20  # keys named in the report
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)

Progress = Callable[[int, int], None]  # partitions done, partitions in all


@dataclass(frozen=True, slots=True)
class Topic:
    """A move as far as reading its log needs it."""

    name: str
    topic: str


@dataclass(slots=True)
class Restored:
    """What was rebuilt, and what the log cannot know.

    complete: the log holds every row: a backfill's, from its beginning to its end, or all since a TRUNCATE.
    reached: the log holds every commit before the moment.
    long_values: by column, cells left NULL whose value is in no record (C7). too_large: keys of rows that did not fit
    into a record (L4). without_key: rows whose key became NULL, which nobody follows. not_in_log: the source's columns
    that no mapping reads. other_history: partitions whose LSNs fell back; what came before that is left out.
    since: when the log's first change of the source's partitions was committed.
    """

    source: str
    into: str
    move: str
    rows: int = 0
    complete: bool = True
    reached: bool = True
    long_values: Counter[str] = field(default_factory=Counter)
    too_large: list[str] = field(default_factory=list)
    without_key: int = 0
    not_in_log: list[str] = field(default_factory=list)
    other_history: list[int] = field(default_factory=list)
    since: str | None = None

    @property
    def certain(self) -> bool:
        """Is it what the source had, as far as its columns are in the log?"""
        gaps = self.long_values or self.too_large or self.without_key or self.other_history
        return self.complete and self.reached and not gaps

    def document(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self) | {"long_values": dict(self.long_values), "certain": self.certain}

    def unknown(self) -> Iterator[str]:
        """What the log cannot know, a sentence each."""
        if not self.complete:
            yield (
                f"rows that nothing changed since the log begins ({self.since or 'it is empty'}) are missing:"
                f' no backfill of {self.move} with backfill = "rows" ended before that moment and is still in the log'
            )
        if not self.reached:
            yield "the log does not reach that moment: start capture, let it catch up, and restore again"
        for column, count in self.long_values.items():
            yield f"{count:,} long values of {quote(column)} are NULL here: updates left them alone, so WAL lacks them"
        if self.too_large:
            yield f"rows of these keys were too large for the log, and are as they were before: {_some(self.too_large)}"
        if self.without_key:
            yield f"{self.without_key:,} rows got NULL as their key; they are missing, and nobody followed them"
        if self.other_history:
            numbers = ", ".join(map(str, self.other_history))
            yield f"the server went back in time: what partition {numbers} had before that is left out"
        if self.not_in_log:
            yield f"never in the log, since no mapping reads them: {', '.join(map(quote, self.not_in_log))}"


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
    table has rows, or lacks columns that the log has.
    """
    spec = _spec(folder, source, move)
    topic = Topic(spec.name, topic_name(folder.name, spec.name))
    if log.topic_identity(topic.topic) is None:
        raise Gap(f"the topic {topic.topic} is gone, and the rows with it", cure="cutover heal")
    wanted = _wanted_lsn(conn, moment)
    _wait_reached(log, topic, wanted)
    done = Restored(source.sql, into.sql, spec.name)
    stretches = whole(log, topic)
    times: list[int] = []
    with conn.transaction(), closing(log.reader()) as reader:
        table = _Into(conn, into)
        for stretch in stretches:
            found = _rebuild(reader, topic, source, moment, stretch, len(stretches))
            if found.shape is not None:
                done.rows += table.fill(found.shape, found.rows())
            _report(done, stretch.partition, found, wanted)
            times += [] if found.first_time is None else [found.first_time]
            progress(stretch.partition + 1, len(stretches))
        table.finish()
    done.since = (_EPOCH + timedelta(microseconds=min(times))).isoformat() if times else None
    done.not_in_log = _not_in_log(conn, spec, source, table.columns)
    return done


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
        raise UsageError("that moment is yet to come", cure=f"the server is at {row[1]}")
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
                if frame.decode(record.value).lsn >= lsn:
                    waiting.discard(record.partition)


def _rebuild(
    reader: LogReader, topic: Topic, source: Name, moment: Moment, stretch: Stretch, partitions: int
) -> Rebuild:
    """Read one partition twice."""
    bases = Bases(topic.name, source.sql, moment)
    for offset, found in frames_between(reader, topic, stretch):
        bases.take(offset, found)
    rebuild = Rebuild(topic.name, source.sql, moment, stretch.partition, partitions, bases)
    for offset, found in frames_between(reader, topic, stretch):
        rebuild.take(offset, found)
    return rebuild


def _report(done: Restored, partition: int, found: Rebuild, wanted: int) -> None:
    done.complete &= found.complete
    done.reached &= found.passed or found.reached >= wanted
    done.long_values += found.unknown()
    done.without_key += found.without_key
    done.too_large += [key.decode().replace("\0", ",") for key in sorted(found.large)]
    if found.other_history:
        done.other_history.append(partition)


class _Into:
    """The table that is filled: made with the log's columns and types, or there and empty."""

    def __init__(self, conn: Connection, name: Name) -> None:
        self._conn, self._name = conn, name
        self._there = self._names()
        self._made = not self._there
        self._shape: Shape | None = None
        self.columns: set[str] = set()
        if self._there and conn.execute(f"SELECT FROM {name} LIMIT 1".encode()).fetchone() is not None:
            raise Refused(f"{name} has rows", cure="name a new table, or one that is empty")

    def fill(self, shape: Shape, rows: Iterable[Row]) -> int:
        """Copy rows into it; returns how many."""
        self._shape = shape
        self._add(shape.columns)
        listed = ", ".join(quote(name) for name in shape.names)
        count = 0
        with self._conn.cursor().copy(f"COPY {self._name} ({listed}) FROM STDIN".encode()) as copy:
            for row in rows:
                copy.write_row(_texts(row, shape.names))
                count += 1
        return count

    def finish(self) -> None:
        """A table that was made here gets the source's identity as its primary key, which proves it unique."""
        if not self._made or self._shape is None or self._shape.full:
            return
        key = ", ".join(quote(column["name"]) for column in self._shape.columns if column["key"])
        if key:
            self._conn.execute(f"ALTER TABLE {self._name} ADD PRIMARY KEY ({key})".encode())

    def _names(self) -> list[str]:
        return [name for (name,) in self._conn.execute(load("restore/columns").encode(), {"table": self._name.sql})]

    def _add(self, columns: Sequence[dict[str, Any]]) -> None:
        self.columns.update(column["name"] for column in columns)
        new = [column for column in columns if column["name"] not in self._there]
        if not new:
            return
        if not self._made:
            names = ", ".join(quote(column["name"]) for column in new)
            raise Refused(f"{self._name} has no column {names}", cure="add it, or name a new table")
        typed = [f"{quote(column['name'])} {kind}" for column, kind in zip(new, self._types(new), strict=True)]
        statement = (
            f"ALTER TABLE {self._name} {', '.join('ADD ' + each for each in typed)}"
            if self._there
            else f"CREATE TABLE {self._name} ({', '.join(typed)})"
        )
        self._conn.execute(statement.encode())
        self._there = self._names()

    def _types(self, columns: Sequence[dict[str, Any]]) -> list[str]:
        parameters = {"types": [each["type"] for each in columns], "typmods": [each["typmod"] for each in columns]}
        found = [kind for (kind,) in self._conn.execute(load("restore/types").encode(), parameters)]
        for column, kind in zip(columns, found, strict=True):
            if kind is None:
                raise Refused(
                    f"the type of {quote(column['name'])} is gone from this database",
                    cure=f"make the type and the table {self._name}, then restore into that",
                )
        return found


def _texts(row: Row, names: tuple[str, ...]) -> list[str | None]:
    values = row.values
    if row.names != names:
        known = dict(zip(row.names, row.values, strict=True))
        values = tuple(known.get(name) for name in names)
    return [value.decode() if isinstance(value, bytes) else None for value in values]


def _not_in_log(conn: Connection, spec: MoveSpec, source: Name, logged: set[str]) -> list[str]:
    """Columns of the source that never entered the log, as far as the plan and the table, if it is there, name them."""
    there = [name for (name,) in conn.execute(load("restore/columns").encode(), {"table": source.sql})]
    waived = [column for table, column in spec.waive if table == source]
    return sorted({*there, *waived} - logged)


def _some(keys: Sequence[str]) -> str:
    more = len(keys) - _EXAMPLES
    return ", ".join(keys[:_EXAMPLES]) + (f" and {more:,} more" if more > 0 else "")
