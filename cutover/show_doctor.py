"""The doctor's findings for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cutover.problem import Problem
from sql.cures import in_order

_STYLE = {"unreachable": "bold red", "broken": "red", "lag": "yellow", "note": "cyan"}


def render_problems(problems: Sequence[Problem]) -> RenderableType:
    """What, why and the cure of each problem; one line when there is none."""
    if not problems:
        return Text("healthy: nothing is wrong", style="green")
    return Group(*(_problem(problem) for problem in problems))


def _problem(problem: Problem) -> Table:
    lines = Table.grid(padding=(0, 1, 0, 0))
    lines.add_column(width=11, no_wrap=True)
    lines.add_column(overflow="fold")
    lines.add_row(Text(problem.severity, style=_STYLE[problem.severity]), Text(problem.what, style="bold"))
    body = Table.grid(padding=(0, 1, 0, 0))
    body.add_column(width=5, no_wrap=True)
    body.add_column(overflow="fold")
    body.add_row("why:", Text(problem.why))
    for label, text in in_order(problem.cure, problem.hint):
        body.add_row(f"{label}:", Text(text))
    lines.add_row("", body)
    return lines
