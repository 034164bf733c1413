"""`cutover demo`: the whole story in a minute."""

from __future__ import annotations

import signal
from typing import Annotated, Literal

import typer

from cutover.command import Invocation, command, option
from sql.errors import NotProven

Rows = Annotated[int, option("--rows", "Rows of the legacy database's first table.", min=100, show_default=True)]
Writers = Annotated[int, option("--writers", "Live writers at once.", min=1, max=64, show_default=True)]
Seconds = Annotated[float, option("--seconds", "Streaming under load before it reconciles.", min=0, show_default=True)]
Chaos = Annotated[bool, option("--chaos", "Kill one of two consumers with -9 every two seconds.")]
Plant = Annotated[
    Literal["drift", "loss"] | None, option("--plant", "Plant a fault that must be found; the demo then fails.")
]


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
        from cutover.demo.show import render_report  # here: no other command should wait for these imports
        from cutover.demo.story import Options, demo

        signal.signal(signal.SIGTERM, signal.default_int_handler)  # what it started is cleared away either way
        options = Options(rows=rows, writers=writers, seconds=seconds, chaos=chaos, fault=fault)
        try:
            report = demo(call.settings, options, call.err if call.live else None)
        except KeyboardInterrupt:
            raise NotProven("interrupted: nothing is proven") from None
        if call.json:
            call.document(report.model_dump(mode="json"))
        else:
            call.out.print(render_report(report))
        return report.exit_code
