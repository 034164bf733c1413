"""What capture asks and tells the database beside the stream: may it begin, does the plan stand, how far it is."""

from __future__ import annotations

import logging
from typing import Final

from cdc import slot
from cdc.clock import Clock
from cdc.log import Log
from cdc.publication import read_publication
from cdc.replication import lsn_number, lsn_text
from cdc.slot import SlotStatus
from cdc.tail import Tail, read_tail, set_back
from sql.connection import Connection, connect, own
from sql.errors import Busy, Gap, PlanChanged
from sql.files import load
from sql.model import Move, Plan

logger = logging.getLogger("cutover.capture")

# Held while a backlog is read: cutover.captured() looks for it.
_CATCHING_UP: Final = "SELECT pg_try_advisory_lock(hashtextextended('cutover.backlog.' || %s, 0))"
_CAUGHT_UP: Final = "SELECT pg_advisory_unlock(hashtextextended('cutover.backlog.' || %s, 0))"
# After which a frozen process, or one whose machine is gone, has no backlog any more; a log may be away for 60.
SILENCE: Final = "90s"

AT_WORK = "prepare is at work on the publication, or was ended there"


# PostgreSQL retypes no column under a view, and a column that was retyped has other values without any change in WAL.
_DROPPED = "was dropped, or dropped and made again: a column may have been retyped meanwhile"
_VIEW = "SELECT view_oid::oid FROM cutover.move WHERE plan = %s AND move = %s"


def altered(publication: str) -> str:
    """Why a publication that is not as prepare left it is a gap."""
    return f"the publication {publication} was altered by somebody else: what it hid meanwhile is not in the log"


class Control:
    """One session of the control schema. PlanChanged is raised when the plan was prepared anew or a move healed."""

    def __init__(self, dsn: str, plan: Plan, log: Log) -> None:
        self.plan, self._log = plan, log
        self.silent: list[tuple[str, int]] = []  # (topic, partition) of moves that are not in the plan now
        self.lacking: set[str] = set()  # moves that this session leaves something out of
        self.clock = Clock()
        self.conn: Connection = connect(dsn, f"capture {plan.name}", statement_timeout="30s")

    def close(self) -> None:
        self.conn.close()

    def check(self) -> int:
        """How many bytes of WAL wait in the slot. Gap when slot or log are not those it is bound to (C2, L2);
        a move whose sources are not all captured halts."""
        status = self.slot()
        if status.gap:
            raise Gap(status.gap, cure="cutover heal")
        self.clock.compare(self.conn)
        self._watched = self.watched_row()
        self._check_publication()
        self._refuse_changed()  # since it was compiled: a source may be missing from the router
        self._check_sources()
        for move, _, identity in self._moves():
            if self._log.topic_identity(self.plan.move(move).topic) != identity:
                raise Gap(f"the topic of {move} is not the one that prepare made", cure="cutover heal")
        return status.lag_bytes or 0

    def slot(self) -> SlotStatus:
        """How the slot stands."""
        return slot.check_slot(self.conn, self.plan)

    def claims(self, confirmed: int) -> Tail:
        """What the log has beyond `confirmed`. Gap when it is ahead of this database (C3), or has lost its end (L2)."""
        tail = read_tail(self._log, self.plan.moves, confirmed)
        query = "SELECT pg_current_wal_insert_lsn()::text, consistent_point::text FROM cutover.plan WHERE plan = %s"
        row = self.conn.execute(query, (self.plan.name,)).fetchone()
        end, point = (lsn_number(row[0]), lsn_number(row[1])) if row else (0, 0)
        # At the slot's first point nothing was told yet: what is there is of an earlier plan, or a healed gap.
        lost = tail.lost if confirmed > point else None
        why = set_back(tail.reaches, end) if tail.reaches > end else lost
        if why:
            raise Gap(why, cure="cutover heal")
        return tail

    def end(self) -> int:
        """How far WAL is flushed."""
        row = self.conn.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
        assert row is not None
        return lsn_number(row[0])

    def alone(self) -> None:
        """Raises Busy while another capture reads the backlog, which does not hold the slot, or has the slot (C13)."""
        cure = "one capture per plan; stop the other"
        row = self.conn.execute(_CATCHING_UP, (self.plan.name,)).fetchone()
        if not row or not row[0]:
            raise Busy("another capture runs: it reads the backlog", cure=cure)
        if self.slot().active:
            raise Busy(f"another capture runs: it has the slot {self.plan.slot}", cure=cure)

    def expire(self) -> None:
        """From now on the session ends, and what it holds, when nothing is asked of it for long."""
        self.conn.execute("SELECT set_config('idle_session_timeout', %s, false)", (SILENCE,))

    def caught_up(self) -> None:
        """The backlog is read, and the slot held instead, which the server frees by itself."""
        self.conn.execute(_CAUGHT_UP, (self.plan.name,))
        self.conn.execute("SET idle_session_timeout = 0")

    def watch(self) -> None:
        """Was the plan prepared anew, a move healed, or a source swapped under its name (C10)?"""
        self.refuse_watched()
        self.clock.compare(self.conn)
        for move in self.plan.moves:
            for source in move.sources:
                oid = self._oid(source.name.sql)
                if oid != source.oid and not self._is_halted(move.name):
                    why = "is another table than the one prepared" if oid else "is gone: dropped or renamed"
                    self.halt(move.name, f"{source.name} {why}", 0)
            if not self._is_halted(move.name) and not self._view_stands(move):
                self.halt(move.name, f"the mapping's view {move.view} {_DROPPED}", 0)

    def refuse_watched(self) -> None:
        """Raises PlanChanged when anything that this session was begun with is another now."""
        row = self.watched_row()
        if row[4] is None:
            raise Busy(AT_WORK, cure="cutover prepare", hint="if none is running")
        if row != self._watched:
            raise PlanChanged

    def confirm(self, lsn: int) -> None:
        """Record how far the log reaches. An old plan may have dropped what a new one reads: that must come again."""
        self.refuse_watched()
        with own(self.conn):
            self.conn.execute(load("capture/confirm"), (lsn_text(lsn), self.plan.name), prepare=True)

    def halt(self, move: str, why: str, lsn: int, *, whole: bool = False) -> None:
        """Written before the slot can be confirmed past the cause, so that it cannot be forgotten. `whole`: all that
        the move's sources have is captured nevertheless."""
        parameters = {"why": why, "lsn": lsn_text(lsn), "plan": self.plan.name, "move": move}
        with own(self.conn):
            written = self.conn.execute(load("capture/halt"), parameters).rowcount
        if not whole and (written or self._is_halted(move)):  # else a heal has accepted it, and touched what it hid
            self.lacking.add(move)
        if written:  # else it was healed, or is told of already: WAL that is read again has it once more
            logger.error("%s halts: %s", move, why, extra={"move": move, "lsn": parameters["lsn"]})
        self._watched = self.watched_row()
        self._refuse_changed()  # just now: what was compared is no longer so
        stand_still = {name for name, halted, _ in self._moves() if halted is not None}
        if any(move.name in self.lacking - stand_still for move in self.plan.moves):
            raise PlanChanged  # healed just now

    def _refuse_changed(self) -> None:
        if self._watched[0] != self.plan.digest:
            raise PlanChanged

    def _check_publication(self) -> None:
        """What the publication hid for a while, nobody else tells of (C10)."""
        recorded, stands = self._watched[4:6]
        if recorded is None:
            raise Busy(AT_WORK, cure="cutover prepare", hint="if none is running")
        if not stands:
            raise Gap(altered(self.plan.publication), cure="cutover prepare\ncutover heal")

    def _check_sources(self) -> None:
        """A move whose sources are not all published would go on without some of its changes (C10)."""
        for name, why in self.plan.broken:
            self.halt(name, f"{why}: its changes are not captured", 0)
        known = {move.name for move in self.plan.moves}
        rows = self.conn.execute(
            "SELECT move, topic, topic_identity, partitions FROM cutover.move WHERE plan = %s AND state <> 'completed'",
            (self.plan.name,),
        ).fetchall()
        self.silent = [
            (topic, partition)
            for move, topic, identity, partitions in rows
            if move not in known and self._log.topic_identity(topic) == identity
            for partition in range(partitions)
        ]
        published = read_publication(self.conn, self.plan.publication)
        for move in self.plan.moves:
            lacking = [source.name for source in move.sources if source.keys and source.name not in published]
            if lacking:
                self.halt(move.name, f"{lacking[0]} is not the table that was prepared", 0)

    def _moves(self) -> list[tuple[str, str | None, str | None]]:
        rows = self.conn.execute(
            "SELECT move, halted, topic_identity FROM cutover.move"
            " WHERE plan = %s AND state NOT IN ('completed', 'left') ORDER BY move",
            (self.plan.name,),
        ).fetchall()
        known = {move.name for move in self.plan.moves}
        return [row for row in rows if row[0] in known]

    def watched_row(self) -> tuple[object, ...]:
        """What must not change under a session. Gap when the plan is not prepared."""
        row = self.conn.execute(load("capture/watch"), (self.plan.name,)).fetchone()
        if row is None:
            raise Gap(f"plan {self.plan.name} is not prepared", cure="cutover prepare")
        return tuple(row)

    def _is_halted(self, move: str) -> bool:
        return any(name == move and halted is not None for name, halted, _ in self._moves())

    def _view_stands(self, move: Move) -> bool:
        """Asked before and after the record is read: prepare changes both in one transaction."""
        before = self._oid(move.view.sql)
        row = self.conn.execute(_VIEW, (move.plan, move.name), prepare=True).fetchone()
        return row is None or row[0] is None or row[0] == before or before != self._oid(move.view.sql)

    def _oid(self, name: str) -> int | None:
        row = self.conn.execute("SELECT to_regclass(%s)::oid", (name,), prepare=True).fetchone()
        return None if row is None or row[0] is None else int(row[0])
