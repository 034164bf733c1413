"""Flip the read path: replace the facade and write the move's row, in one short transaction.

Prepared statements and sessions go on: the facade keeps its columns, types and grants in all its forms. A percentage
installs the canary form; only while it stands does `SET cutover.side` choose a side for one session.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from psycopg.types.json import Jsonb

from cutover.gate import Check, GateClosed, Side, gate
from cutover.views import exists, facade_columns
from reconcile.storage import storage, tables
from sql.connection import Connection, connect
from sql.control import check
from sql.errors import Refused, UsageError
from sql.facade import facade_of, form_of
from sql.faultpoints import reached
from sql.files import load
from sql.lock import LOCK_TIMEOUT_MS, TOTAL_TIMEOUT, LockResult, with_lock
from sql.model import Move, Plan

_EVENT: Final = "INSERT INTO cutover.event (plan, move, what, detail) VALUES (%s, %s, 'flip', %s)"


@dataclass(frozen=True, slots=True)
class Step:
    """One change under a lock. `lock_ms`: from asking for the lock to the end of the commit."""

    table: str
    step: str
    attempts: int
    lock_ms: float


@dataclass(frozen=True, slots=True)
class FlipReport:
    """What a flip did, or with `dry_run` would do. `percent`: of sessions that read the consolidated side now."""

    move: str
    before: Side
    to: Side
    percent: int
    attempts: int
    lock_ms: float
    gate: Sequence[Check]
    steps: Sequence[Step]
    dry_run: bool = False

    def document(self) -> dict[str, Any]:
        """The document of `cutover flip --json`."""
        return {
            "move": self.move,
            "from": self.before,
            "to": self.to,
            "percent": self.percent,
            "attempts": self.attempts,
            "lock_ms": self.lock_ms,
            "gate": [asdict(check) for check in self.gate],
            "steps": [asdict(step) for step in self.steps],
            "dry_run": self.dry_run,
        }


def flip(
    dsn: str,
    plan: Plan,
    move: str,
    to: Side,
    percent: int | None = None,
    *,
    lock_timeout_ms: int = LOCK_TIMEOUT_MS,
    total_timeout: float = TOTAL_TIMEOUT,
    dry_run: bool = False,
) -> FlipReport:
    """Let sessions read the `to` side through the facade: all of them, or `percent` of them.

    Applied whole or not at all, and idempotent. Readers wait for `lock_timeout_ms` behind it at the most.
    Raises GateClosed when more sessions would read the consolidated side than the gate allows; Refused when the move
    has no facade or is not prepared; Busy, naming who is in the way; Unreachable.
    """
    chosen = plan.move(move)
    share = consolidated_share(to, percent)
    if chosen.facade is None:
        raise Refused(f"{move} has no facade to flip", cure="declare facade = … in the plan, and prepare")
    with connect(dsn, "flip") as conn:
        check(conn)
        if not exists(conn, chosen.facade):
            raise Refused(f"the facade of {move}, {chosen.facade}, is not there", cure=f"cutover prepare {move}")
        side, now = _where(conn, chosen)
        files = storage(conn, chosen)  # before the gate: what it sees must still hold under the lock
        # Towards legacy the gate asks for less: reading the legacy side is always right.
        checks = gate(conn, plan, chosen, "consolidated" if share > now else "legacy")
        if not all(each.ok for each in checks):
            raise GateClosed(move, checks)
        if dry_run or share == now:
            return FlipReport(move, side, to, now if share == now else share, 0, 0.0, checks, (), dry_run)
        result = _Flip(conn, chosen, now, share, files).run(lock_timeout_ms, total_timeout)
        step = Step(chosen.facade.sql, form_of(share), result.attempts, result.lock_ms)
        return FlipReport(move, side, to, share, result.attempts, result.lock_ms, checks, (step,))


def consolidated_share(to: Side, percent: int | None) -> int:
    """Percent of sessions that read the consolidated side when `percent` of them are to read the side `to`."""
    if percent is not None and not 0 <= percent <= 100:
        raise UsageError(f"--percent {percent} is not a percentage", cure="0 to 100")
    share = 100 if percent is None else percent
    return share if to == "consolidated" else 100 - share


def _where(conn: Connection, move: Move) -> tuple[Side, int]:
    row = conn.execute(
        "SELECT side, percent FROM cutover.move WHERE plan = %s AND move = %s", (move.plan, move.name)
    ).fetchone()
    if row is None:
        raise Refused(f"{move.name} is not prepared", cure=f"cutover prepare {move.name}")
    return row[0], row[1]


class _Flip:
    """One flip: the row first, so that two flips take turns; the view last, so that its lock is held shortest."""

    def __init__(self, conn: Connection, move: Move, before: int, percent: int, files: dict[str, str]) -> None:
        self.conn, self.move, self.before, self.percent, self.files = conn, move, before, percent, files
        self.view = facade_of(move, facade_columns(conn, move)).statement(percent)

    def run(self, lock_timeout_ms: int, total_timeout: float) -> LockResult:
        assert self.move.facade is not None
        result = with_lock(
            self.conn, [self.move.facade], self._apply, lock_timeout_ms=lock_timeout_ms, total_timeout=total_timeout
        )
        reached("flip.after-commit")
        return result

    def _apply(self, conn: Connection) -> None:
        move = self.move
        changed = conn.execute(
            load("gate/flip"),
            {
                "plan": move.plan,
                "move": move.name,
                "side": "consolidated" if self.percent == 100 else "legacy",
                "percent": self.percent,
                "before": self.before,
                "gated": self.percent > self.before,
                "tables": tables(move),
                "storage": Jsonb(self.files),
            },
        )
        if changed.rowcount != 1:
            raise Refused(
                f"the gate of {move.name} closed, or another flip came first, while this one waited; nothing was done",
                cure="run the command again: it says which",
            )
        conn.execute(_EVENT, (move.plan, move.name, Jsonb({"from": self.before, "percent": self.percent})))
        conn.execute(self.view.encode(), prepare=False)
        reached("flip.before-commit")
