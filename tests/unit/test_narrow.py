"""On a terminal of 80 columns nothing is cut: what does not fit as a table is listed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rich.console import Console, RenderableType

from cutover.dead_letters import Cause, DeadLetter, render, render_causes
from cutover.history import Value, Version
from cutover.history import render as render_history
from cutover.problem import Problem
from cutover.show_doctor import render_problems
from cutover.show_status import render_status
from cutover.status import BackfillStatus, MoveStatus, PartitionStatus, ProofStatus, SlotStatus, Status
from reconcile.document import Cell, Difference, InvariantResult, MoveReport, Rows, SourceRows
from reconcile.terminal import render as render_report

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LONG = "a_move_of_the_inventory_with_a_very_long_name"
WORKER = "warehouse-consumer-7f9c6b5d4-x2x9k:31415"
KEY = ["6b0e1f9c-6b0e-4f9c-8b0e-6b0e1f9c6b0e", "north,east"]
WRITTEN = '6b0e1f9c-6b0e-4f9c-8b0e-6b0e1f9c6b0e,"north,east"'


def status() -> Status:
    partition = PartitionStatus(
        partition=0, offset=1, end_offset=9, applied_lsn="0/1", applied_time=AT, latency_ms=1.0, worker=WORKER
    )
    move = MoveStatus(
        move=LONG, state="streaming", side="legacy", percent=37, halted=None, facade_lost=f"inventory.{LONG}",
        applied_lsn="0/1", lag_ms=123_456.0, lag_bytes=2_000_000, partitions=[partition], dead_letters=4711,
        backfill=BackfillStatus(done=1_234_567, total=2_345_678, started=True, finished=False, again=None),
        proof=ProofStatus(
            verdict="drift", started_at=AT, finished_at=AT, compared=3_456_789, drift=815, unproven=0, running=None
        ),
    )  # fmt: skip
    slot = SlotStatus(
        name=f"cutover_{LONG}", active=True, confirmed_lsn="16/B374D848", lag_bytes=1, gap=None, there=True, holder=None,
        wal_status="reserved", safe_wal_size=None,
    )  # fmt: skip
    return Status(plan=LONG, log="kafka://b:9092", slot=slot, moves=[move], problems=[], now=AT)


def report() -> MoveReport:
    cells = {
        f"column_{LONG}": Cell(legacy="the value of the legacy side is long", consolidated="the other is not short"),
        "second_column": Cell(legacy=None, consolidated="x"),
    }
    source = SourceRows(
        source=f"inventory.{LONG}", rows=1_234_567, keys=1_234_560, several=7, most=3, orphans=2,
        orphan_keys=[KEY], without_key=1,
    )  # fmt: skip
    return MoveReport(
        move=LONG, verdict="drift", sentence="it differs.", findings=[], rows=Rows(compared=1, drift=1),
        kinds={"differs": 1}, columns={f"column_{LONG}": 1, "second_column": 1},
        differences=[Difference(key=KEY, verdict="drift", kind="differs", cells=cells)],
        invariants=[InvariantResult(name=f"money per {LONG}", legacy=[1], consolidated=[2], holds=False)],
        sources=[source], started_at=AT, seconds=1.0,
    )  # fmt: skip


def letter() -> DeadLetter:
    return DeadLetter(
        id=7, move=LONG, key=KEY, partition=3, offset=9, sqlstate="22003", message="numeric field overflow [not markup]",
        column="profit_margin", attempts=12, first_seen=AT, last_seen=AT, state="discarded", reason=None,
    )  # fmt: skip


CAUSE = Cause.model_validate(
    {
        "move": LONG, "sqlstate": "22003", "column": "profit_margin", "message": "numeric field overflow", "state": "open", "keys": 1,
        "first_seen": AT, "last_seen": AT, "attempts": 1, "examples": [7], "example_keys": [KEY],
    }
)  # fmt: skip
VERSION = Version(
    partition=3, offset=815, time=AT, lsn="16/B374D848", xid=4711, source=f"inventory.{LONG}", operation="update",
    values=[Value(column="label", value="[bold] is no markup", unchanged=False, changed=True)],
)  # fmt: skip
PROBLEM = Problem("broken", f"{LONG} drifts", "because " * 20, f"cutover reconcile {LONG}")
SHOWN: dict[str, tuple[RenderableType, list[str]]] = {
    "status": (render_status(status()), [
        LONG, "consolidated)", "streaming", "1,234,567", "2,345,678", "123,456 ms", "2.0 MB", "4711", WORKER, "dead letters",
        "WAL behind", f"inventory.{LONG}",
    ]),
    "reconcile": (render_report(report()), [
        WRITTEN, f"column_{LONG}", "the value of the legacy side is long", "the other is not short", "second_column", "NULL",
        f"money per {LONG}", f"inventory.{LONG}", "1,234,567", "1,234,560", "mapping", "several rows",
    ]),
    "letters": (render([letter()]), [LONG, WRITTEN, "22003", "numeric field overflow [not markup]", "discarded"]),
    "causes": (render_causes([CAUSE]), [LONG, f"7: {WRITTEN}", "profit_margin", "2026-01-02 03:04:05"]),
    "history": (render_history([VERSION]), ["16/B374D848", f"inventory.{LONG}", "3:815", "[bold] is no markup"]),
    "doctor": (render_problems([PROBLEM]), [f"{LONG} drifts", "cutover reconcile", "broken"]),
}  # fmt: skip


@pytest.mark.parametrize("what", list(SHOWN))
@pytest.mark.parametrize("width", [80, 200])
def test_no_word_is_lost(what: str, width: int) -> None:
    shown, words = SHOWN[what]
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(shown)
    text = capture.get()
    assert max(len(line) for line in text.splitlines()) <= width
    assert [word for word in words if word not in text] == [], text
    assert "…" not in text
