"""Replay: read a stretch of the log again, and converge its keys beside the consumers.

Harmless by construction: converge reads the truth, so what is right stays as it is, and nothing goes back in time.
The keys of a batch are converged under the lock of their partitions' positions, which consumers of the same keys take
too: still one writer for each key at a time. How far it came is written with the data, so that it goes on where it
was killed, and the rows that it changed are counted exactly. A key that it has made right is right for every change
further on that it could see (`consumers.seen`): of many changes of one key, most cost their reading alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from cdc.frame import CHANGES
from cdc.log import Log
from cdc.router import decode_key, encode_key
from cdc.stretch import Stretch
from consumers.appliers import open_session
from consumers.converge import Batch, Converger, Result
from consumers.dead_letters import Key
from consumers.outlook import check_topic
from consumers.prefetch import Fetched
from consumers.reading import Reading, readable
from consumers.seen import Seen
from sql.connection import Connection, own
from sql.errors import Busy
from sql.faultpoints import reached
from sql.files import load
from sql.model import Move, Plan

FIRST_BATCH, MAX_BATCH = 2_000, 20_000  # keys converged in one transaction
REMEMBERED: Final = 32 << 20  # bytes of keys that are right already, about: twice is held
TARGET_SECONDS: Final = 0.15  # a batch's: live changes of its partitions wait for it, at most
_ONE_AT_A_TIME = "SELECT pg_try_advisory_lock(hashtextextended('cutover.replay.' || %s || '.' || %s, 0))"

Progress = Callable[[int, int], None]  # records read, records in all


@dataclass(slots=True)
class Replayed:
    """What a replay did, over all of its runs. `keys` counts a key once for each batch that it was in."""

    records: int = 0
    keys: int = 0
    changed: int = 0
    dead_letters: int = 0
    seconds: float = 0.0  # of this run
    finished: bool = False
    resumed: bool = False


@dataclass(slots=True)
class _Task:
    """A replay under way: where each partition ends, and where it stands."""

    id: int
    ends: dict[int, int]
    at: dict[int, int]
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.total = self.left()

    def left(self) -> int:
        return sum(max(0, end - self.at[partition]) for partition, end in self.ends.items())


class Replayer:
    """Replays one move. Raises Busy when another replay of it runs, Halted, Gap, Unreachable."""

    def __init__(
        self,
        dsn: str,
        plan: Plan,
        move: Move,
        log: Log,
        stop: threading.Event,
        progress: Progress = lambda done, total: None,
    ) -> None:
        self.dsn, self.plan, self.move, self.log, self.stop, self.progress = dsn, plan, move, log, stop, progress
        self.limit = FIRST_BATCH

    def _busy(self, conn: Connection) -> Busy:
        """Who replays the move already."""
        given = {"plan": self.plan.name, "move": self.move.name}
        row = conn.execute(load("replay/holder").encode(), given).fetchone()
        if row is None:
            return Busy(f"another replay of {self.move.name} runs", hint="let it end, then run this again")
        pid, since, client = row
        return Busy(
            f"another replay of {self.move.name} runs, since {since} UTC, from {client} (session {pid} of the server)",
            hint="let it end, or stop it there with Ctrl-C; where it hangs,"
            f" SELECT pg_terminate_backend({pid}); it goes on where it was when it is started again",
        )

    def run(
        self,
        spec: str,
        stretches: Sequence[Stretch],
        keys: Collection[Key] | None = None,
        *,
        restart: bool = False,
    ) -> Replayed:
        """Converge the keys of the stretches, or of these only `keys`. An unfinished replay of the same `spec` goes
        on with the stretches that it was begun with, unless `restart`."""
        started = time.monotonic()
        with open_session(self.dsn, f"replay {self.plan.name}") as conn:
            row = conn.execute(_ONE_AT_A_TIME, (self.plan.name, self.move.name)).fetchone()
            if not (row and row[0]):
                raise self._busy(conn)
            check_topic(conn, self.log, self.move)
            task = None if restart else self._unfinished(conn, spec)
            done = Replayed(resumed=task is not None)
            task = task or self._begin(conn, spec, stretches)
            self._work(conn, task, None if keys is None else {encode_key(key) for key in keys}, done)
            self._close(conn, task, done)
        done.seconds = round(time.monotonic() - started, 3)
        return done

    def _unfinished(self, conn: Connection, spec: str) -> _Task | None:
        row = conn.execute(load("replay/unfinished"), (self.plan.name, self.move.name, spec)).fetchone()
        if row is None:
            return None
        number, partitions, ends, at = row
        return _Task(number, dict(zip(partitions, ends, strict=True)), dict(zip(partitions, at, strict=True)))

    def _begin(self, conn: Connection, spec: str, stretches: Sequence[Stretch]) -> _Task:
        parameters = {
            "plan": self.plan.name,
            "move": self.move.name,
            "spec": spec,
            "partitions": [each.partition for each in stretches],
            "starts": [each.start for each in stretches],
            "ends": [each.end for each in stretches],
        }
        with own(conn):
            row = conn.execute(load("replay/begin"), parameters).fetchone()
        assert row is not None
        return _Task(
            int(row[0]), {each.partition: each.end for each in stretches}, {s.partition: s.start for s in stretches}
        )

    def _work(self, conn: Connection, task: _Task, chosen: set[bytes] | None, done: Replayed) -> None:
        converger = Converger(conn, self.move, "replay", self.plan.digest)
        seen = Seen(self.move, REMEMBERED)
        reading = Reading(self.log, self.move, task.at)
        try:
            for fetched in reading.until(task.ends, self.stop):
                self._converge(converger, seen, task, fetched, chosen, done)
                self.progress(task.total - task.left(), task.total)
        finally:
            reading.close()

    def _converge(
        self,
        converger: Converger,
        seen: Seen,
        task: _Task,
        fetched: Sequence[Fetched],
        chosen: set[bytes] | None,
        done: Replayed,
    ) -> None:
        """Converge what was read and this run has not read the mapping for since, slice by slice; the last slice notes
        how far that is."""
        frames = [(each, readable(self.move, each)) for each in fetched]
        keys: dict[bytes, tuple[int, int]] = {}
        for each, found in frames:
            place = (each.partition, each.offset)
            keys.update((key, place) for key in seen.unseen(found) if chosen is None or key in chosen)
            task.at[each.partition] = each.offset + 1
        ordered = sorted(keys)
        portions = [ordered[at : at + self.limit] for at in range(0, len(ordered), self.limit)] or [[]]
        changes = [found for _, found in frames if found.kind == CHANGES]
        for portion in portions:
            last = portion is portions[-1]
            step = {
                "id": task.id,
                "at": [task.at[partition] for partition in task.ends],
                "records": len(frames),
                "keys": len(ordered),
            }
            begun = time.monotonic()
            result = converger.apply(
                Batch(
                    move=self.move,
                    keys={decode_key(key): keys[key] for key in portion},
                    sources=set(),  # any may have changed: what was wrong may be wrong in any column
                    frames=changes,
                    expected=dict.fromkeys({keys[key][0] for key in portion} or task.ends),
                    steps={},
                    note=partial(_note, step if last else None, task.id),
                )
            )
            reached("replay.after-commit")
            if result.locked is not None and not result.letters:
                seen.remember(portion, (), result.locked)
            self._adapt(result, time.monotonic() - begun)
            done.dead_letters += len(result.letters)

    def _adapt(self, result: Result, seconds: float) -> None:
        if seconds > TARGET_SECONDS and result.keys >= self.limit:
            self.limit = max(100, int(self.limit * TARGET_SECONDS / seconds))
        elif result.keys >= self.limit and seconds < TARGET_SECONDS / 2:
            self.limit = min(MAX_BATCH, self.limit * 2)

    def _close(self, conn: Connection, task: _Task, done: Replayed) -> None:
        done.finished = task.left() == 0
        query = (
            load("replay/finish")
            if done.finished
            else "SELECT records, keys, changed FROM cutover.replay WHERE id = %s"
        )
        with own(conn):
            row = conn.execute(query.encode(), (task.id,)).fetchone()
        if row is not None:
            done.records, done.keys, done.changed = (int(value) for value in row)


def _note(step: dict[str, object] | None, task: int, conn: Connection, result: Result) -> None:
    """Within the batch's last transaction: what it changed, and how far the replay is."""
    if result.changed:
        conn.execute("UPDATE cutover.replay SET changed = changed + %s WHERE id = %s", (result.changed, task))
    if step is not None:
        conn.execute(load("replay/step"), step, prepare=True)
    reached("replay.before-commit")
