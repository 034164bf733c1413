"""Tell lag from drift: let the log pass the snapshot, look again, and judge by row versions (R1, R2)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import Any

import psycopg

from cdc.replication import lsn_number, lsn_text
from reconcile.diff import FAILS, Cells, Comparison, Failed, Key, of_data
from reconcile.verdicts import ACCEPTED, Circumstances, Judgement, Observation, judge, unproven
from sql import faultpoints
from sql.connection import Connection, own
from sql.errors import CutoverError
from sql.files import load
from sql.model import Move
from sql.render import bind

# Capture answers this message with a watermark to every partition at once. Alone it would be neither committed nor
# flushed, and then never decoded (S4); inside `own` the commit flushes it, and capture still meets it first.
_WATERMARK = "SELECT pg_logical_emit_message(false, 'cutover', 'watermark')"
_PATIENCE = 10.0  # seconds without any progress until the stream is taken to stand still
_PATIENCE_WITHOUT_CAPTURE = 5.0
_LEAST_WAIT = 0.2  # seconds that later batches still wait once the time of all is used up
_AT_ONCE = 1000  # keys observed in one snapshot


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the move is applied. `complete`: every partition has a position."""

    applied: int | None
    complete: bool
    halted: str | None
    gap: str | None
    refreshed_until: datetime | None
    refresh_applied: bool
    backfill: str | None
    capturing: bool | None
    mark: str | None

    @property
    def blocked(self) -> str | None:
        """Why waiting is of no use."""
        if not self.complete:
            return "not every partition has a position: cutover prepare"
        if self.gap:
            return f"there is a gap between the database and the log: {self.gap}"
        return f"the move is halted: {self.halted}" if self.halted else None


@dataclass(frozen=True, slots=True)
class Wait:
    """How waiting ended. `stopped`: why the LSN was not reached; `moving`: it would have been, with more time."""

    progress: Progress
    stopped: str | None = None
    moving: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one key: its last observation, the verdict, and its cells where it was asked to list them."""

    seen: Observation
    judgement: Judgement
    cells: Cells | None = None


def progress(conn: Connection, move: Move) -> Progress:
    """Read how far a move is applied."""
    row = conn.execute(load("reconcile/progress").encode(), {"plan": move.plan, "move": move.name}).fetchone()
    if row is None:
        raise CutoverError(f"move {move.name} is not prepared", cure=f"cutover prepare {move.name}")
    applied, positions, partitions, *rest = row
    halted, gap, refreshed_until, refresh_applied, backfill, capturing, mark = rest
    return Progress(
        applied=None if applied is None else lsn_number(applied),
        complete=positions == partitions,
        halted=halted,
        gap=gap,
        refreshed_until=refreshed_until,
        refresh_applied=refresh_applied,
        backfill=backfill,
        capturing=capturing,
        mark=mark,
    )


class Prover:
    """Proves what became of keys that differed. `writer` is a second session: it commits the marker.

    `on_round` is told the number of each round and of the keys that are still open. `whole` compares every column,
    where `comparison` does not.
    """

    def __init__(
        self,
        comparison: Comparison,
        writer: Connection,
        move: Move,
        timeout: float,
        on_round: Callable[[int, int], None],
        whole: Comparison | None = None,
    ) -> None:
        self.whole = whole or comparison
        self.comparison, self.writer, self.move, self.timeout = comparison, writer, move, timeout
        self.on_round = on_round
        self.rounds = 0
        self.failed: list[Failed] = []
        self._waited = 0.0
        self._stood_at: str | None = None  # where the stream stood when it was given up

    def anew(self) -> None:
        """Let the proofs that follow wait as long as the first ones might."""
        self._waited, self._stood_at = 0.0, None

    def prove(self, candidates: Sequence[Observation], list_cells: int) -> list[Outcome]:
        """Judge every candidate, and read the cells of the first `list_cells` that stand.

        1. Wait until the log is applied beyond every candidate's LSN: while it moves, and `timeout` seconds at most in
           all calls together.
        2. Observe the keys again, in a snapshot taken after that, and judge each by both observations.
        3. What changed in between starts over with the new observation.
        """
        started = time.monotonic()
        deadline = started + max(_LEAST_WAIT, self.timeout - self._waited)
        histories = {seen.key: [seen] for seen in candidates}
        outcomes: list[Outcome] = []
        for attempt in count(1):
            self.rounds += 1
            self.on_round(attempt, len(histories))
            faultpoints.reached("reconcile.before-proof")
            wait = self._wait(max(history[-1].lsn for history in histories.values()), deadline)
            final = wait.stopped is not None or time.monotonic() > deadline
            keys = list(histories)
            for at in range(0, len(keys), _AT_ONCE):
                left = list_cells - _listed(outcomes)
                outcomes += self._round(keys[at : at + _AT_ONCE], histories, wait, final, left)
            if not histories:
                self._waited += time.monotonic() - started
                return outcomes
            time.sleep(min(0.25, 0.002 * attempt))
        raise AssertionError

    def _round(
        self, keys: Sequence[Key], histories: dict[Key, list[Observation]], wait: Wait, final: bool, list_cells: int
    ) -> list[Outcome]:
        """Observe the keys once more and judge them; those still open keep the observation in their history.

        A row that fails is isolated by bisection (A6); it could not be compared, and is counted so (R4).
        """
        try:
            return self._judged(keys, histories, wait, final, list_cells)
        except psycopg.Error as error:
            if not of_data(error):
                raise
            if len(keys) == 1:
                self.failed.append(Failed(tuple(keys), 1, error.sqlstate or "", FAILS))
                del histories[keys[0]]
                return []
        middle = len(keys) // 2
        first = self._round(keys[:middle], histories, wait, final, list_cells)
        return first + self._round(keys[middle:], histories, wait, final, list_cells - _listed(first))

    def _judged(
        self, keys: Sequence[Key], histories: dict[Key, list[Observation]], wait: Wait, final: bool, list_cells: int
    ) -> list[Outcome]:
        state = wait.progress
        dead = self._dead()
        found: list[tuple[Observation, Judgement | None]] = []
        with self.comparison.snapshot(limit_ms=60_000):
            seen = self.comparison.observed(keys)
            faultpoints.reached("reconcile.in-proof")
            due = self._due(state)
            for key in keys:
                about = Circumstances(
                    applied=state.applied if wait.stopped is None else None,
                    due=key in due,
                    dead=dead.get(key),
                    pending=state.backfill,
                )
                judgement = judge(histories[key], seen[key], about)
                if judgement is None and final:
                    judgement = unproven(seen[key], about, wait.stopped, wait.moving)
                found.append((seen[key], judgement))
            standing = [now.key for now, judgement in found if judgement is not None and not judgement.settled]
            cells = self.comparison.cells(standing[: max(0, list_cells)])
            lsn = self.comparison.lsn()
        outcomes = []
        accepted = self._accepted([now for now, judgement in found if judgement and judgement.verdict == "drift"])
        for now, told in found:
            judgement = Judgement("match", told.kind, ACCEPTED, settled=True) if told and now.key in accepted else told
            if judgement is None:
                histories[now.key] = [*histories[now.key][-20:], replace(now, lsn=lsn)]
            else:
                del histories[now.key]
                outcomes.append(Outcome(replace(now, lsn=lsn), judgement, cells.get(now.key)))
        return outcomes

    # -- waiting -------------------------------------------------------------------------------------------------------

    def progress(self) -> Progress:
        """Read how far the move is applied."""
        return progress(self.writer, self.move)

    def _wait(self, lsn: int, deadline: float) -> Wait:
        """Wait until `lsn` is applied in every partition, and the touches of the refresh that are in the log."""
        with own(self.writer):
            self.writer.execute(_WATERMARK)
            faultpoints.reached("reconcile.in-marker")
        mark, moves, moved, pause = self.progress().mark, 0, time.monotonic(), 0.001
        while True:
            state = self.progress()
            now = time.monotonic()
            if state.blocked:
                return Wait(state, state.blocked)
            if state.applied is not None and state.applied >= lsn and state.refresh_applied:
                return Wait(state)
            if state.mark == self._stood_at:
                return self._given_up(state, lsn, moving=False)
            if state.mark != mark:
                mark, moves, moved = state.mark, moves + 1, now
            patience = _PATIENCE_WITHOUT_CAPTURE if state.capturing is False else _PATIENCE
            if now - moved > min(patience, self.timeout) or now > deadline:
                return self._given_up(state, lsn, moving=moves > 0 and now - moved < 1.0)
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    def _given_up(self, state: Progress, lsn: int, *, moving: bool) -> Wait:
        self._stood_at = None if moving else state.mark
        where = f"applied up to {lsn_text(state.applied or 0)}, {lsn_text(lsn)} is needed"
        if moving:
            return Wait(state, f"the stream is still behind: {where}", moving=True)
        who = "capture is not running" if state.capturing is False else "the consumers do not move"
        return Wait(state, f"{who}: {where}")

    # -- what else is known --------------------------------------------------------------------------------------------

    def _due(self, reached: Progress) -> set[Key]:
        """Keys whose mapping the clock has changed since their refresh was last applied (A10)."""
        if self.move.refresh is None:
            return set()
        sql = bind(self.move.refresh.keys_sql, self.move)
        columns = ", ".join(f"concat(due.c{at})" for at in range(len(self.move.key)))
        names = ", ".join(f"c{at}" for at in range(len(self.move.key)))
        given = {"since": reached.refreshed_until or "-infinity", "until": "now"}
        text = f"SELECT {columns} FROM ({sql}) AS due ({names})"
        return {tuple(row) for row in self.comparison.conn.execute(text.encode(), given, prepare=False)}

    def _accepted(self, seen: Sequence[Observation]) -> set[Key]:
        """Of keys that drift: those that somebody has decided to leave, being exactly what they are now."""
        if not seen:
            return set()
        given = {**self._names, "keys": json.dumps([it.key for it in seen])}
        rows = self.writer.execute(load("reconcile/accepted").encode(), given).fetchall()
        decided = {tuple(key): (legacy, consolidated) for key, legacy, consolidated in rows}
        if not decided:
            return set()
        with self.whole.snapshot():  # a look at some columns must know the decision about all of them
            now = self.whole.observed(list(decided))
        return {key for key, it in now.items() if decided[key] == (it.legacy, it.consolidated)}

    def _dead(self) -> dict[Key, str]:
        rows = self.writer.execute(load("reconcile/dead").encode(), self._names)
        return {tuple(key): sqlstate for key, sqlstate in rows}

    def dead_letters(self) -> int:
        """How many keys wait in the dead letters."""
        return len(self._dead())

    @property
    def _names(self) -> dict[str, Any]:
        return {"plan": self.move.plan, "move": self.move.name}


def _listed(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome.cells is not None for outcome in outcomes)
