"""The report on the terminal: the verdict in words, and values whose blanks and NULLs can be seen."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console

from reconcile.document import Cell, Difference, InvariantResult, MoveReport, ReconcileDocument, Rows
from reconcile.terminal import show
from sql.layout import visible


def _shown(report: MoveReport) -> str:
    console = Console(width=140, record=True, force_terminal=False)
    with console.capture() as capture:
        show(ReconcileDocument(plan="p", digest="d", moves=[report], verdict=report.verdict), console)
    return capture.get()


def test_null_empty_and_trailing_blanks_can_be_told_apart() -> None:
    assert [visible(value).plain for value in (None, "", " ", "a", "a ", " a", "a\n")] == [
        "NULL", "''", "␠", "a", "a␠", "␠a", "a\\x0a",
    ]  # fmt: skip


def test_a_long_value_is_shortened() -> None:
    assert len(visible("x" * 1000, 60).plain) == 60


def test_drift_names_the_key_both_values_and_the_invariant() -> None:
    text = _shown(
        MoveReport(
            move="stock",
            verdict="drift",
            sentence="stock: the sides differ, and it is not lag.",
            findings=["1 keys differ [not markup]"],
            rows=Rows(legacy=10, consolidated=10, compared=10, match=9, drift=1),
            kinds={"missing": 0, "extra": 0, "differs": 1},
            columns={"price": 1},
            differences=[
                Difference(
                    key=["a b"], verdict="drift", kind="differs", cells={"price": Cell(legacy=None, consolidated="")}
                )
            ],
            invariants=[InvariantResult(name="money", legacy=[1], consolidated=[2], holds=False)],
            started_at=datetime(2025, 1, 1, tzinfo=UTC),
            seconds=1.0,
        )
    )
    for part in ("DRIFT", "[not markup]", "a b", "price", "NULL", "''", "money", "NO", "10 keys compared"):
        assert part in text


def test_keys_of_which_there_is_nothing_to_show_take_a_line_for_each_reason_and_the_verdict_stands_below() -> None:
    """A move that was never backfilled: every key is missing, for one reason."""
    why = "the move has not been backfilled: cutover backfill stock"
    differences = [Difference(key=[f"k{n}"], verdict="lag", kind="missing", reason=why) for n in range(1000)]
    report = MoveReport(
        move="stock",
        verdict="lag",
        sentence="stock: not proven yet.",
        rows=Rows(legacy=1000, compared=1000, lag=1000, in_flight=1000),
        differences=differences,
        started_at=datetime(2025, 1, 1, tzinfo=UTC),
        seconds=1.0,
    )
    lines = _shown(report).splitlines()
    assert len(lines) < 20
    assert f"lag missing ({why}): 1,000 keys: k0; k1; k2; k3; k4; …" in "\n".join(lines)
    assert [line.strip() for line in lines if line.strip()][-1] == "LAG  stock: not proven yet."


def test_an_invariant_over_nothing_is_null() -> None:
    nothing = InvariantResult(name="money", legacy=None, consolidated=None, holds=True)
    report = MoveReport(
        move="stock", verdict="match", sentence="stock: equal.", invariants=[nothing],
        started_at=datetime(2025, 1, 1, tzinfo=UTC), seconds=1.0,
    )  # fmt: skip
    text = _shown(report)
    assert text.count("NULL") == 2
