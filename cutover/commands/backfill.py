"""`cutover backfill`, apart from what streams: it needs neither capture nor the worker, and waits for neither."""

from __future__ import annotations

from typing import Annotated

import typer

from consumers.backfill import backfill
from cutover.command import Invocation, Moves, command, option
from cutover.progress import progress
from cutover.service import open_moves
from cutover.signals import stop_on_signals
from sql.counted import counted

Restart = Annotated[bool, option("--restart", "From the first key, even if an earlier run stopped in between.")]


def add_to(app: typer.Typer) -> None:
    """Register this group's command."""

    @command(app, "backfill", example="cutover backfill stock", reports=True)
    def backfill_command(call: Invocation, moves: Moves = None, restart: Restart = False) -> int:
        """Touch every key, throttled, resumable: run it again after an interruption and it goes on."""
        stop = stop_on_signals()
        service, wanted = open_moves(call.settings, moves)
        service.refuse_standing_still(wanted)
        touched: dict[str, int] = {}
        for move in wanted:
            if stop.is_set():
                break
            with progress(call, f"backfill {move.name}") as report:
                touched[move.name] = backfill(
                    call.settings.dsn, service.plan, move, service.log, stop, report, restart=restart
                )
        if call.json:
            call.document({"plan": service.plan.name, "touched": touched, "finished": not stop.is_set()})
        else:
            for name, count in touched.items():
                call.out.print(f"{name}: {counted(count, 'key')} touched")
            if stop.is_set():
                call.out.print("interrupted: run it again to go on")
        return 0
