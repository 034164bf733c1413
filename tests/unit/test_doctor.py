"""The doctor's judgement: the gravest problem decides."""

from __future__ import annotations

import pytest

from cutover.problem import Problem, Severity, document, exit_code


@pytest.mark.parametrize(
    ("severities", "code"),
    [
        ([], 0),
        (["note"], 0),
        (["note", "lag"], 3),
        (["lag", "broken"], 5),
        (["broken", "unreachable", "lag"], 6),
    ],
)
def test_exit_code(severities: list[Severity], code: int) -> None:
    problems = [Problem(severity, "what", "why", "cure") for severity in severities]
    assert exit_code(problems) == code
    assert document("p", problems)["healthy"] == (code == 0)
