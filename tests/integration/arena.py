"""One move over tables of the test's own, with the stream turned by hand: converge and positions, a step at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

from reconcile.document import MoveReport, ReconcileDocument
from reconcile.run import Step, reconcile
from sql.compile import compile_plan
from sql.connection import Connection, connect, own
from sql.control import migrate
from sql.model import Move, Plan
from sql.names import Name, quote
from sql.render import converge, key_parameters
from sql.spec import MoveSpec, PlanFolder, SqlFile

PLAN, MOVE = "arena", "m"


@dataclass(slots=True)
class Arena:
    """A database in which the move is installed, and the test's own session of it."""

    dsn: str
    conn: Connection
    plan: Plan

    @property
    def move(self) -> Move:
        return self.plan.move(MOVE)

    def change(self, **fields: Any) -> None:
        """Give the move other fields."""
        self.plan = replace(self.plan, moves=(replace(self.move, **fields),))

    def run(self, sql: str, *parameters: Any) -> list[Any]:
        """Any statement, with its rows."""
        cursor = self.conn.execute(sql.encode(), parameters or None, prepare=False)
        return cursor.fetchall() if cursor.description else []

    def converge(self, *keys: str | tuple[str, ...]) -> None:
        """What a consumer does for these keys; without any, for every key there is."""
        given = [(key,) if isinstance(key, str) else key for key in keys] or self.every_key()
        move = self.move
        with own(self.conn):
            parameters = key_parameters(given, len(move.key))
            self.conn.execute(converge(move, move.written).encode(), parameters, prepare=False)

    def every_key(self) -> list[tuple[str, ...]]:
        """All keys of either side."""
        names = ", ".join(f'concat({quote(key.name)}) COLLATE "C"' for key in self.move.key)
        texts = f"SELECT {names} FROM {self.move.view} UNION SELECT {names} FROM {self.move.target}"
        return [tuple(row) for row in self.run(texts)]

    def advance(self, *partitions: int) -> None:
        """Let these partitions (none: all) have applied everything that is committed now."""
        self.run(
            "UPDATE cutover.position SET applied_lsn = pg_current_wal_insert_lsn() + 1000000000"
            " WHERE %s::int[] = '{}' OR partition = ANY (%s)", list(partitions), list(partitions),
        )  # fmt: skip

    def drain(self) -> None:
        """Converge everything and advance all partitions."""
        self.converge()
        self.advance()

    def reconcile(
        self, *, timeout: float = 0.3, progress: Callable[[Step], None] = lambda step: None, **options: Any
    ) -> MoveReport:
        """Reconcile the move."""
        return self.document(timeout=timeout, progress=progress, **options).moves[0]

    def document(self, **options: Any) -> ReconcileDocument:
        return reconcile(self.dsn, self.plan, [MOVE], **options)


@contextmanager
def arena(
    dsn: str,
    ddl: str,
    mapping: str,
    *,
    key: Sequence[str] = ("id",),
    target: str = "new.t",
    rows: str = "all",
    existing: str = "report",
    partitions: int = 2,
) -> Iterator[Arena]:
    """Run the ddl, install the mapping, and enter the move in the control schema, as prepared and backfilled."""
    with connect(dsn, "test") as conn:
        conn.execute(ddl.encode(), prepare=False)
        migrate(conn)
        spec = MoveSpec(
            name=MOVE, target=Name.parse(target), mapping=SqlFile("m.sql", mapping), key=tuple(key),
            rows=cast(Any, rows), existing=cast(Any, existing), partitions=partitions,
        )  # fmt: skip
        plan = compile_plan(conn, PlanFolder(PLAN, "plan.toml", "digest", (spec,)))
        it = Arena(dsn, conn, plan)
        move = it.move
        it.run(f"CREATE VIEW {move.view} AS {move.mapping_sql}")
        it.run(f"COMMENT ON VIEW {move.view} IS '{move.mark}'")
        if move.owned:
            names = ", ".join(quote(column.name) for column in move.key)
            it.run(f"CREATE TABLE {move.owned} AS SELECT {names} FROM {move.target} WITH NO DATA")
            it.run(f"ALTER TABLE {move.owned} ADD PRIMARY KEY ({names})")
        _enter(it)
        it.advance()
        yield it


def _enter(it: Arena) -> None:
    it.run("INSERT INTO cutover.plan (plan, digest, log, slot) VALUES (%s, 'digest', 'none', 'none')", PLAN)
    it.run(
        "INSERT INTO cutover.move (plan, move, target, topic, partitions) VALUES (%s, %s, %s, 'none', %s)",
        PLAN, MOVE, it.move.target.sql, it.move.partitions,
    )  # fmt: skip
    it.run(
        "INSERT INTO cutover.position (plan, move, partition) SELECT %s, %s, generate_series(0, %s - 1)",
        PLAN, MOVE, it.move.partitions,
    )  # fmt: skip
    it.run("INSERT INTO cutover.backfill (plan, move, finished_at) VALUES (%s, %s, now())", PLAN, MOVE)
