"""One move, once: every key compared, every difference proven, the rest checked; maybe from a place that was kept."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from importlib.metadata import version
from typing import cast

from cdc.replication import lsn_text
from reconcile import whole
from reconcile.candidates import Candidates
from reconcile.chosen import chosen, drawn
from reconcile.chunk import Chunk, Failed, Key
from reconcile.confidence import CONFIDENCE, fewer_than
from reconcile.decisions import Decision
from reconcile.diff import Comparison
from reconcile.document import Chunks, MoveReport, Sample, Scope
from reconcile.invariants import Evaluation, evaluate
from reconcile.manner import Manner, Step
from reconcile.pace import Pace
from reconcile.parallel import Parallel
from reconcile.place import Place
from reconcile.proof import Outcome, Prover
from reconcile.ranged import ranged
from reconcile.sample import Drawing
from reconcile.scope import ALL, Selection, sentence
from reconcile.sources import source_rows
from reconcile.storage import storage
from reconcile.tally import Tally
from sql.connection import Connection
from sql.model import Move


class OneMove:
    """One move, once."""

    def __init__(
        self, reader: Connection, writer: Connection, move: Move, manner: Manner, only: Selection = ALL,
        place: Place | None = None, others: Sequence[Connection] = (),
    ) -> None:  # fmt: skip
        """`others`: sessions that compare side by side, where more than the one is wanted."""
        all_columns, move = move, only.narrowed(move)
        self.reader, self.move, self.manner, self.progress = reader, move, manner, manner.progress
        self.comparison = Comparison(reader, move, only.where.sql if only.where else None)
        if only.keys is None and not only.draw:
            self.comparison.carry(ranged(reader, move), few_others=self.comparison.few_others())
        self.parallel = Parallel(self.comparison, others) if others else None
        self.prover = Prover(self.comparison, writer, move, manner.timeout, self._on_round,
                             Comparison(reader, all_columns) if only.columns else None)  # fmt: skip
        self.pace = Pace(manner.chunk_rows, aim=manner.chunk_seconds)
        self.tally = place.tally.restore(move, manner.listed) if place else Tally(move, manner.listed)
        self.splits = 0
        self.only, self.place = only, place
        self.drawing = Drawing(self.comparison, only.draw, Pace(manner.chunk_rows)) if only.draw else None
        self._beside = self.parallel is not None and only.keys is None and self.drawing is None
        self._comparing = False
        self.started_at, self._started = _now(writer), time.monotonic()
        self.evaluations: list[Evaluation] = []
        self.storage = place.storage if place else storage(writer, all_columns)  # before anything is read

    def report(self) -> MoveReport:
        """Invariants first: they presume that what is in flight arrives, which comparing every key then proves."""
        if self.place is not None:
            self.started_at, self.evaluations = self.place.started_at, self.place.evaluated()
        elif self.only.whole:  # they are of all keys
            self.evaluations = self._invariants()
            whole.null_keys(self.comparison, self.tally, self._limit_ms)
        columns, quarantined = whole.covered(self.comparison, self.tally, self._limit_ms)
        sources = source_rows(self.comparison, self._limit_ms) if self.manner.sources and self.only.whole else []
        longest = self._compare_keys()
        if self.manner.keep is not None:
            self._judge_anew()
        state = self.prover.arrival.progress()
        tally = self.tally
        invariants = [it.settle(tally.standing, tally.counts["drift"]) for it in self.evaluations]
        verdict = tally.verdict(invariants)
        scope = self._scope()
        return MoveReport(
            move=self.move.name,
            verdict=verdict,
            sentence=sentence(self.move.name, verdict, tally.rows(), scope, state.awaited,
                              untold=any(it.holds is None for it in invariants)),
            awaited=state.awaited,
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
            accepted=tally.accepted,
            conflicts=tally.conflicts,
            duplicates=dict(tally.duplicates),
            null_keys=dict(tally.null_keys),
            quarantined=quarantined,
            sources=sources,
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
            longest_snapshot_ms=round((self.parallel or self.comparison).longest * 1000, 1),
            exact=scope.whole,
            scope=scope,
            who=self.comparison.role(),
            version=version("cutover"),
            started_at=self.started_at,
            seconds=round(self.seconds, 3),
        )  # fmt: skip

    def ended(self) -> list[Decision]:
        """Decisions to leave a key as it is that this run saw to be about something else than is there, in its end."""
        some = [] if self.only.keys is None and not self.only.whole else self.only.keys
        return self.prover.known.ended(some)

    def left(self) -> list[Key]:
        """Keys whose difference stands no more although they differ: the plan's rule keeps them."""
        told = self.only.whole or self.only.keys is not None  # else it says of none that it is gone
        return self.prover.known.left_by_rule() if told else []

    @property
    def seconds(self) -> float:
        """Since the run began, without the time between the processes that did it."""
        return time.monotonic() - self._started + (self.place.seconds if self.place else 0.0)

    def _here(self, high: Key, total: int) -> Place:
        """All that a later process needs to go on behind this key."""
        return Place.of(self.started_at, round(self.seconds, 3), high, total, self.tally, self.evaluations,
                        self.storage)  # fmt: skip

    def _compare_keys(self) -> float:
        """Compare chunk by chunk, and prove what differs whenever enough has come together.

        Returns the seconds of the longest chunk's transaction.
        """
        total = max(self.comparison.estimate()) if self.only.keys is None else len(self.only.keys)
        longest = 0.0
        self._comparing = True
        # Sessions that compare side by side, and the proof beside them, end before anything else does.
        with closing(self._candidates()) as candidates, closing(self._chunks()) as chunks:
            for chunk in chunks:
                if isinstance(chunk, Failed):
                    self.tally.failed(chunk, counted=False)
                    continue
                longest = max(longest, chunk.seconds)
                self.tally.chunk(chunk)
                candidates.add(chunk.different)
                self.progress(Step(self.move.name, "compare", self.tally.counts["compared"], total))
                if self.manner.keep is not None and chunk.high is not None:
                    self.manner.keep(self._here(chunk.high, total))
            self._comparing = False
            candidates.finish()
        return longest

    def _judge_anew(self) -> None:
        """The differences of a long run are looked at once more in its end: much may have arrived, or been mended."""
        found = [it for it in self.tally.listed if it.kind not in ("failed", "duplicate")]
        for difference in found:
            self.tally.withdraw(difference)
        with closing(self._candidates()) as candidates:
            for chunk in chosen(self.comparison, [tuple(it.key) for it in found], self._split):
                if isinstance(chunk, Failed):
                    self.tally.failed(chunk, counted=False)
                    continue
                self.tally.again(chunk)
                candidates.add(chunk.different)
            candidates.finish()

    def _chunks(self) -> Generator[Chunk | Failed, None, None]:
        if self.drawing is not None:
            yield from drawn(self.comparison, self.drawing, self._split)
        elif self.only.keys is None:
            comparison = self.parallel or self.comparison
            yield from comparison.chunks(self.pace, self._split, self.place.key if self.place else None)
        else:
            yield from chosen(self.comparison, self.only.keys, self._split)

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

    def _candidates(self) -> Candidates:
        """Proven beside a comparison that leaves the prover's session alone; a place that is kept has all proven."""
        each = self.manner.keep is not None
        return Candidates(self.prover, self._settle, self._unlisted, beside=self._beside, each=each)

    def _unlisted(self) -> int:
        return self.tally.most - len(self.tally.listed)

    def _settle(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            self.tally.outcome(outcome)
        for failed in self.prover.failed:
            self.tally.failed(failed, counted=True)
        self.prover.failed.clear()

    def _on_round(self, number: int, keys: int) -> None:
        if not (self._beside and self._comparing):  # the comparison tells its own progress meanwhile
            self.progress(Step(self.move.name, "prove", number, keys))

    def _split(self) -> None:
        self.splits += 1

    def _invariants(self) -> list[Evaluation]:
        if self.move.invariants:
            self.progress(Step(self.move.name, "invariants", 0, len(self.move.invariants)))
        return evaluate(self.comparison, self.move.invariants, self._limit_ms)

    @property
    def _limit_ms(self) -> int:
        return max(1000, int(self.manner.timeout * 1000))


def _now(conn: Connection) -> datetime:
    """By the server's clock, which also stamps what upsets a proof."""
    row = conn.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    return cast("datetime", row[0]).astimezone(UTC)
