"""Disagreements on the command line: a file to decide in is written, and what was decided is taken."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from cutover.command import Invocation
from cutover.progress import progress
from cutover.service import chosen, open_service
from reconcile.disagreements import Accepted, accept, write_disagreements
from reconcile.review import read_review
from sql.counted import counted
from sql.errors import Refused, UsageError
from sql.keys import key_text


def list_disagreements(call: Invocation, moves: Sequence[str] | None, file: Path) -> int:
    """Write the disagreements of one move to a new file."""
    service = open_service(call.settings)
    wanted = chosen(service.plan, moves)
    if len(wanted) != 1:
        raise UsageError(
            "--disagreements is of one move", hint="name it: `cutover reconcile MOVE --disagreements FILE`"
        )
    number = write_disagreements(call.settings.dsn, wanted[0], file)
    if call.json:
        call.document({"move": wanted[0].name, "disagreements": number, "file": str(file)})
    else:
        call.out.print(f"{wanted[0].name}: {counted(number, 'disagreement')} in {file}; decide, then --accept it")
    return 0


def take_decisions(call: Invocation, moves: Sequence[str] | None, file: Path) -> int:
    """Take what was decided in a file; exit code 5 when a decision is refused."""
    service = open_service(call.settings)
    review = read_review(file)
    if review.plan != service.plan.name:
        raise UsageError(f"{file} is about plan {review.plan}, this is {service.plan.name}")
    (move,) = chosen(service.plan, [review.move])
    if moves and moves != [move.name]:
        raise UsageError(
            f"{file} is about move {move.name}",
            cure=shlex.join(("cutover", "reconcile", move.name, "--accept", str(file))),
        )
    service.refuse_standing_still([move])
    with progress(call, "accept") as report:
        done = accept(call.settings.dsn, service.plan, service.log, move, review, report)
    _say(call, move.name, done)
    return Refused.exit_code if done.refused else 0


def _say(call: Invocation, move: str, done: Accepted) -> None:
    if call.json:
        call.document(
            {
                "move": move,
                "legacy": [list(key) for key in done.adopted],
                "consolidated": [list(key) for key in done.kept],
                "open": [list(key) for key in done.open],
                "refused": [{"key": list(key), "why": why} for key, why in done.refused.items()],
            }
        )
        return
    call.out.print(
        f"{move}: {counted(len(done.adopted), 'row', 'takes')} the legacy values, {len(done.kept):,} left as found,"
        f" {len(done.open):,} open, {len(done.refused):,} refused"
    )
    for key, why in done.refused.items():
        call.out.print(f"  refused {key_text(key)}: {why}", markup=False)
