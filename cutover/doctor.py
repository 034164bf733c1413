"""What is wrong, why, and the command that mends it. Reads only; every check says what it saw, never what it hopes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Literal

from cdc.control import AT_WORK, altered
from cdc.log import Log
from cdc.partitions import changed
from cdc.publication import column_lists, read_publication
from cutover.heal import unpublished
from cutover.place import read_places
from cutover.plan import PlanFolder, load_plan
from cutover.preflight import IDENTITY
from cutover.service import choose_log
from cutover.settings import Settings
from cutover.standing import Standing, read_standings, troubles
from cutover.status import MoveStatus, Status, read_status
from cutover.views import mapping_untouched
from reconcile.passes import PASSES
from reconcile.whose import AND_DECIDE, to_decide
from sql.compile import compile_plan
from sql.connection import Connection, connect
from sql.control import check
from sql.counted import counted, staying
from sql.cures import commands, sorted_out
from sql.errors import CutoverError, NotProven, Refused, Unreachable, without_cure
from sql.files import load
from sql.model import Finding, Plan

Severity = Literal["unreachable", "broken", "lag", "note"]
LAG_MS = 5_000.0
PROVEN_OF_LATE = timedelta(days=1)
LEAST_VERSION = 150000  # publications with column lists
_MISSING = (
    "first bring back what is missing (its old name, or `cutover restore`, which rebuilds a table from the log), or"
    " change the plan"
)
_OR_RUN = "or cutover run, which is all of them in one"
_PREPARE_HEAL = commands("cutover prepare", "cutover heal")
_AGAIN = {  # events after which every key has to be touched
    "mapping-changed": "its mapping has changed since: ",
    "source-added": "a source came in, or was published anew, since: ",
    "target-created": "its target was made anew since: ",
}
_PREPARED = "the plan was prepared a moment ago; it was at work then, and begins anew with it by itself"
_HEALED = "the move was healed a moment ago; a consumer lives, and takes the partitions up again by itself"
_PROVES = """
SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = %s AND objsubid = 2
   AND objid = (hashtext(%s)::bigint & 4294967295)::oid
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
SHRUNK = 0.25  # of max_slot_wal_keep_size: below it the slot is in danger (C3)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong. `note` is worth knowing and needs nothing; `lag` mends itself while the stream runs.

    `cure`: commands that can be pasted, one a line, in their order; `hint`: what no command does. Either may be empty.
    """

    severity: Severity
    what: str
    why: str
    cure: str
    move: str | None = None
    hint: str = ""

    def __post_init__(self) -> None:
        cure, hint = sorted_out(self.cure, self.hint)
        object.__setattr__(self, "cure", cure or "")
        object.__setattr__(self, "hint", hint or "")


def exit_code(problems: list[Problem]) -> int:
    """0 healthy, 3 only lag, 5 broken, 6 something needed does not answer."""
    found = {problem.severity for problem in problems}
    for severity, error in (("unreachable", Unreachable), ("broken", Refused), ("lag", NotProven)):
        if severity in found:
            return error.exit_code
    return 0


def document(plan: str, problems: list[Problem]) -> dict[str, Any]:
    """What `doctor --json` prints."""
    return {"plan": plan, "healthy": exit_code(problems) == 0, "problems": [asdict(each) for each in problems]}


def examine(settings: Settings) -> list[Problem]:
    """Everything that can be seen to be wrong, the gravest first. Raises PlanError when the plan cannot be read."""
    folder = load_plan(settings.plan)
    try:
        conn = connect(settings.dsn, "doctor")
    except Unreachable as error:
        return [_unreachable(error, str(error.args[0]).partition(":")[0])]
    with conn:
        problems = list(_examine(conn, folder, choose_log(conn, settings, folder.name)))
    rank = ("unreachable", "broken", "lag", "note")
    return sorted(problems, key=lambda problem: rank.index(problem.severity))


def _examine(conn: Connection, folder: PlanFolder, log: Log) -> Iterator[Problem]:
    server = list(_server(conn))
    yield from server
    plan, problems = _compile(conn, folder)
    yield from problems
    try:
        check(conn)
        status = read_status(conn, folder.name, log)
    except Refused as error:
        why = "nothing can run before `prepare`" if error.cure else "another installation has prepared it since"
        yield Problem("broken", str(error.args[0]), why, error.cure or "", hint=error.hint or "")
        return
    first: dict[str, tuple[str, str]] = {}  # what a halt needs besides heal
    if plan is not None:
        yield from _prepared(conn, plan)
        first = _mend_first(conn, plan)
    away = _away(conn, folder.name)
    taken_up = {move for (move,) in conn.execute(load("status/taken_up").encode(), {"plan": folder.name})}
    of_log = list(_log(conn, folder.name, log))
    if not any("--log" in problem.cure for problem in of_log):  # else the gap is the flag's alone
        yield from _slot(conn, status, away=any(capture for capture, _ in away.values()))
    yield from of_log
    yield from _facades(conn, folder.name)
    for move in status.moves:
        if move.state in ("completed", "left"):
            continue
        heal = first.get(move.move, (f"cutover heal {move.move}", ""))
        captured = status.slot.active or any(capture for capture, _ in away.values())
        again = _PREPARED if away.get(move.move, (False, False))[1] else _HEALED if move.move in taken_up else None
        yield from _move(move, captured=captured, gap=status.slot.gap is not None, heal=heal, again=again)
        yield from _proof(move, status)
    yield from _nobody_proves(conn, status)


def _facades(conn: Connection, plan: str) -> Iterator[Problem]:
    for place in read_places(conn, plan):
        if place.recorded is None or place.installed in (None, place.percent):
            continue
        yield Problem(
            "broken",
            f"the facade of {place.move}, {place.recorded.name}, is made for {place.installed} % of the sessions on the"
            f" consolidated side, and {place.percent} % are to read it",
            "what reads through it does not read what was chosen",
            f"cutover prepare {place.move}",
            place.move,
            f"or at once `cutover flip {place.move} --to legacy`, which is right whatever else is",
        )


def _server(conn: Connection) -> Iterator[Problem]:
    version = conn.info.server_version
    if version < LEAST_VERSION:
        yield Problem(
            "broken",
            f"PostgreSQL is of version {version // 10000}",
            "publications have column lists from 15 on, and they keep unmapped columns out of the log",
            "upgrade the server to 15 or newer",
        )
    row = conn.execute("SELECT current_setting('wal_level')").fetchone()
    if row and row[0] != "logical":
        yield Problem(
            "broken",
            f"wal_level is {row[0]}",
            "changes cannot be decoded from this server's WAL",
            "ALTER SYSTEM SET wal_level = 'logical', then restart the server",
        )


def _compile(conn: Connection, folder: PlanFolder) -> tuple[Plan | None, list[Problem]]:
    try:
        plan = compile_plan(conn, folder, partly=True)
    except CutoverError as error:
        hint = error.hint or ("" if error.cure else "mend the plan")
        return None, [Problem("broken", error.args[0], "the plan cannot be understood", error.cure or "", hint=hint)]
    missing = [
        Problem(
            "broken",
            why,
            f"{name} cannot be understood as it was prepared: it stands still",
            _PREPARE_HEAL,
            name,
            _MISSING,
        )
        for name, why in plan.broken
    ]
    blocking = [finding for finding in plan.findings if finding.severity == "block"]
    alone = all(finding.code == IDENTITY for finding in blocking)
    return plan, missing + [_blocking(finding, alone=alone) for finding in blocking]


def _blocking(finding: Finding, *, alone: bool) -> Problem:
    """`alone`: `prepare` would not refuse the plan for anything that it cannot mend itself."""
    why = f"the plan has a blocking finding: {finding.code}"
    cure, hint = "cutover plan --check", finding.cure or ""
    if finding.code == IDENTITY:  # what is published already needs more than the finding's own statements
        cure = "cutover prepare --set-identity" if alone else cure
        hint = (
            ""
            if alone
            else "make its primary key again, or mend the other blocking findings: prepare refuses until then"
        )
    return Problem("broken", finding.message, why, cure, finding.move, hint)


def _prepared(conn: Connection, plan: Plan) -> Iterator[Problem]:
    row = conn.execute("SELECT digest FROM cutover.plan WHERE plan = %s", (plan.name,)).fetchone()
    if row and row[0] != plan.digest:
        yield Problem("broken", "the plan has changed", "its files differ from those prepared", "cutover prepare")
    query = (
        "SELECT publication_mark IS NULL, NOT cutover.publication_stands(publication_mark, slot)"
        " FROM cutover.plan WHERE plan = %s"
    )
    at_work, altered_since = conn.execute(query, (plan.name,)).fetchone() or (False, False)
    if at_work:
        yield Problem("broken", AT_WORK, "capture and heal wait for it", "cutover prepare", hint="if none is running")
    elif altered_since:
        why = altered(plan.publication)
        yield Problem("broken", "the publication is not as it was prepared", why, _PREPARE_HEAL)
    for move in plan.moves:
        if not move.target_oid:
            what = f"the target of {move.name}, {move.target}, is not there"
            cure = commands("cutover prepare", f"cutover backfill {move.name}")
            yield Problem("broken", what, "it was dropped or renamed", cure, move.name)
        found = changed(conn, move)
        if found is not None:
            what = f"partitions of a source of {move.name} changed: {found.detail()}"
            hint = "a consumer touches every key by itself, where one runs"
            why = "the stream says nothing of it, so the target is not yet what hangs there now"
            yield Problem("lag", what, why, "cutover consume", move.name, hint)
    for move in plan.moves:
        if not mapping_untouched(conn, move):
            yield Problem(
                "broken",
                f"the mapping's view of {move.name}, {move.view}, is not the one that was prepared",
                "somebody dropped it, or put another table in the place of one that it reads",
                commands("cutover prepare", f"cutover heal {move.name}"),
                move.name,
            )
    published = read_publication(conn, plan.publication)
    for name, columns in column_lists(conn, plan.moves).items():
        if row and row[0] == plan.digest and published.get(name, columns) != columns:
            why = "its replica identity or primary key is another one now: the application's UPDATE and DELETE may fail"
            yield Problem("broken", f"{name} is published with other columns than it needs", why, "cutover prepare")
    for name in unpublished(conn, plan):
        yield Problem(
            "broken",
            f"{name} is not in the publication {plan.publication}",
            "it was never prepared, or another table has taken its name: its changes are not captured",
            _PREPARE_HEAL,
        )


def _mend_first(conn: Connection, plan: Plan) -> dict[str, tuple[str, str]]:
    """By move, the whole cure and its hint where healing alone would be refused."""
    broken = {name: (_PREPARE_HEAL, _MISSING) for name, _ in plan.broken}
    remade = [move.name for move in plan.moves if not mapping_untouched(conn, move)]
    return broken | {name: (commands("cutover prepare", f"cutover heal {name}"), "") for name in remade}


def _away(conn: Connection, plan: str) -> dict[str, tuple[bool, bool]]:
    """By move, do capture and the consumers begin anew with a new plan, by themselves? They are away for a moment."""
    rows = conn.execute(load("status/restarting").encode(), {"plan": plan})
    return {move: (capture, consumers) for move, capture, consumers in rows}


def _slot(conn: Connection, status: Status, *, away: bool) -> Iterator[Problem]:
    slot = status.slot
    if slot.gap:
        yield Problem("broken", "there is a gap: changes may be missing", slot.gap, "cutover heal")
        return
    if not slot.active and away:
        yield _restarting("capture starts again", _PREPARED, "cutover capture")
    elif not slot.active:
        yield Problem(
            "broken",
            "capture is not running",
            f"nobody reads slot {slot.name}; the server keeps WAL for it",
            "cutover capture",
            hint=_OR_RUN,
        )
    row = conn.execute(load("status/wal_keep").encode()).fetchone()
    limit = row[0] if row else None
    if limit and slot.safe_wal_size is not None and slot.safe_wal_size < limit * SHRUNK:
        yield Problem(
            "broken",
            f"slot {slot.name} is about to be invalidated",
            f"{slot.safe_wal_size} more bytes of WAL and the server removes what the slot needs"
            f" (max_slot_wal_keep_size is {limit})",
            "let capture catch up, or raise max_slot_wal_keep_size now",
        )


def _restarting(what: str, why: str, else_: str, move: str | None = None) -> Problem:
    return Problem("lag", what, why, "cutover doctor", move, f"ask again in some seconds; where it stays so, `{else_}`")


def _log(conn: Connection, plan: str, log: Log) -> Iterator[Problem]:
    try:
        identity = log.identity()
        for standing in read_standings(conn, plan):
            if standing.log_identity is not None and standing.log_identity != identity:
                yield _other_log(log, standing.log)
                return
            for trouble in troubles(log, standing):
                yield Problem("broken", trouble.what, trouble.why, "cutover heal", standing.move)
            yield from _added(log, standing)
    except Unreachable as error:
        yield _unreachable(error, f"the log {log.address} does not answer")


def _other_log(log: Log, address: str) -> Problem:
    if log.address == address:
        why, cure = "it was lost, or made anew: what it held is not there", "cutover heal"
        hint = "move it back, if it is there elsewhere; if it is lost, heal"
    else:
        why, cure = f"the plan was prepared with {address}", shlex.join(("cutover", "doctor", "--log", address))
        hint = "give that --log to the others too; or `cutover heal`, if it is lost"
    return Problem("broken", f"this log, {log.address}, is not the one that was prepared", why, cure, hint=hint)


def _added(log: Log, standing: Standing) -> Iterator[Problem]:
    """Keys keep their partition (L3): frames go to the partitions that there were, whatever the topic has now."""
    there = len(log.begin_offsets(standing.topic)) if log.topic_identity(standing.topic) else standing.partitions
    if there > standing.partitions:
        yield Problem(
            "note",
            f"topic {standing.topic} has {counted(there, 'partition')},"
            f" {standing.move} was prepared with {standing.partitions}",
            "the added ones stay empty: with another number a key would change its partition",
            "",
            standing.move,
            "nothing needs to be done",
        )


def _move(
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
    if move.side == "consolidated" and ((orphans and not again) or not captured):
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
        yield _restarting(f"the consumers of {move.move} start again", again, "cutover consume", move.move)
    elif orphans and not (gap or move.halted):  # consumers give those back by themselves
        numbers = ", ".join(map(str, orphans))
        yield Problem(
            "broken",
            f"nobody consumes {'partition' if len(orphans) == 1 else 'partitions'} {numbers} of {move.move}",
            "no consumer holds its lease",
            "cutover consume",
            move.move,
            _OR_RUN,
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


def _proof(move: MoveStatus, status: Status) -> Iterator[Problem]:
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


def _nobody_proves(conn: Connection, status: Status) -> Iterator[Problem]:
    """Processes of the plan work, and none reconciles all the while."""
    working = [move for move in status.moves if any(each.worker for each in move.partitions)]
    if status.slot.active and working and conn.execute(_PROVES.encode(), (PASSES, status.plan)).fetchone() is None:
        yield Problem(
            "note",
            "nobody proves",
            "capture and consumers run, and no process reconciles all the while: what differs is found by the next"
            " reconciliation that somebody starts, and a flip waits for one",
            "cutover prove",
            hint="or cutover run, unless its --reconcile-share is 0",
        )


def _unreachable(error: CutoverError, what: str) -> Problem:
    hint = error.hint or ("" if error.cure else "start it, or check the address")
    return Problem("unreachable", what, str(error.args[0]), error.cure or "", hint=hint)
