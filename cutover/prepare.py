"""Prepare: everything a move needs in the database and in the log. Idempotent, online, resumable.

1. preflight: server, rights, findings; the plan's own objects are its own
2. the target's additive DDL, then the plan is compiled again
3. replica identities: checked, or set with `set_identity`
4. rows in the control schema, topics, positions
5. views: mapping, memory, facade, in one short transaction a move
6. publication, before the slot: a slot that starts earlier could not decode
7. slot, before any backfill: what changes after it is in the log, what changed before it is in the tables
8. roles, where they are asked for or there already

Each step finds out what is there already. Killed anywhere, the same command goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, LiteralString

from psycopg.types.json import Jsonb

from cdc.control import altered
from cdc.gap import mark_gap
from cdc.identity import apply_identity, build_index, refuse, remedies
from cdc.log import Log
from cdc.partitions import mark
from cdc.publication import ensure_publication, publication_exists, with_identity
from cdc.slot import check_slot, ensure_slot, slot_exists
from cutover.interrupted import Interrupted
from cutover.preflight import (
    IDENTITY,
    array,
    check_findings,
    check_moves,
    check_server,
    other_key,
    other_partitions,
    taken,
    taken_cure,
)
from cutover.roles import ensure_roles, roles_exist
from cutover.views import install_views, touch_all
from sql.connection import Connection, connect, own
from sql.control import latest, migrate, version
from sql.counted import counted
from sql.ddl import read_ddl, run_ddl
from sql.errors import Busy, Refused, UsageError
from sql.faultpoints import reached
from sql.files import load
from sql.lock import LOCK_TIMEOUT_MS
from sql.model import Move, Plan
from sql.names import Name
from sql.private import close

_LOCK: Final = "SELECT pg_try_advisory_lock(hashtextextended('cutover.prepare', 0))"
_ENDING: Final = 2.0  # seconds that the session of a prepare that is over may take to end

_STAYS: Final = "they stay; the step in hand was done whole or not at all; the same command goes on"
_WAIT_FOR: Final = "cutover.wait_for(pg_lsn, text, text, interval)"
_OPEN: Final[dict[LiteralString, LiteralString]] = {  # rights of everybody, each with whether it is missing
    "GRANT USAGE ON SCHEMA cutover TO PUBLIC": "SELECT NOT has_schema_privilege('public', 'cutover', 'USAGE')",
    f"GRANT EXECUTE ON FUNCTION {_WAIT_FOR} TO PUBLIC":
        f"SELECT NOT has_function_privilege('public', '{_WAIT_FOR}', 'EXECUTE')",
}  # fmt: skip


@dataclass(slots=True)
class PrepareReport:
    """What was done; nothing when everything was there. `gap`: why changes may be missing, for `heal` to mend."""

    plan: str
    moves: list[str]
    steps: list[str] = field(default_factory=list)
    gap: str | None = None


def prepare(
    dsn: str,
    plan: Plan,
    log: Log,
    recompile: Callable[[], Plan],
    moves: Sequence[str] | None = None,
    *,
    set_identity: bool = False,
    roles: bool = False,
    lock_timeout_ms: int = LOCK_TIMEOUT_MS,
) -> PrepareReport:
    """Prepare the moves (None: all of the plan). `recompile` reads the plan against the database as it is then.
    `roles`: make a role for each part of the service; where they are, they are kept right in any case.

    Raises Refused with everything that is wrong before it changes anything that matters; Busy when a lock cannot be
    had or another prepare runs; Unreachable.
    """
    names = list(moves) if moves else [move.name for move in plan.moves]
    for name in names:
        if name not in {move.name for move in plan.moves}:
            raise UsageError(f"the plan {plan.name} has no move {name!r}")
    with connect(dsn, "prepare") as conn, _alone(conn):
        call = _Call(conn, plan, log, names, recompile, lock_timeout_ms)
        try:
            call.run(set_identity, roles)
        except KeyboardInterrupt:
            raise call.interrupted() from None
        return call.report


@contextmanager
def _alone(conn: Connection) -> Iterator[None]:
    """One prepare at a time in a database; the lock goes with the session."""
    deadline = time.monotonic() + _ENDING
    while conn.execute(_LOCK).fetchone() != (True,):
        if time.monotonic() > deadline:
            raise Busy("another prepare is running in this database", cure="wait for it")
        time.sleep(0.05)
    yield


@dataclass(slots=True)
class _Call:
    """One call of prepare, step by step."""

    conn: Connection
    plan: Plan
    log: Log
    names: list[str]
    recompile: Callable[[], Plan]
    lock_timeout_ms: int
    report: PrepareReport = field(init=False)
    added: tuple[Name, ...] = field(default=(), init=False)  # sources that were not published before
    begun: bool = field(default=False, init=False)  # may anything have been changed?
    created: frozenset[str] = field(default=frozenset(), init=False)  # moves whose target was not there

    def __post_init__(self) -> None:
        self.report = PrepareReport(self.plan.name, self.names)

    @property
    def moves(self) -> list[Move]:
        return [self.plan.move(name) for name in self.names]

    def run(self, set_identity: bool, roles: bool) -> None:
        check_server(self.conn, self.plan)
        self._refuse_strangers()
        self._refuse_to_leave()
        self._refuse_others()
        check_findings(self.plan.findings, self.moves, but=IDENTITY)
        for move in self.moves:
            read_ddl(move.ddl_sql or "", move.ddl_file)
        check_moves(self.conn, self.moves, before_ddl=True)
        if not set_identity:
            refuse(remedies(self.conn, self.moves))
        self.created = frozenset(move.name for move in self.moves if not move.target_oid)
        self.begun = True
        self._target_ddl()
        self._identities(set_identity)
        check_findings(self.plan.findings, self.moves)
        check_moves(self.conn, self.moves)
        self._control()
        self._applications()
        self._rows()
        self._views()
        self._publication()
        self._slot()
        if roles or roles_exist(self.conn, self.plan.name):
            self._roles()
        self._finish()

    def interrupted(self) -> Interrupted:
        """What an interruption has left: each step is done whole or not at all."""
        if not self.begun:
            return Interrupted("interrupted: nothing was changed")
        done = f"{counted(len(self.report.steps), 'step')} done" + "".join(f"\n  {step}" for step in self.report.steps)
        return Interrupted(f"interrupted, with {done}", hint=_STAYS)

    def _did(self, step: str | None) -> None:
        if step is not None:
            self.report.steps.append(step)
        reached("prepare.after-step")

    def _refuse_strangers(self) -> None:
        """What bears the plan's names without the plan being known here belongs to somebody else."""
        if self._known():
            return
        row = self.conn.execute(
            "SELECT database FROM pg_catalog.pg_replication_slots"
            " WHERE slot_name = %s AND database <> current_database()",
            (self.plan.slot,),
        ).fetchone()
        if row is not None:
            raise Refused(
                f"the replication slot {self.plan.slot} belongs to the database {row[0]}: slots are the server's",
                cure="name this plan otherwise",
            )
        if slot_exists(self.conn, self.plan.slot):
            raise Refused(
                f"the replication slot {self.plan.slot} exists, and this database does not know the plan",
                cure=f"name the plan otherwise, or SELECT pg_drop_replication_slot('{self.plan.slot}')",
            )
        if publication_exists(self.conn, self.plan.publication):
            raise Refused(
                f"the publication {self.plan.publication} exists, and this database does not know the plan",
                cure=f"name the plan otherwise, or DROP PUBLICATION {self.plan.publication}",
            )

    def _refuse_to_leave(self) -> None:
        """A move that leaves the plan is not fed any more: nobody may be reading its consolidated side."""
        if not self._known():
            return
        row = self.conn.execute(
            "SELECT move, percent FROM cutover.move WHERE plan = %s AND move <> ALL (%s) AND percent > 0"
            " AND state NOT IN ('completed', 'left')",
            (self.plan.name, [move.name for move in self.plan.moves]),
        ).fetchone()
        if row is not None:
            raise Refused(
                f"{row[0]} is not in the plan any more, and {row[1]} % of the sessions read its consolidated side,"
                " which nothing would keep current",
                cure=f"cutover flip {row[0]} --to legacy",
            )

    def _refuse_others(self) -> None:
        """What a move was prepared as stays; asked again where it is recorded, as somebody may have come first."""
        there = self.conn.execute("SELECT to_regclass('cutover.move') IS NOT NULL").fetchone()
        if there is not None and there[0]:
            for move in self.moves:
                self._same_move(move)

    def _known(self) -> bool:
        there = self.conn.execute("SELECT to_regclass('cutover.plan') IS NOT NULL").fetchone()
        if there is None or not there[0]:
            return False
        query = "SELECT FROM cutover.plan WHERE plan = %s"
        return self.conn.execute(query, (self.plan.name,)).fetchone() is not None

    def _target_ddl(self) -> None:
        done: list[str] = []
        for move in self.moves:
            if move.ddl_sql:
                done += run_ddl(
                    self.conn,
                    move.ddl_sql,
                    file=move.ddl_file,
                    lock_timeout_ms=self.lock_timeout_ms,
                    after=lambda: reached("prepare.after-step"),
                )
        if done:
            self.report.steps += [" ".join(statement.split()) for statement in done]
            self.plan = self.recompile()

    def _identities(self, set_identity: bool) -> None:
        needed = remedies(self.conn, self.moves)
        if not needed:
            return
        if not set_identity:
            refuse(needed)
        for remedy in needed:
            build_index(self.conn, remedy)
            self._at_work()
            publication_change = with_identity(self.conn, self.plan.publication, self.moves, remedy)
            apply_identity(self.conn, remedy, publication_change, self.lock_timeout_ms, self._expect)
            for statement in remedy.statements:
                self._did(statement)
        self.plan = self.recompile()

    def _control(self) -> None:
        with own(self.conn):
            migrate(self.conn)
            closed = close(self.conn)
        self.report.steps += closed
        self._did(None)

    def _applications(self) -> None:
        """Everybody may call `cutover.wait_for`; to read, applications need no right here."""
        for right, missing in _OPEN.items():
            if self.conn.execute(missing).fetchone() == (True,):
                with own(self.conn):
                    self.conn.execute(right)
                self._did(right)

    def _rows(self) -> None:
        """The plan, its moves, their topics and positions. What cannot change under a running stream is refused."""
        conn, plan = self.conn, self.plan
        identity = self.log.identity()
        self._same_log(identity)
        with own(conn):
            conn.execute(
                load("prepare/plan"),
                {
                    "plan": plan.name,
                    "digest": plan.digest,
                    "log": self.log.address,
                    "log_identity": identity,
                    "slot": plan.slot,
                },
            )
        self._did(None)
        for move in self.moves:
            self._same_move(move)
            topic = self.log.ensure_topic(move.topic, move.partitions)
            self._same_topic(move, topic)
            self._did(None)
            values = {
                "plan": plan.name,
                "move": move.name,
                "target": move.target.sql,
                "facade": move.facade.sql if move.facade is not None else None,
                "topic": move.topic,
                "topic_identity": topic,
                "partitions": move.partitions,
                "key": [column.name for column in move.key],
            }
            with own(conn):
                left = conn.execute(
                    "SELECT FROM cutover.move WHERE plan = %s AND move = %s AND state = 'left'", (plan.name, move.name)
                ).fetchone()
                conn.execute(load("prepare/move"), values)
                conn.execute(load("prepare/positions"), values)
                if left is not None:  # nobody followed it meanwhile: every key is touched, behind what is there now
                    touch_all(conn, move, "source-added")
                    ends = dict(enumerate(self.log.end_offsets(move.topic)))
                    where = {"partitions": list(ends), "offsets": list(ends.values()), "anew": True}
                    conn.execute(load("heal/positions"), values | where)
            self._did(None)

    def _same_log(self, identity: str) -> None:
        row = self.conn.execute(
            "SELECT log, log_identity FROM cutover.plan WHERE plan = %s", (self.plan.name,)
        ).fetchone()
        if row is not None and row[1] != identity and row[0] == self.log.address:
            raise Refused(
                f"the log of the plan {self.plan.name}, {row[0]}, is not there, or is not the one that it was: what it"
                " held is missing",
                hint="move it back, if it is there elsewhere; if it is lost, heal",
                cure="cutover heal",
            )
        if row is not None and row[1] != identity:
            raise Refused(
                f"the plan {self.plan.name} is streamed through {row[0]}, and {self.log.address} is another log",
                hint="give the --log that it was prepared with; after a loss of that log, `cutover heal`",
            )

    def _same_move(self, move: Move) -> None:
        other = self.conn.execute(load("prepare/taken"), (move.target.sql, self.plan.name)).fetchone()
        if other is not None:
            raise Refused(taken(move.target, *other), cure=taken_cure(other[0]))
        row = self.conn.execute(
            "SELECT target, facade, partitions, percent, to_jsonb(m) -> 'key' FROM cutover.move m"
            " WHERE plan = %s AND move = %s",  # by way of jsonb: an older control schema has no key
            (self.plan.name, move.name),
        ).fetchone()
        if row is None:
            return
        target, facade, partitions, percent, key = row
        if partitions != move.partitions:
            raise Refused(
                other_partitions(move.name, partitions, move.partitions),
                cure=f"partitions = {partitions}",
            )
        if key not in (None, wanted := [column.name for column in move.key]):
            raise Refused(other_key(move.name, key, wanted), cure=f"key = {array(key)}, or a new move")
        if target != move.target.sql:
            raise Refused(f"{move.name} was prepared for {target}, the plan says {move.target.sql}", cure="a new move")
        if facade is not None and (move.facade is None or facade != move.facade.sql) and self._exists(facade):
            raise Refused(
                f"{move.name} was prepared with the facade {facade}: nothing would flip it any more",
                cure=f"cutover flip {move.name} --to legacy" if percent else None,
                hint=("flip first, then " if percent else "")
                + f"rename or drop {facade}, once no application reads it",
            )

    def _exists(self, name: str) -> bool:
        row = self.conn.execute("SELECT to_regclass(%s) IS NOT NULL", (name,)).fetchone()
        return bool(row and row[0])

    def _same_topic(self, move: Move, identity: str) -> None:
        row = self.conn.execute(
            "SELECT topic_identity FROM cutover.move WHERE plan = %s AND move = %s", (self.plan.name, move.name)
        ).fetchone()
        if row is not None and row[0] != identity:
            mark_gap(self.conn, self.plan, f"the topic {move.topic} was deleted and is a new one")

    def _views(self) -> None:
        for move in self.moves:
            done = install_views(self.conn, move, self.lock_timeout_ms)
            for what, name in ((done.mapping, move.view), (done.facade, move.facade)):
                if what and name is not None:
                    self.report.steps.append(f"view {name.sql}")
            self.report.steps += done.closed
            self._did(None)

    def _publication(self) -> None:
        """It holds the sources of every move that has been prepared, now or before."""
        moves = self._prepared()

        def added(conn: Connection, table: Name) -> None:
            for move in moves:
                if any(source.name == table for source in move.sources):
                    touch_all(conn, move, "source-added")

        self._look_for_others()
        report = ensure_publication(
            self.conn, self.plan.publication, moves, self.lock_timeout_ms, added, self._at_work, self._expect
        )
        self._look_for_others()
        self.added = report.added
        for word, tables in (("publish", report.added), ("publish again", report.altered), ("hide", report.removed)):
            for table in tables:
                self._did(f"{word} {table.sql}")
        self._did(None)

    def _look_for_others(self) -> None:
        """The publication is as prepare left it, when it was done or was killed: else somebody hid changes."""
        row = self.conn.execute(
            "SELECT NOT cutover.publication_stands(coalesce(publication_mark, publication_expected), slot)"
            " FROM cutover.plan WHERE plan = %s",
            (self.plan.name,),
        ).fetchone()
        if row and row[0]:
            mark_gap(self.conn, self.plan, altered(self.plan.publication))

    def _at_work(self) -> None:
        """Until the new plan is recorded capture confirms nothing: the old one has no place for what is added."""
        if version(self.conn) >= latest():
            self._look_for_others()
            with own(self.conn):
                self.conn.execute(
                    "UPDATE cutover.plan SET publication_mark = NULL, publication_expected = publication_mark"
                    " WHERE plan = %s AND publication_mark IS NOT NULL",
                    (self.plan.name,),
                )

    def _expect(self, conn: Connection) -> None:
        """In a transaction that changes the publication: it is as it should be now, wherever this call may end."""
        if version(conn) >= latest():
            conn.execute(
                "UPDATE cutover.plan SET publication_expected = cutover.publication_mark(slot)"
                " WHERE plan = %s AND publication_mark IS NULL",
                (self.plan.name,),
            )

    def _prepared(self) -> list[Move]:
        rows = self.conn.execute("SELECT move FROM cutover.move WHERE plan = %s", (self.plan.name,)).fetchall()
        return [move for move in self.plan.moves if (move.name,) in rows]

    def _slot(self) -> None:
        if ensure_slot(self.conn, self.plan):
            self._did(f"slot {self.plan.slot}")
        found = check_slot(self.conn, self.plan)
        if found.gap is not None:
            mark_gap(self.conn, self.plan, found.gap)

    def _roles(self) -> None:
        """Of every move that has been prepared, now or before."""
        plan = replace(self.plan, moves=tuple(self._prepared()))
        for statement in ensure_roles(self.conn, plan, self.lock_timeout_ms):
            self._did(statement)

    def _finish(self) -> None:
        """The digest last: it says that all of this is there."""
        values = (self.plan.digest, self.plan.name)
        with own(self.conn):
            row = self.conn.execute("SELECT digest FROM cutover.plan WHERE plan = %s", (self.plan.name,)).fetchone()
            if row and row[0] and row[0] != self.plan.digest and not self.report.steps:
                self._did(f"record the plan as its files are now ({row[0][:12]} before, {self.plan.digest[:12]} now)")
            self.conn.execute(
                "UPDATE cutover.plan SET digest = %s, prepared_at = now(), publication_expected = NULL,"
                " publication_mark = cutover.publication_mark(slot) WHERE plan = %s",
                values,
            )
            # Once more: a backfill of the old plan may have run while the publication was changed.
            for move in self._prepared():
                mark(self.conn, move)
                if any(source.name in self.added for source in move.sources):
                    touch_all(self.conn, move, "source-added")
                if move.name in self.created:
                    touch_all(self.conn, move, "target-created")
            self.conn.execute(
                "UPDATE cutover.move SET state = 'left' WHERE plan = %s AND move <> ALL (%s) AND state <> 'completed'",
                (self.plan.name, [move.name for move in self.plan.moves]),
            )
            if self.report.steps:
                self.conn.execute(
                    "INSERT INTO cutover.event (plan, what, detail) VALUES (%s, 'prepare', %s)",
                    (self.plan.name, Jsonb({"moves": self.names, "steps": self.report.steps})),
                )
        row = self.conn.execute("SELECT gap FROM cutover.plan WHERE plan = %s", (self.plan.name,)).fetchone()
        self.report.gap = row[0] if row else None
