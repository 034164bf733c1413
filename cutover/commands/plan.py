"""`cutover plan`: what the plan says, as PostgreSQL and pglast understand it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from cutover.command import Invocation, command, option
from cutover.plan import load_plan
from cutover.preflight import prepared_findings, server_findings
from cutover.show_plan import blocked, document, render
from sql.compile import compile_plan
from sql.connection import connect
from sql.errors import Refused

Check = Annotated[bool, option("--check", "Exit with 5 when a finding blocks.")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands."""

    @command(app, "plan", example="cutover plan --check", reports=True)
    def plan_command(call: Invocation, check: Check = False) -> int:
        """What the plan says: moves, sources, the key of each source, where each column comes from, findings."""
        folder = load_plan(call.settings.plan)
        with connect(call.settings.dsn, f"plan {folder.name}") as conn:
            plan = compile_plan(conn, folder, sample=True)
            plan = replace(
                plan, findings=(*server_findings(conn, plan), *prepared_findings(conn, folder), *plan.findings)
            )
        if call.json:
            call.document(document(plan))
        else:
            render(plan, call.out)
        return Refused.exit_code if check and blocked(plan) else 0
