"""The reasoning of the four verdicts, without a database (R1)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconcile.document import MoveReport, ReconcileDocument, Rows, Verdict, exit_code, worst
from reconcile.verdicts import Circumstances, Observation, judge, state_of, unproven

BEFORE = Observation(
    key=("7",), state="differs", columns=("price",), legacy=b"new", consolidated=b"old", sources=("16384:(0,1):700",),
    target="16390:(0,1):600", lsn=1000,
)  # fmt: skip
PASSED = Circumstances(applied=1000)


def test_unchanged_rows_behind_a_passed_log_are_drift() -> None:
    found = judge([BEFORE], BEFORE, PASSED)
    assert found is not None
    assert (found.verdict, found.kind, found.settled) == ("drift", "differs", False)


def test_r1_a_log_that_is_one_byte_short_proves_nothing() -> None:
    assert judge([BEFORE], BEFORE, Circumstances(applied=999)) is None
    assert judge([BEFORE], BEFORE, Circumstances(applied=None)) is None


def test_equal_now_is_settled_lag() -> None:
    found = judge([BEFORE], replace(BEFORE, state="same", consolidated=b"new"), Circumstances(applied=None))
    assert found is not None
    assert (found.verdict, found.settled) == ("lag", True)


@pytest.mark.parametrize(
    "changed", [{"sources": ("16384:(0,2):701",)}, {"sources": ("",)}, {"target": "16390:(0,2):650"}]
)
def test_r1_another_version_of_either_side_asks_for_another_look(changed: dict[str, object]) -> None:
    """A to B and back to A: the digests are what they were, the versions are not."""
    assert judge([BEFORE], replace(BEFORE, **changed), PASSED) is None  # type: ignore[arg-type]


def test_r1_any_earlier_observation_with_the_same_versions_will_do() -> None:
    between = replace(BEFORE, sources=("x",), lsn=1500)
    found = judge([BEFORE, between], replace(between, lsn=2000), Circumstances(applied=1500))
    assert found is not None
    assert found.verdict == "drift"
    assert judge([BEFORE, between], replace(between, lsn=2000), Circumstances(applied=1499)) is None


def test_r1_the_target_taking_an_earlier_state_follows() -> None:
    found = judge([BEFORE], replace(BEFORE, legacy=b"newer", consolidated=b"new", sources=("x",), target="y"), PASSED)
    assert found is not None
    assert (found.verdict, found.settled) == ("lag", True)


def test_r3_digests_that_agree_within_one_snapshot_do_not_make_a_difference_go_away() -> None:
    """The comparison says that they differ: equal digests (of text) do not overrule it."""
    same_text = replace(BEFORE, legacy=b"text", consolidated=b"text")
    found = judge([same_text], same_text, PASSED)
    assert found is not None
    assert found.verdict == "drift"


def test_a_dead_letter_is_unresolved_even_behind_a_passed_log() -> None:
    found = judge([BEFORE], BEFORE, replace(PASSED, dead="22003"))
    assert found is not None
    assert (found.verdict, found.reason) == ("unresolved", "dead letter (22003)")


def test_a_dead_letter_is_unresolved_though_an_earlier_state_has_arrived() -> None:
    """What came after it is what the target refuses, and will not follow."""
    now = replace(BEFORE, legacy=b"newer", consolidated=b"new", sources=("x",), target="y")
    found = judge([BEFORE], now, replace(PASSED, dead="23514"))
    assert found is not None
    assert (found.verdict, found.settled) == ("unresolved", False)


def test_a10_a_key_that_is_due_is_never_drift() -> None:
    about = replace(PASSED, due=True)
    assert judge([BEFORE], BEFORE, about) is None
    assert unproven(BEFORE, about, None, False).verdict == "lag"


def test_a_backfill_that_is_not_through_makes_it_lag() -> None:
    found = judge([BEFORE], BEFORE, replace(PASSED, pending="the backfill is still running"))
    assert found is not None
    assert (found.verdict, found.settled) == ("lag", False)


def test_r4_time_up_is_never_settled() -> None:
    assert unproven(BEFORE, PASSED, "the consumers do not move", False).verdict == "unresolved"
    assert unproven(BEFORE, PASSED, "still behind", True).verdict == "lag"
    assert not unproven(BEFORE, PASSED, None, False).settled


@pytest.mark.parametrize(
    ("rows", "existing", "legacy", "consolidated", "mine", "differs", "state"),
    [
        ("all", "report", 1, 1, True, False, "same"),
        ("all", "report", 1, 1, True, True, "differs"),
        ("all", "report", 1, 0, False, True, "missing"),
        ("all", "report", 0, 1, True, True, "extra"),
        ("all", "report", 0, 0, False, False, "same"),
        ("all", "report", 2, 1, True, False, "duplicate"),
        ("all", "report", 1, 2, True, False, "duplicate"),
        ("existing", "report", 1, 0, True, True, "missing"),
        ("add", "report", 0, 1, False, True, "same"),
        ("add", "report", 0, 1, True, True, "extra"),
        ("add", "report", 0, 2, False, True, "same"),
        ("add", "report", 1, 1, False, True, "differs"),
        ("add", "keep", 1, 1, False, True, "kept"),
        ("add", "keep", 1, 1, True, True, "differs"),
        ("add", "overwrite", 1, 1, False, True, "differs"),
    ],
)
def test_state_by_policy(rows, existing, legacy, consolidated, mine, differs, state) -> None:  # type: ignore[no-untyped-def]
    found = state_of(rows=rows, existing=existing, legacy=legacy, consolidated=consolidated, mine=mine, differs=differs)
    assert found == state


def test_the_worst_verdict_wins_and_none_is_no_proof() -> None:
    assert worst(["match", "lag"]) == "lag"
    assert worst(["lag", "unresolved"]) == "unresolved"
    assert worst(["drift", "unresolved", "match"]) == "drift"
    assert worst([]) == "unresolved"


@pytest.mark.parametrize(
    ("verdict", "skipped", "code"),
    [("match", 0, 0), ("match", 1, 3), ("lag", 0, 3), ("unresolved", 0, 3), ("drift", 5, 4)],
)
def test_exit_codes(verdict: Verdict, skipped: int, code: int) -> None:
    report = MoveReport.model_validate(
        {"move": "m", "verdict": verdict, "sentence": "", "started_at": "2025-01-01T00:00:00Z", "seconds": 1,
         "rows": Rows(skipped=skipped)}
    )  # fmt: skip
    assert exit_code(ReconcileDocument(plan="p", digest="d", moves=[report], verdict=verdict)) == code
