"""`cutover prepare` and `cutover flip`: what changes the database's structure and its read path."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal, TypedDict

import typer

from cutover.command import Invocation, Moves, OneMove, command, option
from cutover.flip import flip, flip_back
from cutover.flip_report import FlipRefused, FlipReport
from cutover.interrupted import Attempt, interruptible
from cutover.place import find_move, find_plan
from cutover.plan import load_plan
from cutover.prepare import prepare
from cutover.service import choose_log, chosen, open_plan
from cutover.show_switch import render_flip, render_gate, render_prepare
from sql.compile import compile_plan
from sql.connection import connect
from sql.control import check
from sql.errors import Refused
from sql.lock import LOCK_TIMEOUT_MS
from sql.model import Plan

Side = Literal["consolidated", "legacy"]
SetIdentity = Annotated[
    bool, option("--set-identity", "Give tables the replica identity that the plan needs, online, where it lacks.")
]
Roles = Annotated[
    bool, option("--roles", "Make a database role for each part of the service, with the rights that it needs.")
]
To = Annotated[Side, option("--to", "The side that sessions read from now on.")]
Percent = Annotated[
    int | None, option("--percent", "A canary: only this share of the sessions reads that side.", min=0, max=100)
]
LockTimeout = Annotated[
    int, option("--lock-timeout", "Milliseconds to wait for a lock per attempt.", min=1, max=10_000, show_default=True)
]
DryRun = Annotated[bool, option("--dry-run", "Ask the gate and say what would be done; change nothing.")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands."""

    @command(app, "prepare", example="cutover prepare --set-identity", reports=True)
    def prepare_command(
        call: Invocation,
        moves: Moves = None,
        set_identity: SetIdentity = False,
        roles: Roles = False,
        lock_timeout: LockTimeout = LOCK_TIMEOUT_MS,
    ) -> int:
        """Control schema, target DDL, mapping view, facade, publication, slot, topics: idempotent, online."""
        folder = load_plan(call.settings.plan)
        with connect(call.settings.dsn, f"plan {folder.name}") as conn:
            log = choose_log(conn, call.settings, folder.name)

        def compile_now() -> Plan:
            with connect(call.settings.dsn, f"plan {folder.name}") as conn:
                return compile_plan(conn, folder)

        log.identity()  # it must answer before anything is changed
        plan = compile_now()
        names = [move.name for move in chosen(plan, moves, prepared=False)]
        report = prepare(
            call.settings.dsn,
            plan,
            log,
            compile_now,
            names,
            set_identity=set_identity,
            roles=roles,
            lock_timeout_ms=lock_timeout,
        )
        if call.json:
            call.document(asdict(report))
        else:
            call.out.print(render_prepare(report))
        return Refused.exit_code if report.gap else 0

    @command(app, "flip", example="cutover flip stock --to consolidated", reports=True)
    def flip_command(
        call: Invocation,
        move: OneMove,
        to: To,
        percent: Percent = None,
        lock_timeout: LockTimeout = LOCK_TIMEOUT_MS,
        dry_run: DryRun = False,
    ) -> int:
        """Let applications read the other side, behind the gate, in one short transaction."""
        more = _More(lock_timeout_ms=lock_timeout, dry_run=dry_run)
        with interruptible(call.settings.dsn) as attempt:  # to the end of the report: until then nobody knows of it
            try:
                report = _flip(call, move, to, percent, attempt, more)
            except FlipRefused as closed:
                if call.json:
                    call.document(closed.report.document())
                else:
                    call.out.print(render_gate(closed.checks))
                raise
            if call.json:
                call.document(report.document())
            else:
                call.out.print(render_flip(report))
            return 0


class _More(TypedDict):
    lock_timeout_ms: int
    dry_run: bool


def _flip(call: Invocation, move: str, to: Side, percent: int | None, attempt: Attempt, more: _More) -> FlipReport:
    """Back by what the database knows, if that is the way; else by the plan."""
    dsn = call.settings.dsn
    known = _known(call, move) if to == "legacy" or percent is not None else None
    report = flip_back(dsn, *known, to, percent, attempt=attempt, **more) if known is not None else None
    if report is None:
        plan = open_plan(call.settings, changed=to == "legacy")
        report = flip(dsn, plan, chosen(plan, [move])[0].name, to, percent, attempt=attempt, **more)
    return report


def _known(call: Invocation, move: str) -> tuple[str, str] | None:
    """Plan and move as the database knows them, for the way back, which takes no file; None if it does not."""
    with connect(call.settings.dsn, "flip") as conn:
        check(conn)
        plan = find_plan(conn, call.settings.plan, move)
        return None if plan is None else (plan, find_move(conn, plan, move))
