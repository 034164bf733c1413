"""`cutover reconcile`: the proof."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from cutover.command import Invocation, Moves, command, option
from cutover.progress import progress
from cutover.selection import Flags, select
from cutover.service import Service, chosen, open_service, refuse_standing_still
from cutover.signals import stop_on_signals
from reconcile import history
from reconcile.diff import Key
from reconcile.disagreements import accept as take_decisions
from reconcile.disagreements import write_disagreements
from reconcile.document import ReconcileDocument, exit_code
from reconcile.html import check_path, write
from reconcile.repair import repair as mend
from reconcile.review import read_review
from reconcile.run import Step, reconcile
from reconcile.scope import Selection
from reconcile.terminal import show
from sql.connection import connect
from sql.errors import NotProven, Refused, UsageError

Timeout = Annotated[
    float, option("--timeout", "Seconds that the proof of a difference waits for the stream.", min=0, show_default=True)
]
Listed = Annotated[int, option("--list", "Differences to list with their cells.", min=0, show_default=True)]


Repair = Annotated[
    bool, option("--repair", "Touch the keys that drifted, so that the stream mends them; compare again.")
]
DryRun = Annotated[bool, option("--dry-run", "With --repair: only say which keys would be touched.")]
ThisKey = Annotated[
    list[str] | None,
    option("--key", "Only this key of one MOVE, once for each; the parts of a composite key separated by a comma."),
]
KeysFile = Annotated[
    Path | None, option("--keys", "Only the keys in this file, one a line as CSV; - is standard input.")
]
Since = Annotated[
    str | None, option("--since", "Only the keys that the log names since then: 90s, 15min, 2h, an LSN, a time.")
]
Columns = Annotated[str | None, option("--columns", "Only these columns of one MOVE: price,currency.")]
Where = Annotated[
    str | None, option("--where", 'Only keys of one MOVE that satisfy this on either side: "price > 10".')
]
Sample = Annotated[str | None, option("--sample", "A share of the keys (0.01, 1%) or a number of them, at random.")]
Seed = Annotated[int | None, option("--seed", "Of --sample: draw the same keys again.", min=0)]
Sources = Annotated[
    bool,
    option(
        "--sources/--no-sources",
        "Count each legacy table by itself too: rows that share a key, rows that the mapping does not show.",
        show_default=True,
    ),
]
Watch = Annotated[
    bool, option("--watch", "Again and again, until Ctrl-C: a line for each pass, more for what is wrong.")
]
Share = Annotated[
    float, option("--share", "Part of the time that --watch may compare.", min=0.01, max=1.0, show_default=True)
]
Disagreements = Annotated[
    Path | None,
    option("--disagreements", "Write the rows of others that disagree with one MOVE to this file, to decide."),
]
Accept = Annotated[Path | None, option("--accept", "Take the decisions from this file, which --disagreements wrote.")]
Html = Annotated[Path | None, option("--html", "Write the report to this file too, as one page of HTML.")]


_LEAST_PAUSE = 1.0  # seconds between two passes of --watch


class _Stopped(Exception):
    """--watch was told to stop in the middle of a pass."""


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
        key: ThisKey = None,
        keys: KeysFile = None,
        since: Since = None,
        columns: Columns = None,
        where: Where = None,
        sample: Sample = None,
        seed: Seed = None,
        disagreements: Disagreements = None,
        accept: Accept = None,
        html: Html = None,
        sources: Sources = True,
        watch: Watch = False,
        share: Share = 0.1,
    ) -> int:
        """The proof: every key compared, every difference judged: match, lag, drift or unresolved."""
        if dry_run and not repair:
            raise UsageError("--dry-run without --repair", cure="a reconciliation alone changes nothing")
        if disagreements is not None or accept is not None:
            return _decide(call, moves, disagreements, accept)
        flags = Flags(key, keys, since, columns, where, sample, seed)
        if watch and (unfit := [*flags.given, *(["--repair"] if repair else []), *(["--json"] if call.json else [])]):
            raise UsageError(f"--watch compares everything and goes without {' and '.join(unfit)}")
        if html is not None:
            check_path(html)
        service = open_service(call.settings)
        wanted = chosen(service.plan, moves)
        names = [move.name for move in wanted]
        if watch:
            return _watch(call, service, names, timeout, listed, html, share)
        only = select(service, wanted, flags)
        mendable: dict[str, list[Key]] = {}
        document = _compare(call, service, names, timeout, listed, mendable, only, sources=sources)
        if repair and mendable and not dry_run:
            with connect(call.settings.dsn, f"repair {service.plan.name}") as conn:
                refuse_standing_still(conn, service.plan, [service.plan.move(name) for name in mendable])
            with progress(call, "repair") as report:
                mend(call.settings.dsn, service.plan, service.log, mendable, progress=report)
            document = _compare(call, service, names, timeout, listed, {}, only, sources=sources)
        repaired = {name: len(keys) for name, keys in mendable.items()} if repair else None
        _write(service, document, html)
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


def _decide(call: Invocation, moves: Sequence[str] | None, listed: Path | None, accepted: Path | None) -> int:
    """List disagreements, or take what was decided about them; 5 when a decision is refused."""
    if listed is not None and accepted is not None:
        raise UsageError("--disagreements writes a file, --accept reads one", cure="one after the other")
    service = open_service(call.settings)
    if accepted is None:
        assert listed is not None
        wanted = chosen(service.plan, moves)
        if len(wanted) != 1:
            raise UsageError("--disagreements is of one move", cure=f"cutover reconcile MOVE --disagreements {listed}")
        number = write_disagreements(call.settings.dsn, wanted[0], listed)
        if call.json:
            call.document({"move": wanted[0].name, "disagreements": number, "file": str(listed)})
        else:
            call.out.print(f"{wanted[0].name}: {number:,} disagreements are in {listed}; decide, then --accept it")
        return 0
    review = read_review(accepted)
    if review.plan != service.plan.name:
        raise UsageError(f"{accepted} is about plan {review.plan}, this is {service.plan.name}")
    (move,) = chosen(service.plan, [review.move])
    if moves and moves != [move.name]:
        raise UsageError(
            f"{accepted} is about move {move.name}", cure=f"cutover reconcile {move.name} --accept {accepted}"
        )
    with connect(call.settings.dsn, f"accept {service.plan.name}") as conn:
        refuse_standing_still(conn, service.plan, [move])
    with progress(call, "accept") as report:
        done = take_decisions(call.settings.dsn, service.plan, service.log, move, review, report)
    if call.json:
        call.document(
            {
                "move": move.name,
                "legacy": [list(key) for key in done.adopted],
                "consolidated": [list(key) for key in done.kept],
                "open": [list(key) for key in done.open],
                "refused": [{"key": list(key), "why": why} for key, why in done.refused.items()],
            }
        )
    else:
        call.out.print(
            f"{move.name}: {len(done.adopted):,} rows take the legacy values, {len(done.kept):,} stay as they are,"
            f" {len(done.open):,} are open, {len(done.refused):,} refused"
        )
        for key, why in done.refused.items():
            call.out.print(f"  refused {', '.join(key)}: {why}", markup=False)
    return Refused.exit_code if done.refused else 0


def _watch(
    call: Invocation,
    service: Service,
    names: Sequence[str],
    timeout: float,
    listed: int,
    html: Path | None,
    share: float,
) -> int:
    """Pass after pass, each recorded; pauses so that no more than `share` of the time is spent in comparing."""
    stop = stop_on_signals()
    while not stop.is_set():
        started = time.monotonic()
        try:
            document = _compare(call, service, names, timeout, listed, {}, None, stop)
        except _Stopped:
            break
        took = time.monotonic() - started
        _write(service, document, html)
        for report in document.moves:
            call.out.print(f"{report.started_at:%Y-%m-%d %H:%M:%S}  {report.verdict:<10}  {report.sentence}")
        if exit_code(document):
            show(document, call.out)
        stop.wait(max(_LEAST_PAUSE, took * (1 / share - 1)))
    return 0


def _write(service: Service, document: ReconcileDocument, html: Path | None) -> None:
    if html is None:
        return
    with connect(service.settings.dsn, "reconcile report") as conn:
        earlier = {report.move: history.runs(conn, service.plan.name, report.move) for report in document.moves}
    write(html, document, service.plan, earlier)


def _compare(
    call: Invocation,
    service: Service,
    names: Sequence[str],
    timeout: float,
    listed: int,
    mendable: dict[str, list[Key]],
    only: Mapping[str, Selection] | None,
    stop: threading.Event | None = None,
    *,
    sources: bool = False,
) -> ReconcileDocument:
    with progress(call, "reconcile") as report:

        def step(at: Step) -> None:
            if stop is not None and stop.is_set():
                raise _Stopped
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
                only=only,
                sources=sources,
            )
        except KeyboardInterrupt:
            raise NotProven("interrupted: nothing is proven, and nothing was recorded") from None
