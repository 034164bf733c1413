"""A prepared small plan in a fresh database, and the state that the gate wants to see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cdc.log import Log, open_log
from cutover.prepare import PrepareReport, prepare
from reconcile.storage import tables
from sql.connection import Connection, connect
from sql.model import Plan
from tests.integration.small_plan import SmallPlan


@dataclass(slots=True)
class Prepared:
    """A database with the small plan, and a session of the tests in it."""

    dsn: str
    conn: Connection
    small: SmallPlan
    plan: Plan
    log: Log

    def prepare(self, *moves: str, set_identity: bool = True) -> PrepareReport:
        """Call prepare as the command line does."""
        return prepare(
            self.dsn,
            self.plan,
            self.log,
            lambda: self.small.compile(self.conn),
            moves or None,
            set_identity=set_identity,
        )

    def open_gate(self, move: str = "part") -> None:
        """What backfill, consumers and a clean reconciliation would have left behind."""
        values = {
            "plan": self.plan.name,
            "move": move,
            "digest": self.plan.digest,
            "tables": tables(self.plan.move(move)),
        }
        for statement in _GATE.strip().split(";\n"):
            self.conn.execute(statement.encode(), values)

    def value(self, query: str, parameters: tuple[object, ...] = ()) -> object:
        """The one value of a query."""
        row = self.conn.execute(query.encode(), parameters).fetchone()
        assert row is not None
        return row[0]


_GATE = """
INSERT INTO cutover.backfill (plan, move, done, total, offsets, finished_at)
VALUES (%(plan)s, %(move)s, 100, 100, '{0,0}', now())
    ON CONFLICT (plan, move) DO UPDATE SET offsets = '{0,0}', finished_at = now();
UPDATE cutover.position  -- watermarks go on coming
   SET applied_lsn = pg_current_wal_insert_lsn(), applied_time = now() + interval '1 minute'
 WHERE plan = %(plan)s AND move = %(move)s;
INSERT INTO cutover.reconcile_run (plan, move, digest, verdict, snapshot_lsn, applied_lsn, document, started_at,
                                   storage)
VALUES (%(plan)s, %(move)s, %(digest)s, 'match', pg_current_wal_lsn(), pg_current_wal_lsn(), '{}', now(),
        cutover.storage(%(tables)s))
"""


@contextmanager
def small_world(dsn: str, plan_name: str, folder: Path, rows: int = 100) -> Iterator[Prepared]:
    """The tables and the compiled plan; nothing is prepared yet."""
    log = open_log(f"sqlite:///{folder / 'log.db'}")
    with connect(dsn, "test") as conn:
        small = SmallPlan(plan_name)
        try:
            yield Prepared(dsn, conn, small, small.create(conn, rows), log)
        finally:
            log.close()
