"""`cutover reconcile`: the proof."""

from __future__ import annotations

from typing import Annotated

import typer

from cutover.command import Invocation, Moves, command, option
from cutover.progress import progress
from cutover.service import chosen, open_service
from reconcile.document import exit_code
from reconcile.run import Step, reconcile
from reconcile.terminal import show
from sql.errors import NotProven

Timeout = Annotated[
    float, option("--timeout", "Seconds that the proof of a difference waits for the stream.", min=0, show_default=True)
]
Listed = Annotated[int, option("--list", "Differences to list with their cells.", min=0, show_default=True)]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands."""

    @command(app, "reconcile", example="cutover reconcile stock", reports=True)
    def reconcile_command(call: Invocation, moves: Moves = None, timeout: Timeout = 30.0, listed: Listed = 1000) -> int:
        """The proof: every key compared, every difference judged: match, lag, drift or unresolved."""
        service = open_service(call.settings)
        names = [move.name for move in chosen(service.plan, moves)]
        with progress(call, "reconcile") as report:

            def step(at: Step) -> None:
                report(at.done, max(at.done, at.total))

            try:
                document = reconcile(
                    call.settings.dsn,
                    service.plan,
                    names,
                    service.log,
                    timeout=timeout,
                    listed=listed,
                    progress=step,
                )
            except KeyboardInterrupt:
                raise NotProven("interrupted: nothing is proven, and nothing was recorded") from None
        if call.json:
            call.document(document.model_dump(mode="json"))
        else:
            show(document, call.out)
        return exit_code(document)
