"""`cutover status`."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Annotated

import typer
from rich.live import Live

from cdc.log import Log
from cutover.command import Invocation, command, option
from cutover.plan import load_plan
from cutover.service import choose_log, refuse_other_log
from cutover.show_status import render_status
from cutover.signals import stop_on_signals
from cutover.status import Status, read_status
from sql.connection import Connection, connect
from sql.control import check
from sql.errors import Unreachable, UsageError

_SECONDS = 1.0  # between two looks of --watch
Watch = Annotated[bool, option("--watch", "Keep looking, until Ctrl-C.")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands."""

    @command(app, example="cutover status --watch", reports=True)
    def status(call: Invocation, watch: Watch = False) -> int:
        """Where everything stands: slot, capture, partitions, lag, sides, dead letters, gaps."""
        if watch and call.json:
            raise UsageError(
                "--watch and --json exclude each other", cure="cutover status --json", hint="again and again"
            )
        stop = stop_on_signals() if watch else threading.Event()
        plan = load_plan(call.settings.plan).name
        with connect(call.settings.dsn, "status") as conn:
            log = choose_log(conn, call.settings, plan)
            check(conn)
            with suppress(Unreachable):  # which log it is cannot be seen, and that it does not answer is told of
                refuse_other_log(conn, plan, log)
            if watch:
                return _watch(call, conn, plan, log, stop)
            found = read_status(conn, plan, log)
        if call.json:
            call.document(found.model_dump())
        else:
            call.out.print(render_status(found))
        return _exit_code(found)


def _watch(call: Invocation, conn: Connection, plan: str, log: Log, stop: threading.Event) -> int:
    with Live(console=call.out, auto_refresh=False) as live:
        while True:
            live.update(render_status(read_status(conn, plan, log)), refresh=True)
            if stop.wait(_SECONDS):
                return 0


def _exit_code(status: Status) -> int:
    """0, or 6 when the log did not answer."""
    return Unreachable.exit_code if status.problems else 0
