"""Numbers with their noun, and lines without blanks at their end."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import IO, cast

import pytest
from rich.console import Console

from cutover.piped import Piped
from reconcile.document import MoveReport, Rows, Scope
from reconcile.scope import sentence
from reconcile.terminal import render
from sql.counted import counted, staying


def test_a_noun_and_its_verb_follow_the_number() -> None:
    assert [counted(n, "key") for n in (0, 1, 2_000)] == ["0 keys", "1 key", "2,000 keys"]
    assert [counted(n, "key", "differs") for n in (1, 2)] == ["1 key differs", "2 keys differ"]
    assert [staying(n, "key") for n in (1, 2)] == [
        "1 key differs and stays as it is",
        "2 keys differ and stay as they are",
    ]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (Rows(compared=1_000), "all 1,000 keys are equal on both sides."),
        (Rows(compared=1), "the only key is equal on both sides."),
        (
            Rows(compared=3, accepted=1, kept=1, lag=1),
            "1 of 3 keys is equal on both sides. 1 key differs and stays as it is, by somebody's decision. 1 key differs"
            " and stays as it is, by the plan's rule. 1 of them was found in flight and seen to arrive.",
        ),
        (
            Rows(compared=2, accepted=2),
            "0 of 2 keys are equal on both sides. 2 keys differ and stay as they are, by somebody's decision.",
        ),
    ],
)
def test_a_match_is_told_of_as_many_keys_as_are_equal(rows: Rows, told: str) -> None:
    assert sentence("m", "match", rows, Scope()) == f"m: {told}"


def test_output_that_is_no_terminal_has_no_blanks_at_the_end_of_a_line() -> None:
    """They fill up every line of a table to the full width."""
    report = MoveReport(
        move="m", verdict="match", sentence="m: equal.", rows=Rows(compared=1, kept=1, others=1),
        started_at=datetime(2025, 1, 1, tzinfo=UTC), seconds=1.0,
    )  # fmt: skip
    file = io.StringIO()
    console = Console(width=160, highlight=False, file=cast("IO[str]", Piped(file)))
    console.print(render(report))
    console.print("a   ", end="")
    console.print("b")
    lines = file.getvalue().split("\n")
    assert [line for line in lines if line != line.rstrip()] == []
    assert lines[-2:] == ["a   b", ""]
    assert [line.strip() for line in lines if "1 row" in line] == [
        "kept: 1 row differs and stays as it is, by the plan's rule for rows of others",
        "others: 1 row of the target, none of this move's",
    ]
