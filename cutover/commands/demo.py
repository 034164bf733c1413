"""`cutover demo`: the whole story in a minute."""

from __future__ import annotations

from typing import Annotated

import typer

from cutover.command import Invocation, command, option
from cutover.demo import Options, demo, render_report
from cutover.demo.plant import Fault

Rows = Annotated[int, option("--rows", "Stock rows to begin with.", min=100, show_default=True)]
Writers = Annotated[int, option("--writers", "Live writers at once.", min=1, max=64, show_default=True)]
Seconds = Annotated[float, option("--seconds", "Seconds of streaming under load.", min=1, show_default=True)]
Chaos = Annotated[bool, option("--chaos", "Kill one of two consumers with -9 every two seconds.")]
Plant = Annotated[Fault | None, option("--plant", "Plant a fault that the proof must find.")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands."""

    @command(app, "demo", example="cutover demo --rows 50000", reports=True)
    def demo_command(
        call: Invocation,
        rows: Rows = 50_000,
        writers: Writers = 8,
        seconds: Seconds = 8.0,
        chaos: Chaos = False,
        fault: Plant = None,
    ) -> int:
        """The whole story on a throwaway PostgreSQL with live writers: 0 only if it proved that nothing was lost."""
        options = Options(rows=rows, writers=writers, seconds=seconds, chaos=chaos, fault=fault)
        report = demo(call.settings, options, call.err if call.live else None)
        if call.json:
            call.document(report.model_dump(mode="json"))
        else:
            call.out.print(render_report(report))
        return report.exit_code
