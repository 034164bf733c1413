"""`cutover capture`, `consume`, `refresh`, `prove`, `run`: what moves changes, and proves that it does."""

from __future__ import annotations

import gc
import time
from contextlib import suppress
from typing import Annotated

import typer

from cdc.capture import Capture
from consumers.refresh import Refresher
from consumers.worker import Worker
from cutover.command import Invocation, command, option
from cutover.run import Child, Supervisor
from cutover.serve_metrics import metrics
from cutover.service import open_service
from cutover.signals import stop_on_signals
from sql.errors import Unreachable

_AGAIN = 30.0  # seconds between looks at a plan in which nothing depends on the clock
Consumers = Annotated[int, option("--consumers", "Consumer processes.", min=1, show_default=True)]
ConsumeSessions = Annotated[
    int,
    option("--sessions", "In so many sessions a lone consumer applies a backlog.", min=1, max=16, show_default=True),
]
Metrics = Annotated[
    str | None,
    option("--metrics-port", "Serve /metrics, /healthz and /readyz here: a port of loopback, or HOST:PORT."),
]
Share = Annotated[
    float,
    option("--share", "Part of the database's time that the pass may take.", min=0.001, max=1.0, show_default=True),
]
Every = Annotated[float, option("--every", "Seconds between two passes.", min=0.0, show_default=True)]
PassShare = Annotated[
    float,
    option(
        "--reconcile-share", "Part of the database's time that reconciling may take all the while; 0: it does not.",
        min=0.0, max=1.0, show_default=True,
    ),
]  # fmt: skip
PassEvery = Annotated[float, option("--reconcile-every", "Seconds between two passes.", min=0.0, show_default=True)]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands."""

    @command(app, example="cutover capture --log kafka://kafka:9092")
    def capture(call: Invocation, metrics_port: Metrics = None) -> int:
        """WAL to log, until stopped."""
        stop = stop_on_signals()
        service = open_service(call.settings)
        _collect_rarely()
        it = Capture(call.settings.dsn, service.plan, service.log, service.reload)
        with metrics(metrics_port, service, "capture", lambda: it.beat, lambda: captured(it)):
            it.run(stop)
        return 0

    @command(app, example="cutover consume --log kafka://kafka:9092")
    def consume(call: Invocation, sessions: ConsumeSessions = 2, metrics_port: Metrics = None) -> int:
        """Log to target, until stopped. Start as many as you like, on as many machines as you like."""
        stop = stop_on_signals()
        service = open_service(call.settings)
        _collect_rarely()
        it = Worker(call.settings.dsn, service.plan, service.log, service.reload, sessions=sessions)
        with metrics(metrics_port, service, "consume", lambda: it.beat, lambda: consumed(it)):
            it.run(stop)
        return 0

    @command(app, example="cutover refresh")
    def refresh(call: Invocation, metrics_port: Metrics = None) -> int:
        """Touch the keys whose mapping changed because time passed, until stopped."""
        stop = stop_on_signals()
        service = open_service(call.settings)
        working: Refresher | None = None
        with metrics(metrics_port, service, "refresh", lambda: working.beat if working else time.monotonic()):
            while not stop.is_set():
                working = Refresher(call.settings.dsn, service.plan, service.log, service.reload)
                working.run(stop)
                working = None
                if not stop.wait(_AGAIN):  # nothing depends on the clock, as the plan stands now
                    with suppress(Unreachable):
                        service = open_service(call.settings)
        return 0

    @command(app, example="cutover prove --share 0.02")
    def prove(call: Invocation, share: Share = 0.05, every: Every = 300.0, metrics_port: Metrics = None) -> int:
        """Reconcile every move again and again, throttled, until stopped. One pass at a time, however many start it."""
        stop = stop_on_signals()
        service = open_service(call.settings)
        from reconcile.passes import Passes  # here: consumers and capture should not wait for what compares

        it = Passes(call.settings.dsn, service.plan, service.reload, share, every)
        with metrics(metrics_port, service, "prove", lambda: it.beat):
            it.run(stop)
        return 0

    @command(app, example="cutover run --consumers 2")
    def run(
        call: Invocation,
        consumers: Consumers = 1,
        reconcile_share: PassShare = 0.05,
        reconcile_every: PassEvery = 300.0,
        metrics_port: Metrics = None,
    ) -> int:
        """Capture, consume, refresh and watermarks in one command, and the continuous pass of reconciliation."""
        stop = stop_on_signals()
        service = open_service(call.settings)  # what is wrong now is said now, by this process
        children = [Child("capture", ["capture"]), Child("refresh", ["refresh"])]
        children += [Child(f"consume-{number}", ["consume"]) for number in range(1, consumers + 1)]
        if reconcile_share:
            arguments = ["prove", "--share", f"{reconcile_share:g}", "--every", f"{reconcile_every:g}"]
            children.append(Child("prove", arguments, aside=True))
        environment = call.settings.environment() | ({"CUTOVER_VERBOSE": "1"} if call.verbose else {})
        environment["CUTOVER_METRICS_PORT"] = ""  # it is this process's, and answers for all of them
        it = Supervisor(children, environment)
        with metrics(metrics_port, service, "run", lambda: it.beat, fallen=it.fallen):
            return it.run(stop)


def _collect_rarely() -> None:
    """What is alive now stays, and what a stream makes has no cycles: looking for them took a tenth of the CPU."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def captured(it: Capture) -> dict[str, tuple[str, int]]:
    """A capture's own counts, each with its help."""
    return {
        "capture_changes": ("Changes read from WAL since the process started", it.totals.changes),
        "capture_frames": ("Frames appended to the log since the process started", it.totals.frames),
        "capture_bytes": ("Bytes of these frames", it.totals.bytes),
    }


def consumed(it: Worker) -> dict[str, tuple[str, int]]:
    """A consumer's own counts, each with its help."""
    return {
        "consume_batches": ("Batches with keys applied since the process started", it.batches),
        "consume_keys": ("Keys in these batches", it.keys),
        "consume_rows_changed": ("Rows of targets that these batches wrote", it.changed),
        "consume_dead_letters": ("Keys of these batches that could not be applied", it.letters),
    }
