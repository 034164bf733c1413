"""The continuous pass: every key again and again, at a share of the database's time, by one process of all that run.

Between two chunks it rests, holding nothing. It keeps its place, so that another process goes on where this one ends,
and it looks again at the differences that stand, until a proof has ended them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from reconcile import history
from reconcile.chunk import Key
from reconcile.document import MoveReport
from reconcile.manner import Manner, Step
from reconcile.one_move import OneMove
from reconcile.place import Place
from reconcile.progress import progress
from reconcile.run import sessions
from reconcile.scope import ALL, Selection
from sql.connection import Connection, own
from sql.files import load
from sql.model import Move, Plan

_LOG = logging.getLogger(__name__)
PASSES: Final = 0x63757470 + 2  # classid of the advisory lock; objid: the plan's hash
_TRY: Final = f"SELECT pg_try_advisory_lock({PASSES}, hashtext(%s))"
_ASK: Final = 5.0  # seconds between questions: may I, can I, has the plan changed
_KEEP: Final = 2.0  # seconds between two places that are kept
_AGAIN: Final = 10.0  # seconds between looks at the differences that stand
_MOST_AGAIN: Final = 1_000
_CHUNK: Final = 0.1  # seconds of a chunk: short, so that nobody waits for a processor
_TIMEOUT: Final = 15.0


class Stopped(Exception):
    """Told to stop in the middle of a pass; its place is kept."""


@dataclass(slots=True)
class Throttle:
    """Called between chunks: rests so long that no more than `share` of the time is spent in comparing."""

    share: float
    stop: threading.Event
    turn: Callable[[], None] = lambda: None
    since: float = field(default_factory=time.monotonic)

    def __call__(self, step: Step) -> None:
        """Raises Stopped as soon as it is told to. `turn` is called once a second."""
        now = time.monotonic()
        # A proof mostly waits for the stream. That is no load.
        until = now + (now - self.since) * (1 / self.share - 1) if step.phase == "compare" else now
        while not self.stop.wait(max(0.0, min(1.0, until - time.monotonic()))):
            self.turn()
            if time.monotonic() >= until:
                self.since = time.monotonic()
                return
        raise Stopped


class Passes:
    """Pass after pass over the moves of a plan. `every`: seconds from the end of one to the beginning of the next.

    `on_report` is told each finished move. `beat` is when the loop turned last.
    """

    def __init__(
        self,
        dsn: str,
        plan: Plan,
        reload: Callable[[], Plan],
        share: float,
        every: float,
        on_report: Callable[[MoveReport], None] = lambda report: None,
    ) -> None:
        self.dsn, self.plan, self.reload, self.share, self.every = dsn, plan, reload, share, every
        self.on_report = on_report
        self.beat = time.monotonic()
        self._again: dict[str, float] = {}  # by move: when its standing differences were looked at last
        self._kept = 0.0

    def run(self, stop: threading.Event) -> None:
        """Until stopped. Raises Unreachable without the database; whoever starts it again loses no place."""
        with sessions(self.dsn) as (reader, writer):
            while not (stop.is_set() or self._mine(writer)):
                self._turn(stop, _ASK)
            while not stop.is_set():
                self._refresh(writer)
                try:
                    for move in self.plan.moves:
                        self._pass(reader, writer, move, stop)
                    self._rest(reader, writer, stop)
                except Stopped:
                    return

    def _mine(self, writer: Connection) -> bool:
        row = writer.execute(_TRY, (self.plan.name,)).fetchone()
        return bool(row and row[0])

    def _beat(self) -> None:
        self.beat = time.monotonic()

    def _turn(self, stop: threading.Event, seconds: float) -> None:
        stop.wait(seconds)
        self._beat()

    def _refresh(self, writer: Connection) -> None:
        """Take the plan as it was prepared last."""
        row = writer.execute("SELECT digest FROM cutover.plan WHERE plan = %s", (self.plan.name,)).fetchone()
        known = writer.execute(
            "SELECT array_agg(move) FROM cutover.move WHERE plan = %s AND state NOT IN ('completed', 'left')",
            (self.plan.name,),
        ).fetchone()
        names = {move.name for move in self.plan.moves}
        if row is None or row[0] != self.plan.digest or known is None or set(known[0] or ()) != names:
            self.plan = self.reload()

    # -- a pass --------------------------------------------------------------------------------------------------------

    def _pass(self, reader: Connection, writer: Connection, move: Move, stop: threading.Event) -> None:
        """All keys of a move, from where it was left; nothing while its stream is not whole."""
        if not _ready(writer, move):
            return
        throttle = Throttle(self.share, stop, self._beat)
        place = _place(writer, self.plan, move)
        told = len(place.tally.listed) if place else 0

        def keep(place: Place) -> None:
            nonlocal told
            listed = place.tally.listed
            if len(listed) > told or time.monotonic() - self._kept >= _KEEP:
                self._kept = time.monotonic()
                with own(writer):
                    history.stand(writer, move, listed[told:])
                    _keep(writer, self.plan, move, place)
                told = len(listed)
            self._look_again(reader, writer, move, stop)
            throttle.since = time.monotonic()

        manner = Manner(chunk_seconds=_CHUNK, timeout=_TIMEOUT, progress=throttle, keep=keep)
        run = OneMove(reader, writer, move, manner, place=place)
        report = history.record(writer, self.plan, run.report(), ALL, run.storage, run.ended(), run.left())
        with own(writer):
            writer.execute(load("reconcile/end_pass").encode(), {"plan": move.plan, "move": move.name})
        level = logging.INFO if report.verdict == "match" else logging.WARNING
        _LOG.log(level, "%s: %s", report.verdict, report.sentence, extra={"move": move.name})
        self.on_report(report)

    def _rest(self, reader: Connection, writer: Connection, stop: threading.Event) -> None:
        """Until the next pass; differences that stand are looked at meanwhile."""
        until = time.monotonic() + self.every
        while not stop.is_set() and (left := until - time.monotonic()) > 0:
            self._turn(stop, min(left, 1.0))
            for move in self.plan.moves:
                self._look_again(reader, writer, move, stop)

    def _look_again(self, reader: Connection, writer: Connection, move: Move, stop: threading.Event) -> None:
        """Compare the keys that were seen to differ once more, and keep what became of them."""
        if time.monotonic() - self._again.get(move.name, -_AGAIN) < _AGAIN:
            return
        self._again[move.name] = time.monotonic()
        keys = _open(writer, move)
        if not keys or not _ready(writer, move):
            return
        selection = Selection(keys=keys, said="those that differed")
        manner = Manner(timeout=_TIMEOUT, progress=Throttle(1.0, stop), listed=_MOST_AGAIN)
        run = OneMove(reader, writer, move, manner, selection)
        report = run.report()
        ended, left = run.ended(), run.left()
        with own(writer):
            history.remember(writer, self.plan.name, report, selection, ended, left)


def _ready(writer: Connection, move: Move) -> bool:
    """Is there something to prove: a stream that has not stopped, and a target that is filled?"""
    state = progress(writer, move)
    return state.blocked is None and state.awaited is None and state.filling is None


def _keep(writer: Connection, plan: Plan, move: Move, place: Place) -> None:
    writer.execute(
        load("reconcile/keep_place").encode(),
        {
            "plan": plan.name,
            "move": move.name,
            "started_at": place.started_at,
            "keys": place.tally.counters["counts"].get("compared", 0),
            "total": place.total,
            "digest": plan.digest,
            "place": place.model_dump_json(),
        },
    )


def _place(writer: Connection, plan: Plan, move: Move) -> Place | None:
    row = writer.execute(
        load("reconcile/place").encode(), {"plan": plan.name, "move": move.name, "digest": plan.digest}
    ).fetchone()
    return Place.model_validate(row[0]) if row else None


def _open(writer: Connection, move: Move) -> list[Key]:
    rows = writer.execute(
        load("reconcile/open").encode(), {"plan": move.plan, "move": move.name, "most": _MOST_AGAIN}
    ).fetchall()
    return [tuple(key) for (key,) in rows]
