"""A reconciliation from end to end: compare every key, prove every difference, check the rest, keep the record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import psycopg

from cdc.log import Log
from cdc.replication import lsn_text
from reconcile import coverage, history
from reconcile.confidence import CONFIDENCE, fewer_than
from reconcile.diff import FAILS, SESSION, Chunk, Comparison, Failed, Key, Pace, of_data
from reconcile.document import (
    Chunks,
    ColumnCoverage,
    MoveReport,
    Quarantined,
    ReconcileDocument,
    Sample,
    Scope,
    worst,
)
from reconcile.invariants import Evaluation, evaluate
from reconcile.proof import Prover
from reconcile.sample import Drawing
from reconcile.scope import ALL, Selection, sentence
from reconcile.tally import Tally
from reconcile.verdicts import Observation
from sql.connection import Connection, connect, translated
from sql.errors import Refused, UsageError
from sql.model import Move, Plan
from sql.pairs import Side

FIRST_CHUNK = 2_000
_CHOSEN = 1_000  # chosen keys compared in one snapshot
_BATCH = 5_000  # candidates that are proven together


@dataclass(frozen=True, slots=True)
class Step:
    """Where a running reconciliation is.

    `phase` "compare": `done` keys of about `total` (the planner's estimate); "prove": round `done`, `total` keys open;
    "invariants": `total` of them.
    """

    move: str
    phase: str
    done: int
    total: int


def reconcile(
    dsn: str,
    plan: Plan,
    moves: Sequence[str] | None = None,
    log: Log | None = None,
    *,
    chunk_rows: int = FIRST_CHUNK,
    timeout: float = 30.0,
    listed: int = 1000,
    record: bool = True,
    progress: Callable[[Step], None] = lambda step: None,
    mendable: dict[str, list[Key]] | None = None,
    only: Mapping[str, Selection] | None = None,
) -> ReconcileDocument:
    """Compare all keys of the moves (None: of all moves) and prove every difference; the run is recorded.

    `chunk_rows`: keys in the first chunk; the following ones take as many as a fraction of a second allows. `timeout`:
    seconds that a proof waits for the stream, `listed`: differences that the document shows with their cells.
    `mendable` is filled with the drifted keys that `reconcile.repair` can mend, by move. `only`: a part of each
    move, which proves nothing of the rest: it is recorded as not exact, and no gate opens for it.

    Raises UsageError for an unknown move, Refused for one that is not prepared, Unreachable without the database.
    """
    chosen = [_move(plan, name) for name in moves] if moves else list(plan.moves)
    reports = []
    with (
        translated(),
        connect(dsn, "reconcile", **SESSION) as reader,
        connect(dsn, "reconcile marker", synchronous_commit="on", lock_timeout="5s") as writer,
    ):
        for move in chosen:
            run = _Run(
                reader, writer, move, chunk_rows, timeout, listed, progress, ALL if only is None else only[move.name]
            )
            report = run.report()
            if mendable is not None and run.tally.mendable:
                mendable[move.name] = run.tally.mendable
            reports.append(
                history.record(writer, plan, report, run.only) if record else history.aged(writer, plan.name, report)
            )
    return ReconcileDocument(
        plan=plan.name, digest=plan.digest, moves=reports, verdict=worst([report.verdict for report in reports])
    )


class _Run:
    """One move, once."""

    def __init__(
        self, reader: Connection, writer: Connection, move: Move, chunk_rows: int, timeout: float, listed: int,
        progress: Callable[[Step], None], only: Selection,
    ) -> None:  # fmt: skip
        _refuse_unprepared(reader, move)
        move = only.narrowed(move)
        self.reader, self.move, self.timeout, self.progress = reader, move, timeout, progress
        self.comparison = Comparison(reader, move, only.where.sql if only.where else None)
        self.prover = Prover(self.comparison, writer, move, timeout, self._on_round)
        self.pace = Pace(chunk_rows)
        self.tally = Tally(move, listed)
        self.splits = 0
        self.only = only
        self.drawing = Drawing(self.comparison, only.draw, Pace(chunk_rows)) if only.draw else None

    def report(self) -> MoveReport:
        """Invariants first: they presume that what is in flight arrives, which comparing every key then proves."""
        started_at, started = datetime.now(UTC), time.monotonic()
        evaluations = self._invariants() if self.only.whole else []  # they are of all keys
        columns, quarantined = self._coverage()
        if self.only.whole:
            self._null_keys()
        longest = self._compare_keys()
        state = self.prover.progress()
        tally = self.tally
        invariants = [it.settle(tally.standing, tally.counts["drift"]) for it in evaluations]
        verdict = tally.verdict(invariants)
        scope = self._scope()
        return MoveReport(
            move=self.move.name,
            verdict=verdict,
            sentence=sentence(self.move.name, verdict, tally.rows().compared, tally.counts["lag"], scope),
            findings=tally.findings(invariants),
            snapshot_lsn=None if tally.last_lsn is None else lsn_text(tally.last_lsn),
            first_lsn=None if tally.first_lsn is None else lsn_text(tally.first_lsn),
            applied_lsn=None if state.applied is None else lsn_text(state.applied),
            rows=tally.rows(),
            kinds=dict(tally.kinds),
            columns={column.name: tally.columns[column.name] for column in self.move.written},
            differences=tally.listed,
            listed=len(tally.listed),
            capped=tally.capped,
            conflicts=tally.conflicts,
            duplicates=dict(tally.duplicates),
            null_keys=dict(tally.null_keys),
            quarantined=quarantined,
            invariants=invariants,
            coverage=columns,
            compared_columns=[column.name for column in self.move.written],
            masked_columns=sorted(self.move.mask),
            dead_letters=self.prover.dead_letters(),
            rounds=self.prover.rounds,
            chunks=Chunks(
                done=tally.counts["chunks"], split=self.splits, failed=tally.counts["failed chunks"],
                longest_ms=round(longest * 1000, 1),
            ),
            longest_snapshot_ms=round(self.comparison.longest * 1000, 1),
            exact=scope.whole,
            scope=scope,
            who=self.comparison.role(),
            version=version("cutover"),
            started_at=started_at,
            seconds=round(time.monotonic() - started, 3),
        )  # fmt: skip

    def _compare_keys(self) -> float:
        """Compare chunk by chunk, and prove what differs whenever enough has come together.

        Returns the seconds of the longest chunk's transaction.
        """
        total = max(self.comparison.estimate()) if self.only.keys is None else len(self.only.keys)
        waiting: list[Observation] = []
        longest = 0.0
        for chunk in self._chunks():
            if isinstance(chunk, Failed):
                self.tally.failed(chunk, counted=False)
                continue
            longest = max(longest, chunk.seconds)
            self.tally.chunk(chunk)
            waiting += chunk.different
            self.progress(Step(self.move.name, "compare", self.tally.counts["compared"], total))
            if len(waiting) >= _BATCH:
                self._prove(waiting)
                waiting = []
        self._prove(waiting)
        return longest

    def _chunks(self) -> Iterator[Chunk | Failed]:
        if self.drawing is not None:
            yield from self._drawn(self.drawing)
        elif self.only.keys is None:
            yield from self.comparison.chunks(self.pace, self._split)
        else:
            for at in range(0, len(self.only.keys), _CHOSEN):
                yield from self._chosen(self.only.keys[at : at + _CHOSEN])

    def _drawn(self, drawing: Drawing) -> Iterator[Chunk | Failed]:
        """The keys of a sample; where even the keys cannot be computed, what follows is not told."""
        try:
            for keys in drawing.batches():
                for at in range(0, len(keys), _CHOSEN):
                    yield from self._chosen(keys[at : at + _CHOSEN])
        except psycopg.Error as error:
            if not (of_data(error) or isinstance(error, psycopg.errors.QueryCanceled)):
                raise
            yield Failed((), 1, error.sqlstate or "", "the keys could not be drawn")

    def _scope(self) -> Scope:
        """What was compared; of a sample also what it says of all keys, once all is counted."""
        scope = self.only.document()
        if self.drawing is None:
            return scope
        drawn, differ = self.tally.counts["compared"] + self.tally.counts["skipped"], self.tally.standing
        sample = Sample(
            asked=self.drawing.draw.asked, seed=self.drawing.draw.seed, keys=self.drawing.keys, drawn=drawn,
            differ=differ, confidence=CONFIDENCE, fewer_than=fewer_than(self.drawing.keys, drawn, differ),
        )  # fmt: skip
        return scope.model_copy(update={"sample": sample})

    def _chosen(self, keys: Sequence[Key]) -> Iterator[Chunk | Failed]:
        """Some keys; by halves where one of them fails."""
        try:
            yield self.comparison.chosen(keys)
        except psycopg.Error as error:
            if not (of_data(error) or isinstance(error, psycopg.errors.QueryCanceled)):
                raise
            if len(keys) == 1:
                yield Failed(tuple(keys), 1, error.sqlstate or "", FAILS)
                return
            self._split()
            yield from self._chosen(keys[: len(keys) // 2])
            yield from self._chosen(keys[len(keys) // 2 :])

    def _prove(self, candidates: list[Observation]) -> None:
        if not candidates:
            return
        for outcome in self.prover.prove(candidates, self.tally.most - len(self.tally.listed)):
            self.tally.outcome(outcome)
        for failed in self.prover.failed:
            self.tally.failed(failed, counted=True)
        self.prover.failed.clear()

    def _on_round(self, number: int, keys: int) -> None:
        self.progress(Step(self.move.name, "prove", number, keys))

    def _split(self) -> None:
        self.splits += 1

    def _invariants(self) -> list[Evaluation]:
        if self.move.invariants:
            self.progress(Step(self.move.name, "invariants", 0, len(self.move.invariants)))
        return evaluate(self.comparison, self.move.invariants, self._limit_ms)

    def _coverage(self) -> tuple[list[ColumnCoverage], list[Quarantined]]:
        try:
            with self.comparison.snapshot(self._limit_ms):
                return coverage.columns(self.reader, self.move), coverage.quarantined(self.reader, self.move)
        except psycopg.errors.QueryCanceled:
            self.tally.unknown.append("the quarantined rows could not be counted in time")
            return coverage.columns(self.reader, self.move), []

    def _null_keys(self) -> None:
        """A row without a key is on no side of any chunk: it is counted here, and never green (A7)."""
        sides: tuple[Side, ...] = ("legacy",) if self.move.rows == "add" else ("legacy", "consolidated")
        for side in sides:
            try:
                if number := self.comparison.null_keys(side, self._limit_ms):
                    self.tally.null_keys[side] = number
            except psycopg.errors.QueryCanceled:
                self.tally.unknown.append(f"rows without a key on the {side} side could not be counted in time")

    @property
    def _limit_ms(self) -> int:
        return max(1000, int(self.timeout * 1000))


def _move(plan: Plan, name: str) -> Move:
    try:
        return plan.move(name)
    except KeyError:
        known = ", ".join(move.name for move in plan.moves)
        raise UsageError(f"plan {plan.name} has no move {name!r}", cure=f"one of: {known}") from None


def _refuse_unprepared(conn: Connection, move: Move) -> None:
    missing = conn.execute("SELECT to_regclass(%s) IS NULL", (move.view.sql,)).fetchone()
    if missing is None or missing[0]:
        raise Refused(f"move {move.name} is not prepared", cure=f"cutover prepare {move.name}")
