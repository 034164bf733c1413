"""`cutover capture`, `consume`, `refresh`, `run` and `backfill`: what moves changes."""

from __future__ import annotations

import gc
from contextlib import suppress
from typing import Annotated

import typer

from cdc.capture import Capture
from consumers.backfill import backfill
from consumers.refresh import Refresher
from consumers.worker import Worker
from cutover.command import Invocation, Moves, command, option
from cutover.progress import progress
from cutover.run import Child, Supervisor
from cutover.service import chosen, open_service, refuse_standing_still
from cutover.signals import stop_on_signals
from sql.connection import connect
from sql.errors import Unreachable

_AGAIN = 30.0  # seconds between looks at a plan in which nothing depends on the clock
Consumers = Annotated[int, option("--consumers", "Consumer processes.", min=1, show_default=True)]
Restart = Annotated[bool, option("--restart", "From the first key, even if an earlier run stopped in between.")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands."""

    @command(app, example="cutover capture --log kafka://kafka:9092")
    def capture(call: Invocation) -> int:
        """WAL to log, until stopped."""
        stop = stop_on_signals()
        service = open_service(call.settings)
        _collect_rarely()
        Capture(call.settings.dsn, service.plan, service.log, service.reload).run(stop)
        return 0

    @command(app, example="cutover consume --log kafka://kafka:9092")
    def consume(call: Invocation) -> int:
        """Log to target, until stopped. Start as many as you like, on as many machines as you like."""
        stop = stop_on_signals()
        service = open_service(call.settings)
        _collect_rarely()
        Worker(call.settings.dsn, service.plan, service.log, service.reload).run(stop)
        return 0

    @command(app, example="cutover refresh")
    def refresh(call: Invocation) -> int:
        """Touch the keys whose mapping changed because time passed, until stopped."""
        stop = stop_on_signals()
        service = open_service(call.settings)
        while not stop.is_set():
            Refresher(call.settings.dsn, service.plan, service.log, service.reload).run(stop)
            if not stop.wait(_AGAIN):  # nothing depends on the clock, as the plan stands now
                with suppress(Unreachable):
                    service = open_service(call.settings)
        return 0

    @command(app, example="cutover run --consumers 2")
    def run(call: Invocation, consumers: Consumers = 1) -> int:
        """Capture, consume, refresh and watermarks in one command."""
        stop = stop_on_signals()
        open_service(call.settings)  # what is wrong now is said now, by this process
        children = [Child("capture", ["capture"]), Child("refresh", ["refresh"])]
        children += [Child(f"consume-{number}", ["consume"]) for number in range(1, consumers + 1)]
        environment = call.settings.environment() | ({"CUTOVER_VERBOSE": "1"} if call.verbose else {})
        return Supervisor(children, environment).run(stop)

    @command(app, "backfill", example="cutover backfill stock", reports=True)
    def backfill_command(call: Invocation, moves: Moves = None, restart: Restart = False) -> int:
        """Touch every key, throttled, resumable: run it again after an interruption and it goes on."""
        stop = stop_on_signals()
        service = open_service(call.settings)
        touched: dict[str, int] = {}
        wanted = chosen(service.plan, moves)
        with connect(call.settings.dsn, f"backfill {service.plan.name}") as conn:
            refuse_standing_still(conn, service.plan, wanted)
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
                call.out.print(f"{name}: {count:,} keys touched")
            if stop.is_set():
                call.out.print("interrupted: run it again to go on")
        return 0


def _collect_rarely() -> None:
    """What is alive now stays, and what a stream makes has no cycles: looking for them took a tenth of the CPU."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
