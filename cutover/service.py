"""What a long-running process needs before it starts: the plan as it was prepared, and the log it was prepared with."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cdc.log import Log, open_log
from cutover.plan import PlanFolder, load_plan
from cutover.settings import Settings, default_log, open_settings_log
from sql.connection import Connection, connect
from sql.control import check, version
from sql.errors import Gap, Halted, Refused, UsageError, without_cure
from sql.model import Move, Plan


@dataclass(frozen=True, slots=True)
class Service:
    """A prepared plan and its log, ready to capture, consume or prove."""

    settings: Settings
    folder: PlanFolder
    plan: Plan
    log: Log

    def another_log(self) -> Log:
        """The same log opened once more, for a thread of its own."""
        with connect(self.settings.dsn, f"plan {self.folder.name}") as conn:
            return choose_log(conn, self.settings, self.folder.name)

    def refuse_standing_still(self, moves: Sequence[Move]) -> None:
        """Raises Gap or Halted when the consumers of these moves stand by: waiting for them would never end."""
        with connect(self.settings.dsn, f"plan {self.folder.name}") as conn:
            refuse_standing_still(conn, self.plan, moves)

    def reload(self) -> Plan:
        """The plan as it is prepared now, its prepared moves only; raises as `open_service` does."""
        with connect(self.settings.dsn, f"plan {self.folder.name}") as conn:
            return _prepared(conn, load_plan(self.settings.plan))


def open_service(settings: Settings, *, any_log: bool = False) -> Service:
    """Compile the plan, hold it against what `prepare` recorded, and open its log (`any_log`: even another one).

    The plan has its prepared moves only. One that cannot be understood any more, say because a source was dropped,
    is in `Plan.broken`, and holds up nobody who does not ask for it.

    Raises Unreachable when the database or the log does not answer, Refused when the plan is not prepared as it
    stands in its folder, UsageError when it was prepared with another log.
    """
    folder = load_plan(settings.plan)
    with connect(settings.dsn, f"plan {folder.name}") as conn:
        log = choose_log(conn, settings, folder.name)
        plan = _prepared(conn, folder)
        if not any_log:
            refuse_other_log(conn, plan.name, log)
    return Service(settings, folder, plan, log)


def open_plan(settings: Settings, *, changed: bool = False) -> Plan:
    """The plan as `open_service` compiles it, for what needs no log: reads are flipped while the log is away, and
    while a source of another move is gone. `changed`: even if its files are not those prepared, for the way back to
    legacy, which is in the database."""
    folder = load_plan(settings.plan)
    with connect(settings.dsn, f"plan {folder.name}") as conn:
        return _prepared(conn, folder, changed=changed)


def choose_log(conn: Connection, settings: Settings, plan: str) -> Log:
    """The log that was given; else the one the plan was prepared with, whatever folder this is; else the default.

    The file of a prepared plan is not made again by looking: it may come back.
    """
    row = None
    if version(conn):
        row = conn.execute("SELECT log FROM cutover.plan WHERE plan = %s", (plan,)).fetchone()
    if row is not None and "log" not in settings.model_fields_set and row[0] != default_log():
        return open_log(row[0], make=False)
    return open_settings_log(settings, make=row is None)


def _prepared(conn: Connection, folder: PlanFolder, *, changed: bool = False) -> Plan:
    from sql.compile import compile_plan  # here: `status` should not wait for the parser that it does not use

    check(conn)
    row = conn.execute("SELECT digest FROM cutover.plan WHERE plan = %s", (folder.name,)).fetchone()
    if row is None:
        raise Refused(f"plan {folder.name} is not prepared in this database", cure="cutover prepare")
    plan = compile_plan(conn, folder, partly=True)
    if plan.digest != row[0] and not changed:
        raise Refused(f"plan {folder.name} has changed since it was prepared", cure="cutover prepare")
    query = "SELECT move FROM cutover.move WHERE plan = %s AND state NOT IN ('completed', 'left')"
    known = conn.execute(query, (plan.name,))
    names = {name for (name,) in known.fetchall()}
    return replace(
        plan,
        moves=tuple(move for move in plan.moves if move.name in names),
        broken=tuple((name, why) for name, why in plan.broken if name in names),
    )


def refuse_other_log(conn: Connection, plan: str, log: Log) -> None:
    """Another address with another identity is a slip of the flag; one address with another identity is a gap."""
    row = conn.execute("SELECT log, log_identity FROM cutover.plan WHERE plan = %s", (plan,)).fetchone()
    if row and row[1] is not None and row[0] != log.address and row[1] != log.identity():
        raise UsageError(
            f"plan {plan} was prepared with the log {row[0]}, this is {log.address}", cure=f"--log {row[0]}"
        )


def open_moves(settings: Settings, names: Sequence[str] | None) -> tuple[Service, list[Move]]:
    """`open_service`, and the moves that are `chosen`."""
    service = open_service(settings)
    return service, chosen(service.plan, names)


def refuse_standing_still(conn: Connection, plan: Plan, moves: Sequence[Move]) -> None:
    """Raises Gap or Halted when consumers stand by: whoever waits for them would wait for ever."""
    row = conn.execute("SELECT gap FROM cutover.plan WHERE plan = %s", (plan.name,)).fetchone()
    if row and row[0]:
        raise Gap(f"changes may be missing: {row[0]}", cure="cutover heal")
    halted = conn.execute(
        "SELECT move, halted FROM cutover.move WHERE plan = %s AND move = ANY (%s) AND halted IS NOT NULL",
        (plan.name, [move.name for move in moves]),
    ).fetchone()
    if halted:
        raise Halted(f"{halted[0]} is halted: {without_cure(halted[1])}", cure=f"cutover heal {halted[0]}")


def chosen(plan: Plan, names: Sequence[str] | None, *, prepared: bool = True) -> list[Move]:
    """The named moves of the plan, all of them without a name. UsageError with the nearest word for an unknown one,
    Refused for one that cannot be understood now, or whose target is gone (`prepared`: it should be there)."""
    for name, why in plan.broken:
        if not names or name in names:
            raise Refused(
                f"{name} cannot be understood: {why}",
                cure="cutover doctor",
                hint="name the other moves to go on with them" if len(plan.moves) > 1 else None,
            )
    for move in plan.moves:
        if prepared and not move.target_oid and (not names or move.name in names):
            cure = f"cutover prepare\ncutover backfill {move.name}"
            raise Refused(f"the target of {move.name}, {move.target}, is not there", cure=cure)
    if prepared and not plan.moves and not names:
        raise Refused(f"no move of plan {plan.name} is prepared, or all are completed", cure="cutover prepare")
    known = [move.name for move in plan.moves]
    for name in names or ():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            cure = f"did you mean {near[0]}?" if near else f"its moves: {', '.join(known) or 'none is prepared'}"
            raise UsageError(f"plan {plan.name} has no move {name!r}", cure=cure)
    return [move for move in plan.moves if not names or move.name in names]
