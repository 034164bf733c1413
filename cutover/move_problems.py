"""What is wrong with one move, as `status` shows it: the doctor's checks of it, the proof's among them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from cutover.problem import OR_RUN, Problem, restarting
from cutover.status import MoveStatus, Status
from reconcile.whose import AND_DECIDE, to_decide
from sql.counted import counted, staying
from sql.cures import commands
from sql.errors import without_cure

LAG_MS = 5_000.0
PROVEN_OF_LATE = timedelta(days=1)
_AGAIN = {  # events after which every key has to be touched
    "mapping-changed": "its mapping has changed since: ",
    "source-added": "a source came in, or was published anew, since: ",
    "target-created": "its target was made anew since: ",
}


def of_move(
    move: MoveStatus, *, captured: bool, gap: bool, heal: tuple[str, str], again: str | None
) -> Iterator[Problem]:
    """`heal`: the commands that take the move up again, and what has to be done before. `again`: why the consumers
    are away for a moment only; None: they are not. `captured`: also where capture begins anew with a new plan."""
    orphans = [each.partition for each in move.partitions if each.worker is None]
    if move.halted:
        yield Problem("broken", f"{move.move} is halted", without_cure(move.halted), heal[0], move.move, heal[1])
    if move.facade_lost:
        yield Problem(
            "broken",
            f"the facade of {move.move}, {move.facade_lost}, is not there",
            "it was dropped, perhaps by a CASCADE: what reads through it fails",
            f"cutover prepare {move.move}",
            move.move,
            "it comes back on the side that it was on, with the target's grants",
        )
    if move.side == "consolidated" and (move.halted or (orphans and not again) or not captured):
        yield Problem(
            "broken",
            f"{move.move} is read from the consolidated side, and nothing keeps it current",
            "what the application writes now is not seen by what reads through the facade",
            heal[0] if move.halted else "cutover heal" if gap else "cutover run",
            move.move,
            f"until then `cutover flip {move.move} --to legacy` lets readers see what is true",
        )
    if move.dead_letters:
        yield Problem(
            "broken",
            f"{move.move} has {counted(move.dead_letters, 'dead letter')}",
            "these keys could not be applied; the target has none of them, or what they were before",
            commands(f"cutover dead-letters list --move {move.move}", f"cutover dead-letters retry --move {move.move}"),
            move.move,
            "mend the rows, the target or the plan between the two; or discard what may stay as it is",
        )
    if mine := move.proof.drift - move.proof.others:
        yield Problem(
            "broken",
            f"{move.move}: {counted(mine, 'key', 'drifts')}",
            "both sides differ, by proof, and nothing that is on its way makes them equal",
            f"cutover reconcile {move.move} --repair",
            move.move,
            "without --repair it only shows them",
        )
    if move.proof.others:
        yield _of_others(move)
    if move.proof.accepted:
        yield Problem(
            "note",
            f"{move.move}: {staying(move.proof.accepted, 'key')}",
            "somebody has accepted that, for as long as both sides are what they were then",
            f"cutover reconcile {move.move}",
            move.move,
        )
    if orphans and again and not (gap or move.halted):
        yield restarting(f"the consumers of {move.move} start again", again, "cutover consume", move.move)
    elif orphans and not (gap or move.halted):  # consumers give those back by themselves
        numbers = ", ".join(map(str, orphans))
        yield Problem(
            "broken",
            f"nobody consumes {'partition' if len(orphans) == 1 else 'partitions'} {numbers} of {move.move}",
            "no consumer holds its lease",
            "cutover consume",
            move.move,
            OR_RUN,
        )
    if not move.backfill.started:
        yield Problem(
            "broken",
            f"{move.move} has to be backfilled again" if move.backfill.again else f"{move.move} was never backfilled",
            f"{_AGAIN.get(move.backfill.again or '', '')}rows that nobody changes are not right in the target",
            f"cutover backfill {move.move}",
            move.move,
        )
    elif not move.backfill.finished:
        yield Problem(
            "lag",
            f"the backfill of {move.move} is not finished",
            f"keys touched: {move.backfill.so_far}",
            f"cutover backfill {move.move}",
            move.move,
            "it goes on where it was, unless it is still running",
        )
    if captured and not orphans and move.lag_ms is not None and move.lag_ms > LAG_MS:
        yield Problem(
            "lag",
            f"{move.move} is {move.lag_ms / 1000:.0f} s behind",
            "more is written than one consumer applies, or something blocks it",
            "cutover consume",
            move.move,
            "one more, beside those that run",
        )
    if move.proof.void and move.backfill.finished and not (gap or move.halted):  # else those come first
        read = move.side == "consolidated" or move.percent
        yield Problem(
            "broken" if read else "lag",
            f"{move.move} is not proven any more" + (", and it is read from the consolidated side" if read else ""),
            move.proof.void,
            f"cutover reconcile {move.move}",
            move.move,
        )
    if 0 < move.percent < 100:
        yield Problem(
            "note",
            f"{move.move} is a canary: {move.percent} % of the sessions read the consolidated side",
            "this form of the facade is slow for ORDER BY … LIMIT, and FOR UPDATE locks nothing through it",
            f"cutover flip {move.move} --to consolidated",
            move.move,
            "or --to legacy",
        )


def _of_others(move: MoveStatus) -> Problem:
    number = move.proof.others
    return Problem(
        "broken",
        f"{move.move}: {counted(number, 'row')} of others {'differs' if number == 1 else 'differ'} from the mapping",
        "they were there before the move, so that no repair writes them: somebody has to decide",
        to_decide(move.move),
        move.move,
        AND_DECIDE,
    )


def of_proof(move: MoveStatus, status: Status) -> Iterator[Problem]:
    """What was looked at and is not proven, or not of late; drift and what voids a proof are told of already."""
    proof = move.proof
    if (
        proof.verdict is None
        or proof.finished_at is None
        or proof.void
        or proof.drift
        or move.halted
        or status.slot.gap
    ):
        return
    if proof.verdict == "drift":
        yield Problem(
            "broken",
            f"{move.move}: the last reconciliation said drift, and no key differs",
            "an invariant of the plan did not hold: its report names it; the gate is closed",
            f"cutover reconcile {move.move}",
            move.move,
            "if it says so again, look at the invariant's SQL, and for legacy rows that the mapping leaves out",
        )
        return
    if proof.verdict != "match":
        what, why = f"{move.move} is not proven", f"the last reconciliation said {proof.verdict}"
    elif proof.unproven:
        what, why = f"{move.move} is not proven", "a reconciliation of a part of it found what was no match"
    elif status.now - proof.finished_at > PROVEN_OF_LATE:
        what, why = (
            f"{move.move} has not been proven of late",
            f"the last reconciliation ended at {proof.finished_at:%Y-%m-%d %H:%M}",
        )
    else:
        return
    if proof.unproven:
        why += f"; {counted(proof.unproven, 'key', 'differs')}, and nothing says yet whether that stays"
    yield Problem("lag", what, f"{why}; the gate is closed", f"cutover reconcile {move.move}", move.move)
