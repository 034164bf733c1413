"""What a long-running process needs before it starts: the plan as it was prepared, and the log it was prepared with."""

from __future__ import annotations

from dataclasses import dataclass

from cdc.log import Log, open_log
from cutover.plan import PlanFolder, load_plan
from cutover.settings import Settings
from sql.compile import compile_plan
from sql.connection import Connection, connect
from sql.control import check
from sql.errors import Refused, UsageError
from sql.model import Plan


@dataclass(frozen=True, slots=True)
class Service:
    """A prepared plan and its log, ready to capture, consume or prove."""

    settings: Settings
    folder: PlanFolder
    plan: Plan
    log: Log

    def reload(self) -> Plan:
        """The plan as it is prepared now; raises as `open_service` does."""
        with connect(self.settings.dsn, f"plan {self.folder.name}") as conn:
            return _prepared(conn, load_plan(self.settings.plan))


def open_service(settings: Settings) -> Service:
    """Compile the plan, hold it against what `prepare` recorded, and open its log.

    Raises Unreachable when the database or the log does not answer, Refused when the plan is not prepared as it
    stands in its folder, UsageError when it was prepared with another log.
    """
    folder = load_plan(settings.plan)
    log = open_log(settings.log)
    with connect(settings.dsn, f"plan {folder.name}") as conn:
        plan = _prepared(conn, folder)
        _same_log(conn, plan, log)
    return Service(settings, folder, plan, log)


def _prepared(conn: Connection, folder: PlanFolder) -> Plan:
    check(conn)
    row = conn.execute("SELECT digest FROM cutover.plan WHERE plan = %s", (folder.name,)).fetchone()
    if row is None:
        raise Refused(f"plan {folder.name} is not prepared in this database", cure="cutover prepare")
    plan = compile_plan(conn, folder)
    if plan.digest != row[0]:
        raise Refused(f"plan {folder.name} has changed since it was prepared", cure="cutover prepare")
    return plan


def _same_log(conn: Connection, plan: Plan, log: Log) -> None:
    """Another address with another identity is a slip of the flag; one address with another identity is a gap."""
    row = conn.execute("SELECT log, log_identity FROM cutover.plan WHERE plan = %s", (plan.name,)).fetchone()
    if row and row[1] is not None and row[0] != log.address and row[1] != log.identity():
        raise UsageError(
            f"plan {plan.name} was prepared with the log {row[0]}, this is {log.address}", cure=f"--log {row[0]}"
        )
