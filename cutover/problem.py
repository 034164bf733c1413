"""One thing that is wrong: how grave it is, why, and the command that mends it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from sql.cures import sorted_out
from sql.errors import NotProven, Refused, Unreachable

Severity = Literal["unreachable", "broken", "lag", "note"]
OR_RUN = "or cutover run, which is all of them in one"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong. `note` is worth knowing and needs nothing; `lag` mends itself while the stream runs.

    `cure`: commands that can be pasted, one a line, in their order; `hint`: what no command does. Either may be empty.
    """

    severity: Severity
    what: str
    why: str
    cure: str
    move: str | None = None
    hint: str = ""

    def __post_init__(self) -> None:
        cure, hint = sorted_out(self.cure, self.hint)
        object.__setattr__(self, "cure", cure or "")
        object.__setattr__(self, "hint", hint or "")


def exit_code(problems: list[Problem]) -> int:
    """0 healthy, 3 only lag, 5 broken, 6 something needed does not answer."""
    found = {problem.severity for problem in problems}
    for severity, error in (("unreachable", Unreachable), ("broken", Refused), ("lag", NotProven)):
        if severity in found:
            return error.exit_code
    return 0


def document(plan: str, problems: list[Problem]) -> dict[str, Any]:
    """What `doctor --json` prints."""
    return {"plan": plan, "healthy": exit_code(problems) == 0, "problems": [asdict(each) for each in problems]}


def restarting(what: str, why: str, else_: str, move: str | None = None) -> Problem:
    """Something is away, and comes back by itself; `else_` starts it where it does not."""
    return Problem("lag", what, why, "cutover doctor", move, f"ask again in some seconds; where it stays so, `{else_}`")
