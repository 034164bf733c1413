"""A gap is recorded once, by whoever finds it, and only `heal` takes it away (C3, L2)."""

from __future__ import annotations

from contextlib import suppress
from typing import cast

from cdc.log import Log
from sql.connection import Connection, connect, own
from sql.errors import CutoverError, Gap
from sql.files import load
from sql.model import Plan


def mark_gap(conn: Connection, plan: Plan, reason: str, chapter: int | None = None) -> None:
    """Record that changes may be missing; the first reason stays until `heal`. Idempotent.

    chapter: how many gaps were healed when whoever tells of this one began to look; when another was healed since,
    it is that one that was seen, and nothing is recorded.
    """
    with own(conn):
        marked = conn.execute(load("slot/mark_gap"), {"reason": reason, "plan": plan.name, "chapter": chapter})
        if marked.rowcount:
            conn.execute(
                "INSERT INTO cutover.event (plan, what, detail)"
                " VALUES (%s, 'gap', jsonb_build_object('reason', %s::text))",
                (plan.name, reason),
            )


class Chapter:
    """Which chapter of the log a process's findings belong to: heal begins another, and what was read of positions,
    or of a file that is open still, may be of the one before."""

    def __init__(self) -> None:
        self._number: int | None = None

    def turned(self) -> None:
        """The plan was prepared anew or healed: what is known of the log is to be looked at again."""
        self._number = None

    def begin(self, number: object, log: Log) -> None:
        """A session begins; `number` is `cutover.plan.healed`. Raises Gap when the log that is open is not there."""
        if self._number is None:
            if not log.identity():
                raise Gap(f"the log {log.address} is not there", hint="move it back, or heal", cure="cutover heal")
            self._number = cast(int, number)

    def tell(self, dsn: str, plan: Plan, gap: Gap) -> None:
        """Record a gap that was found, as far as the database can be reached. Who finds that its own log is gone before
        it has begun says nothing: started again, it looks at what is there now."""
        if self._number is not None:
            with suppress(CutoverError), connect(dsn, "gap") as conn:
                mark_gap(conn, plan, gap.args[0], self._number)
