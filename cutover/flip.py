"""Flip the read path: replace the facade and write the move's row, in one short transaction.

Prepared statements and sessions go on: the facade keeps its columns, types and grants in all its forms. A percentage
installs the canary form; only while it stands does `SET cutover.side` choose a side for one session.

Forward it is the plan's, behind the gate. Back it is what prepare recorded in the database, whatever the plan's files
say by then: the way back depends on nothing that somebody may have edited.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import psycopg
from psycopg.types.json import Jsonb

from cutover.facade import facade_columns, replace
from cutover.flip_report import FlipRefused, FlipReport, Step
from cutover.gate import Check, Side, gate, reversible
from cutover.interrupted import Attempt, interruptible
from cutover.place import Place, read_place
from cutover.relation import exists
from reconcile.storage import storage, tables
from sql.connection import Connection, connect
from sql.control import check
from sql.errors import Refused, UsageError
from sql.facade import Facade, facade_of, form_of
from sql.faultpoints import reached
from sql.files import load
from sql.lock import LOCK_TIMEOUT_MS, TOTAL_TIMEOUT, LockResult, with_lock
from sql.model import Plan
from sql.names import Name

FRESH: Final = 0.2  # seconds that what the gate has answered is taken for true
OVERTAKEN: Final = 5  # times that a way back is tried again behind a flip that came first
_EVENT: Final = "INSERT INTO cutover.event (plan, move, what, detail) VALUES (%s, %s, 'flip', %s)"
_NOT_AS_PREPARED: Final = (
    psycopg.errors.InvalidTableDefinition,  # the facade has other columns now
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
)


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
    attempt: Attempt | None = None,
) -> FlipReport:
    """Let sessions read the `to` side through the facade: all of them, or `percent` of them.

    Applied whole or not at all, and idempotent. Readers wait for `lock_timeout_ms` behind it at the most.
    Raises FlipRefused when more sessions would read the consolidated side than the gate allows; Refused when the move
    has no facade or is not prepared; Busy, naming who is in the way; Unreachable; Interrupted, with what was done, here
    or where `attempt` was made.
    """
    chosen = plan.move(move)
    share = consolidated_share(to, percent)
    if chosen.facade is None:
        raise Refused(f"{move} has no facade to flip", cure="declare facade = … in the plan, and prepare")
    with interruptible(dsn, attempt) as attempt, connect(dsn, "flip") as conn:
        check(conn)
        place = read_place(conn, plan.name, move)
        call = _Flip(conn, place, to, share, lock_timeout_ms, total_timeout, dry_run, attempt)
        done = call.back()
        if done is not None:
            return done
        if not exists(conn, chosen.facade):
            raise Refused(f"the facade of {move}, {chosen.facade}, is not there", cure=f"cutover prepare {move}")
        facade = facade_of(chosen, facade_columns(conn, chosen))

        def ask() -> Sequence[Check]:
            call.seen = (tables(chosen), storage(conn, chosen))  # before the gate: it must still hold under the lock
            # Towards legacy the gate asks for less: reading the legacy side is always right.
            return gate(conn, plan, chosen, "consolidated" if call.more else "legacy")

        return call.run(facade, ask)


def flip_back(
    dsn: str,
    plan: str,
    move: str,
    to: Side,
    percent: int | None = None,
    *,
    lock_timeout_ms: int = LOCK_TIMEOUT_MS,
    total_timeout: float = TOTAL_TIMEOUT,
    dry_run: bool = False,
    attempt: Attempt | None = None,
) -> FlipReport | None:
    """`flip` where fewer sessions are to read the consolidated side than now, or none as before, by what the database
    knows alone.

    None where it is no such way back, or an older version's prepare recorded nothing: then it takes the plan. Raises
    as `flip` does.
    """
    share = consolidated_share(to, percent)
    with interruptible(dsn, attempt) as attempt, connect(dsn, "flip") as conn:
        check(conn)
        for more in range(OVERTAKEN, -1, -1):
            place = read_place(conn, plan, move)
            try:
                return _Flip(conn, place, to, share, lock_timeout_ms, total_timeout, dry_run, attempt).back()
            except Overtaken:  # by another flip: the way back is open whatever that one did
                if not more:
                    raise
        raise AssertionError


def consolidated_share(to: Side, percent: int | None) -> int:
    """Percent of sessions that read the consolidated side when `percent` of them are to read the side `to`."""
    if percent is not None and not 0 <= percent <= 100:
        raise UsageError(f"--percent {percent} is not a percentage", cure="0 to 100")
    share = 100 if percent is None else percent
    return share if to == "consolidated" else 100 - share


class Overtaken(Refused):
    """Another flip or a prepare came first, or the gate closed, while this one waited; nothing was done."""


@dataclass(slots=True)
class _Flip:
    """One flip: the row first, so that two flips take turns; the view last, so that its lock is held shortest."""

    conn: Connection
    place: Place
    to: Side
    share: int
    lock_timeout_ms: int
    total_timeout: float
    dry_run: bool
    attempt: Attempt
    seen: tuple[Sequence[str], dict[str, str]] = ((), {})  # the tables that the gate asked about, and their files
    checks: Sequence[Check] = ()  # what it answered last
    _ask: Callable[[], Sequence[Check]] = tuple
    _asked: float = 0.0

    @property
    def more(self) -> bool:
        """Would more sessions read the consolidated side than the row says, or than the installed facade lets?"""
        place = self.place
        return self.share > min(place.percent, place.percent if place.installed is None else place.installed)

    @property
    def there(self) -> bool:
        """Is all as it should be after this flip? Where the facade is on another side than the row says, it is not."""
        return self.share == self.place.percent == self.place.installed

    def back(self) -> FlipReport | None:
        """Back by the facade that prepare recorded; None where that is not the way."""
        recorded, percent = self.place.recorded, self.place.percent
        if recorded is None or self.more or (self.there and percent > 0):
            return None
        if self.share == percent and not exists(self.conn, Name.parse(recorded.name)):
            move = self.place.move
            raise Refused(f"the facade of {move}, {recorded.name}, is not there", cure=f"cutover prepare {move}")
        return self.run(recorded, lambda: [reversible(self.place.state)])

    def run(self, facade: Facade, ask: Callable[[], Sequence[Check]]) -> FlipReport:
        """Put this facade on its side, if the checks that `ask` answers allow it."""
        self._ask = ask
        self._pass()
        if self.dry_run or self.there:
            return self._report(self.share, self.checks)
        try:
            result = with_lock(
                self.conn,
                [Name.parse(facade.name)],
                lambda conn: self._apply(conn, facade),
                before=self._pass_again,
                lock_timeout_ms=self.lock_timeout_ms,
                total_timeout=self.total_timeout,
            )
        except _NOT_AS_PREPARED as error:
            raise Refused(
                f"{facade.name} cannot be put on its {form_of(self.share)} side: {error.diag.message_primary}",
                cure=f"cutover prepare {self.place.move}",
                hint="prepare makes again what is missing; then this command",
            ) from error
        reached("flip.after-commit")
        return self._report(
            self.share, self.checks, result, (Step(facade.name, form_of(self.share), result.attempts, result.lock_ms),)
        )

    def _pass(self) -> None:
        """Raises FlipRefused where the gate is closed now."""
        self.checks = self._ask()
        self._asked = time.monotonic()
        if not all(each.ok for each in self.checks):
            raise FlipRefused(self._report(self.place.percent, self.checks))

    def _pass_again(self) -> None:
        """It may have waited for long behind a reader, and the gate have closed."""
        if time.monotonic() - self._asked > FRESH:
            self._pass()

    def _report(
        self, percent: int, checks: Sequence[Check], done: LockResult | None = None, steps: Sequence[Step] = ()
    ) -> FlipReport:
        attempts, lock_ms = (done.attempts, done.lock_ms) if done is not None else (0, 0.0)
        place = self.place
        before, mends = place.percent, self.share == place.percent and not self.there
        return FlipReport(
            place.move, place.side, before, self.to, percent, attempts, lock_ms, checks, steps, self.dry_run, mends
        )

    def _apply(self, conn: Connection, facade: Facade) -> None:
        place, (names, files) = self.place, self.seen
        changed = conn.execute(
            load("gate/flip"),
            {
                "plan": place.plan,
                "move": place.move,
                "side": "consolidated" if self.share == 100 else "legacy",
                "percent": self.share,
                "before": place.percent,
                "forms": Jsonb(asdict(place.recorded)) if place.recorded is not None else None,
                "gated": self.more,
                "tables": list(names),
                "storage": Jsonb(files),
            },
        ).fetchone()
        if changed is None:
            raise Overtaken(
                f"the gate of {place.move} closed, or another flip or a prepare came first, while this one waited;"
                " nothing was done",
                cure="run the command again: it says which",
            )
        self.attempt.transaction, self.attempt.share = changed[0], self.share
        self.attempt.before = place  # last: with it, the others are asked for
        conn.execute(_EVENT, (place.plan, place.move, Jsonb({"from": place.percent, "percent": self.share})))
        replace(conn, place.plan, place.move, place.target, facade, self.share)
        reached("flip.before-commit")
