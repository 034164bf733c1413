"""`cutover reconcile`: the proof."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cutover.command import Invocation, Moves, command, option
from cutover.deciding import list_disagreements, take_decisions
from cutover.proving import Proving
from cutover.selection import Flags, select
from cutover.service import open_moves
from cutover.signals import stop_on_signals
from reconcile.html import check_path
from reconcile.run import SESSIONS
from sql.errors import UsageError

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
    option("--key", "Only this key of one MOVE, once for each: its parts separated by commas, as it is printed."),
]
KeysFile = Annotated[Path | None, option("--keys", "Only the keys in this file, one a line; - is standard input.")]
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
Sessions = Annotated[
    int, option("--sessions", "Sessions that compare side by side; --watch has one.", min=1, max=16, show_default=True)
]
Disagreements = Annotated[
    Path | None,
    option("--disagreements", "Write the rows of others that disagree with one MOVE to this file, to decide."),
]
Accept = Annotated[Path | None, option("--accept", "Take the decisions from this file, which --disagreements wrote.")]
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
        sessions: Sessions = SESSIONS,
    ) -> int:
        """The proof: every key compared, every difference judged: match, lag, drift or unresolved."""
        if dry_run and not repair:
            raise UsageError("--dry-run without --repair", cure="a reconciliation alone changes nothing")
        flags = Flags(key, keys, since, columns, where, sample, seed)
        deciding = [
            flag for flag, file in (("--disagreements", disagreements), ("--accept", accept)) if file is not None
        ]
        others = {"--repair": repair, "--watch": watch, "--html": html is not None}
        more = [*deciding[1:], *flags.given, *(flag for flag, given in others.items() if given)]
        if deciding and more:
            raise UsageError(f"{deciding[0]} goes without {' and '.join(more)}", cure="one after the other")
        if disagreements is not None:
            return list_disagreements(call, moves, disagreements)
        if accept is not None:
            return take_decisions(call, moves, accept)
        if watch and (unfit := [*flags.given, *(["--repair"] if repair else []), *(["--json"] if call.json else [])]):
            raise UsageError(f"--watch compares everything and goes without {' and '.join(unfit)}")
        if html is not None:
            check_path(html)
        service, wanted = open_moves(call.settings, moves)
        names = [move.name for move in wanted]
        if watch:
            return Proving(call, service, names, timeout, listed, html).watch(share, stop_on_signals())
        only = select(service, wanted, flags)
        return Proving(call, service, names, timeout, listed, html, sources, only, sessions).once(
            mend=repair, dry_run=dry_run
        )
