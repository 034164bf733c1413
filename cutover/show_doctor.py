"""The doctor's findings for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from cutover.doctor import Problem

_STYLE = {"unreachable": "bold red", "broken": "red", "lag": "yellow", "note": "cyan"}


def render_problems(problems: Sequence[Problem]) -> RenderableType:
    """What, why and the cure of each problem; one line when there is none."""
    if not problems:
        return Text("healthy: nothing is wrong", style="green")
    return Group(*(_problem(problem) for problem in problems))


def _problem(problem: Problem) -> Text:
    text = Text()
    text.append(f"{problem.severity:<11} ", style=_STYLE[problem.severity])
    text.append(problem.what, style="bold")
    text.append(f"\n            why:  {problem.why}\n            cure: {problem.cure}")
    return text
