"""Tell lag from drift: let the log pass the snapshot, look again, and judge by row versions (R1, R2)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

import psycopg

from cdc import partitions
from reconcile.arrival import Arrival, Wait
from reconcile.chunk import Cells, Failed, Key
from reconcile.diff import Comparison
from reconcile.known import Known
from reconcile.session import BRIEF_LOCK_MS, FAILS, of_data, patiently
from reconcile.verdicts import ACCEPTED, Circumstances, Judgement, Observation, judge, unproven
from sql import faultpoints
from sql.connection import Connection
from sql.model import Move

_LEAST_WAIT = 0.2  # seconds that later batches still wait once the time of all is used up
_AT_ONCE = 1000  # keys observed in one snapshot


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one key: its last observation, the verdict, and its cells where it was asked to list them."""

    seen: Observation
    judgement: Judgement
    cells: Cells | None = None


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
        self.comparison, self.move, self.timeout = comparison, move, timeout
        self.arrival = Arrival(writer, move, timeout)
        self.known = Known(whole or comparison, writer, move)
        self.on_round = on_round
        self.rounds = 0
        self.failed: list[Failed] = []
        self._waited = 0.0

    def anew(self) -> None:
        """Let the proofs that follow wait as long as the first ones might."""
        self._waited = 0.0
        self.arrival.anew()

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
            wait = self.arrival.wait(max(history[-1].lsn for history in histories.values()), deadline)
            final = wait.stopped is not None or time.monotonic() > deadline
            keys = list(histories)
            for at in range(0, len(keys), _AT_ONCE):
                left = list_cells - _listed(outcomes)
                self.arrival.pause(0)
                outcomes += self._round(keys[at : at + _AT_ONCE], histories, wait, final, left)
            if not histories:
                self._waited += time.monotonic() - started
                return outcomes
            self.arrival.pause(min(0.25, 0.002 * attempt))
        raise AssertionError

    def _round(
        self, keys: Sequence[Key], histories: dict[Key, list[Observation]], wait: Wait, final: bool, list_cells: int
    ) -> list[Outcome]:
        """Observe the keys once more and judge them; those still open keep the observation in their history.

        A row that fails is isolated by bisection (A6); it could not be compared, and is counted so (R4). A table that
        somebody locks for a moment is waited for.
        """

        def attempt() -> list[Outcome]:
            self.arrival.pause(0)
            return self._judged(keys, histories, wait, final, list_cells)

        try:
            return patiently(attempt)
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
        dead, pending = self.known.dead(), self._pending()
        found: list[tuple[Observation, Judgement | None]] = []
        with self.comparison.snapshot(limit_ms=60_000, lock_ms=BRIEF_LOCK_MS):
            seen = self.comparison.observed(keys)
            faultpoints.reached("reconcile.in-proof")
            due = self.known.due(self.comparison, state)
            for key in keys:
                about = Circumstances(
                    applied=state.applied if wait.stopped is None else None,
                    due=key in due,
                    dead=dead.get(key),
                    pending=pending,
                )
                judgement = judge(histories[key], seen[key], about)
                if judgement is None and final:
                    judgement = unproven(seen[key], about, wait.stopped, wait.moving)
                found.append((seen[key], judgement))
            standing = [now.key for now, judgement in found if judgement is not None and not judgement.settled]
            cells = self.comparison.cells(standing[: max(0, list_cells)])
        outcomes = []
        accepted = self.known.accepted([now for now, judgement in found if judgement and judgement.verdict == "drift"])
        for now, told in found:
            judgement = Judgement("match", told.kind, ACCEPTED, settled=True) if told and now.key in accepted else told
            if judgement is None:
                histories[now.key] = [*histories[now.key][-20:], now]
            else:
                del histories[now.key]
                outcomes.append(Outcome(now, judgement, cells.get(now.key)))
        return outcomes

    def _pending(self) -> str | None:
        """Why the target cannot be complete yet, for any key. In this order: who follows a change of partitions moves
        the mark and begins to touch in one transaction."""
        found = partitions.changed(self.arrival.writer, self.move)
        if found is not None and found.before is not None:
            return "partitions of a source came, went or were emptied: the consumers are about to touch every key"
        state = self.arrival.progress()
        return f"{state.awaited}: cutover backfill {self.move.name}" if state.awaited else state.filling

    def dead_letters(self) -> int:
        """How many keys wait in the dead letters."""
        return len(self.known.dead())


def _listed(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome.cells is not None for outcome in outcomes)
