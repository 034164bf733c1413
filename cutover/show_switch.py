"""What prepare and flip did, for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from cutover.flip_report import FlipReport
from cutover.gate import Check
from cutover.prepare import PrepareReport


def render_prepare(report: PrepareReport) -> RenderableType:
    """The steps that were needed, and the gap when there is one."""
    moves = ", ".join(report.moves)
    if report.steps:
        parts = [Text(f"prepared {moves} of plan {report.plan}:"), *(Text(f"  {step}") for step in report.steps)]
    else:
        parts = [Text(f"{moves} of plan {report.plan}: everything was there")]
    if report.gap:
        parts.append(Text(f"gap: {report.gap}\n  cure: cutover heal", style="bold red"))
    return Group(*parts)


def render_gate(checks: Sequence[Check]) -> RenderableType:
    """Every question of the gate with its answer."""
    return Group(*(_check(check) for check in checks))


def _check(check: Check) -> Text:
    mark = Text("ok      " if check.ok else "closed  ", style="green" if check.ok else "bold red")
    return mark + Text(f"{check.check:<14} {check.why}", style="default")


def render_flip(report: FlipReport) -> RenderableType:
    """The gate's answers, then what was done and how long the lock was asked for and held."""
    before, now = _place(report.before_percent), _place(report.percent)
    if report.mends:
        done = f"{report.move} was on {now} by its record and not by its facade"
        done += "; nothing was changed" if report.dry_run else ": the facade was put right"
    elif report.before_percent == report.percent:
        done = f"{report.move} already is where it should be: {now}"
    elif report.dry_run:
        done = f"{report.move} would go from {before} to {now}; nothing was changed"
    else:
        done = (
            f"{report.move} went from {before} to {now} in {report.lock_ms:.1f} ms"
            f" ({report.attempts} attempt{'s' if report.attempts > 1 else ''})"
        )
    return Group(render_gate(report.gate), Text(done, style="bold"))


def _place(percent: int) -> str:
    """Where reads are when this percentage of the sessions reads the consolidated side."""
    if 0 < percent < 100:
        return f"a canary ({percent} % of the sessions read the consolidated side)"
    return "consolidated" if percent else "legacy"
