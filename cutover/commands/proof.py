"""`cutover reconcile`: the proof."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cutover.command import Invocation, Moves, command, option
from cutover.progress import progress
from cutover.service import Service, chosen, open_service, refuse_standing_still
from reconcile import history
from reconcile.diff import Key
from reconcile.document import ReconcileDocument, exit_code
from reconcile.html import check_path, write
from reconcile.repair import repair as mend
from reconcile.run import Step, reconcile
from reconcile.terminal import show
from sql.connection import connect
from sql.errors import NotProven, UsageError

Timeout = Annotated[
    float, option("--timeout", "Seconds that the proof of a difference waits for the stream.", min=0, show_default=True)
]
Listed = Annotated[int, option("--list", "Differences to list with their cells.", min=0, show_default=True)]


Repair = Annotated[
    bool, option("--repair", "Touch the keys that drifted, so that the stream mends them; compare again.")
]
DryRun = Annotated[bool, option("--dry-run", "With --repair: only say which keys would be touched.")]
Html = Annotated[Path | None, option("--html", "Write the report to this file too, as one page of HTML.")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands."""

    @command(app, "reconcile", example="cutover reconcile stock", reports=True)
    def reconcile_command(
        call: Invocation,
        moves: Moves = None,
        timeout: Timeout = 30.0,
        listed: Listed = 1000,
        repair: Repair = False,
        dry_run: DryRun = False,
        html: Html = None,
    ) -> int:
        """The proof: every key compared, every difference judged: match, lag, drift or unresolved."""
        if dry_run and not repair:
            raise UsageError("--dry-run without --repair", cure="a reconciliation alone changes nothing")
        if html is not None:
            check_path(html)
        service = open_service(call.settings)
        names = [move.name for move in chosen(service.plan, moves)]
        mendable: dict[str, list[Key]] = {}
        document = _compare(call, service, names, timeout, listed, mendable)
        if repair and mendable and not dry_run:
            with connect(call.settings.dsn, f"repair {service.plan.name}") as conn:
                refuse_standing_still(conn, service.plan, [service.plan.move(name) for name in mendable])
            with progress(call, "repair") as report:
                mend(call.settings.dsn, service.plan, service.log, mendable, progress=report)
            document = _compare(call, service, names, timeout, listed, {})
        repaired = {name: len(keys) for name, keys in mendable.items()} if repair else None
        if html is not None:
            with connect(call.settings.dsn, "reconcile report") as conn:
                earlier = {name: history.runs(conn, service.plan.name, name) for name in names}
            write(html, document, service.plan, earlier)
        if call.json:
            more = {} if repaired is None else {"dry_run" if dry_run else "repaired": repaired}
            call.document(document.model_dump(mode="json") | more)
        else:
            show(document, call.out)
            for name, number in (repaired or {}).items():
                call.out.print(
                    f"{name}: {number:,} keys {'would be touched' if dry_run else 'were touched and compared again'}"
                )
        return exit_code(document)


def _compare(
    call: Invocation,
    service: Service,
    names: Sequence[str],
    timeout: float,
    listed: int,
    mendable: dict[str, list[Key]],
) -> ReconcileDocument:
    with progress(call, "reconcile") as report:

        def step(at: Step) -> None:
            report(at.done, max(at.done, at.total))

        try:
            return reconcile(
                call.settings.dsn,
                service.plan,
                names,
                service.log,
                timeout=timeout,
                listed=listed,
                progress=step,
                mendable=mendable,
            )
        except KeyboardInterrupt:
            raise NotProven("interrupted: nothing is proven, and nothing was recorded") from None
