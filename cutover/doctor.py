"""What is wrong, why, and the command that mends it. Reads only; every check says what it saw, never what it hopes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from cdc.control import AT_WORK, altered
from cdc.log import Log
from cdc.partitions import changed
from cdc.publication import column_lists, read_publication
from cutover.heal import unpublished
from cutover.move_problems import of_move, of_proof
from cutover.place import read_places
from cutover.plan import PlanFolder, load_plan
from cutover.preflight import IDENTITY
from cutover.problem import OR_RUN, Problem, restarting
from cutover.service import choose_log
from cutover.settings import Settings
from cutover.standing import Standing, read_standings, troubles
from cutover.status import Status, read_status
from cutover.views import mapping_untouched
from reconcile.passes import PASSES
from sql.compile import compile_plan
from sql.connection import Connection, connect
from sql.control import check
from sql.counted import counted
from sql.cures import commands
from sql.errors import CutoverError, Refused, Unreachable
from sql.files import load
from sql.model import Finding, Plan

LEAST_VERSION = 150000  # publications with column lists
_MISSING = (
    "first bring back what is missing (its old name, or `cutover restore`, which rebuilds a table from the log), or"
    " change the plan"
)
_PREPARE_HEAL = commands("cutover prepare", "cutover heal")
_PREPARED = "the plan was prepared a moment ago; it was at work then, and begins anew with it by itself"
_HEALED = "the move was healed a moment ago; a consumer lives, and takes the partitions up again by itself"
_PROVES = """
SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = %s AND objsubid = 2
   AND objid = (hashtext(%s)::bigint & 4294967295)::oid
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
SHRUNK = 0.25  # of max_slot_wal_keep_size: below it the slot is in danger (C3)


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
        yield from of_move(move, captured=captured, gap=status.slot.gap is not None, heal=heal, again=again)
        yield from of_proof(move, status)
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
            f"{name} cannot be understood as it was prepared: it stands still, or will once its processes begin anew",
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
    else:
        yield from _unprepared(conn, plan)
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


def _unprepared(conn: Connection, plan: Plan) -> Iterator[Problem]:
    """Moves of which nothing is recorded. One after the other is how some prepare a plan; that of none is no plan's."""
    known = {move for (move,) in conn.execute("SELECT move FROM cutover.move WHERE plan = %s", (plan.name,))}
    for move in plan.moves:
        if move.name not in known:
            yield Problem(
                "note" if known else "broken",
                f"{move.name} is not prepared",
                "the plan has it, and nothing of it is captured",
                f"cutover prepare {move.name}",
                move.name,
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
        yield restarting("capture starts again", _PREPARED, "cutover capture")
    elif not slot.active:
        yield Problem(
            "broken",
            "capture is not running",
            f"nobody reads slot {slot.name}; the server keeps WAL for it",
            "cutover capture",
            hint=OR_RUN,
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
