"""What the demo claims, the figures behind it, and the exit code that follows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from cutover.demo.check import Wrong
from cutover.demo.traffic import Outcome
from cutover.demo.writer import Timeline
from reconcile.document import MoveReport, ReconcileDocument, Verdict, exit_code
from sql.counted import counted
from sql.errors import CutoverError, Drift, NotProven
from sql.keys import key_text

LISTED = 100  # wrong cells in the document
AROUND = 0.5  # seconds before and after a flip that are looked at


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class StepTaken(_Part):
    step: str
    seconds: float
    detail: str = ""


class Writes(_Part):
    """`transactions` and `rows` were acknowledged; `lost`: keys of the consolidated tables that do not show them.

    `unknown`: commits without an answer, whose outcome was asked for; `failed`: refused statements, by SQLSTATE."""

    transactions: int
    rows: int
    keys: int
    lost: int
    unknown: int
    reads: int
    failed: dict[str, int]


class Spread(_Part):
    """How long something took, in milliseconds."""

    p50: float | None
    p99: float | None
    longest: float | None
    samples: int


class Flipped(_Part):
    """One flip. `percent`: of sessions on the consolidated side from then on. Waits in milliseconds: the longest of
    anybody's transactions and reads in flight around it."""

    move: str
    to: str
    percent: int
    attempts: int
    lock_ms: float
    writer_wait_ms: float
    reader_wait_ms: float


class Reconciled(_Part):
    """One move's reconciliation, in short; `keys` are those that differ."""

    when: str
    move: str
    verdict: Verdict
    compared: int
    in_flight: int
    drift: int
    kept: int
    invariants: str
    seconds: float
    keys: list[str]


class WrongCell(_Part):
    """A cell that contradicts the ledger of acknowledged writes."""

    move: str
    key: str
    column: str
    expected: str | None
    found: str | None


class Claim(_Part):
    """`code`: what the demo exits with when the claim does not hold."""

    claim: str
    holds: bool
    why: str
    code: int


class Planted(_Part):
    fault: str
    key: str


class DemoReport(_Part):
    """The document of `cutover demo --json`. `keys`: whatever is wrong, at these keys."""

    plan: str
    server: str
    log: str
    rows: int
    writers: int
    kills: int
    planted: Planted | None
    steps: list[StepTaken]
    writes: Writes
    lag_ms: Spread  # from an acknowledged commit until the consolidated table shows it
    transaction_ms: Spread  # of the writers, from begin to acknowledgement, over the whole run
    read_ms: Spread
    flips: list[Flipped]
    reconciled: list[Reconciled]
    wrong: list[WrongCell]
    keys: list[str]
    claims: list[Claim]
    seconds: float
    exit_code: int


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that `share` of all do not exceed; None of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def spread(seconds: Sequence[float]) -> Spread:
    """Measurements in seconds as figures."""
    measured = [each * 1000 for each in seconds]
    return Spread(
        p50=_rounded(percentile(measured, 0.5)),
        p99=_rounded(percentile(measured, 0.99)),
        longest=_rounded(max(measured, default=None)),
        samples=len(measured),
    )


def longest_ms(timeline: Timeline, begun: float, ended: float) -> float:
    """The longest of what was in flight between two moments, with half a second on either side."""
    took = [
        seconds
        for at, seconds in zip(timeline.begun, timeline.took, strict=True)
        if at <= ended + AROUND and at + seconds >= begun - AROUND
    ]
    return round(max(took, default=0.0) * 1000, 1)


def reconciled(when: str, document: ReconcileDocument) -> list[Reconciled]:
    """A reconciliation in short."""
    return [_reconciled(when, move) for move in document.moves]


def _reconciled(when: str, move: MoveReport) -> Reconciled:
    held = sum(1 for each in move.invariants if each.holds)
    return Reconciled(
        when=when,
        move=move.move,
        verdict=move.verdict,
        compared=move.rows.compared,
        in_flight=move.rows.lag,
        drift=move.rows.drift,
        kept=move.rows.kept,
        invariants=f"{held} of {len(move.invariants)}",
        seconds=move.seconds,
        keys=[key_text(each.key) for each in move.differences if each.verdict != "match"],
    )


def touched(outcome: Outcome) -> int:
    """How many keys were written."""
    return sum(len(keys) for keys in outcome.ledger.touched.values())


def wrong_cell(wrong: Wrong) -> WrongCell:
    """The same for the document."""
    return WrongCell(move=wrong.move, key=wrong.key, column=wrong.column, expected=wrong.expected, found=wrong.found)


def claim_reconciled(claim: str, document: ReconcileDocument) -> Claim:
    """Every move matches, with nothing skipped."""
    code = exit_code(document)
    why = " ".join(move.sentence for move in document.moves)
    reasons = "; ".join(finding for move in document.moves for finding in move.findings)
    return Claim(claim=claim, holds=code == 0, why=f"{why} {reasons}".strip() if code else why, code=code)


def claim_nothing_lost(wrong: Sequence[Wrong], outcome: Outcome) -> Claim:
    """The consolidated tables show every acknowledged write, and there were some."""
    checked = touched(outcome)
    keys = sorted({each.key for each in wrong} | set(outcome.missing))
    return Claim(
        claim="every acknowledged write is in the consolidated tables",
        holds=not keys and outcome.ledger.transactions > 0,
        why=f"{len(keys):,} of {counted(checked, 'key')} contradict the ledger: {', '.join(keys[:5])}"
        if keys
        else f"{counted(outcome.ledger.transactions, 'transaction')} on {counted(checked, 'key')} were checked against"
        " their writers' ledger",
        code=Drift.exit_code,
    )


def claim_nothing_failed(outcome: Outcome) -> Claim:
    """The application never noticed."""
    failed = outcome.counts.failed or {}
    count = sum(failed.values())
    states = ", ".join(f"{state} {number}" for state, number in failed.items())
    return Claim(
        claim="no statement of the application failed",
        holds=count == 0,
        why=f"{count} failed: {states}" if count else f"{outcome.counts.reads:,} reads, no error",
        code=CutoverError.exit_code,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def claim_found(planted: Planted, *, found: bool) -> Claim:
    """The planted fault was named."""
    return Claim(
        claim=f"the planted {planted.fault} is found",
        holds=found,
        why=f"at key {planted.key}",
        code=CutoverError.exit_code,
    )


def claim_killed(kills: int) -> Claim:
    """The chaos took place."""
    return Claim(
        claim="consumers were killed at work",
        holds=kills > 0,
        why=f"{kills} times with -9",
        code=NotProven.exit_code,
    )
