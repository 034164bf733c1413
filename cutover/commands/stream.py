"""`cutover capture`, `consume`, `refresh`, `run` and `backfill`: what moves changes."""

from __future__ import annotations

from typing import Annotated

import typer

from cdc.capture import Capture
from consumers.backfill import backfill as touch_every_key
from consumers.refresh import Refresher
from consumers.worker import Worker
from cutover.command import Invocation, Moves, command, option
from cutover.run import Child, Supervisor
from cutover.service import Service, open_service
from cutover.signals import stop_on_signals
from sql.model import Move

Consumers = Annotated[int, option("--consumers", "Consumer processes.", min=1, show_default=True)]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands."""

    @command(app, example="cutover capture --log kafka://kafka:9092")
    def capture(call: Invocation) -> int:
        """WAL to log, until stopped."""
        stop = stop_on_signals()
        service = open_service(call.settings)
        Capture(call.settings.dsn, service.plan, service.log, service.reload).run(stop)
        return 0

    @command(app, example="cutover consume --log kafka://kafka:9092")
    def consume(call: Invocation) -> int:
        """Log to target, until stopped. Start as many as you like, on as many machines as you like."""
        stop = stop_on_signals()
        service = open_service(call.settings)
        Worker(call.settings.dsn, service.plan, service.log, service.reload).run(stop)
        return 0

    @command(app, example="cutover refresh")
    def refresh(call: Invocation) -> int:
        """Touch the keys whose mapping changed because time passed, until stopped."""
        stop = stop_on_signals()
        service = open_service(call.settings)
        Refresher(call.settings.dsn, service.plan, service.log).run(stop)
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
