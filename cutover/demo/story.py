"""The story: live writers, prepare, backfill, stream, reconcile, flip, back, flip again, and then the proof."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import orjson
from rich.console import Console

from consumers.backfill import backfill
from cutover.demo import report as figures
from cutover.demo.check import Wrong, check_ledger
from cutover.demo.plant import Fault, plant
from cutover.demo.report import Claim, DemoReport, Flipped, Planted, Writes
from cutover.demo.service import CONSUMERS, Processes
from cutover.demo.show import Screen
from cutover.demo.stage import Stage, stage
from cutover.demo.traffic import Orders, Outcome, Traffic
from cutover.flip import flip
from cutover.flip_report import FlipReport
from cutover.gate import GateClosed, Side
from cutover.plan import load_plan
from cutover.prepare import prepare
from cutover.service import open_service
from cutover.settings import Settings
from reconcile.document import ReconcileDocument, exit_code
from reconcile.run import reconcile
from sql.compile import compile_plan
from sql.connection import connect
from sql.counted import counted
from sql.errors import CutoverError, NotProven
from sql.files import load
from sql.model import Plan
from sql.names import quote

_LOG = logging.getLogger(__name__)
_RATE = 40.0  # transactions a second of each writer: the demo proves, it does not race
_DWELL = 1.5  # seconds on a side after a flip
_PATIENCE = 120.0  # seconds for what must come to pass
_GATE = 30.0  # seconds for a gate that lag keeps closed
_PROOFS = 3
_LOOK = 0.05  # seconds between two looks
_WAIT_FOR = "SELECT cutover.wait_for(pg_current_wal_insert_lsn(), %s, NULL, '1 minute')"


@dataclass(frozen=True, slots=True)
class Options:
    """How the story is told. `seconds`: of streaming under load before it reconciles."""

    rows: int = 50_000
    writers: int = 8
    seconds: float = 8.0
    chaos: bool = False
    fault: Fault | None = None


def demo(settings: Settings, options: Options, console: Console | None = None) -> DemoReport:
    """Tell the story and return what it proved; `console` shows it live.

    Without a DSN in the settings it runs on a throwaway PostgreSQL, without a log on a SQLite file; else in a database
    and topics of its own there, which it drops. Raises what the service raises; claims that do not hold are in the
    report, with the exit code.
    """
    with Screen(console) as screen, ExitStack() as stack:
        with screen.step("set the stage") as note:
            ready = stack.enter_context(stage(settings))
            note(f"{ready.server}, log {ready.log.address}")
        return Story(ready, options, screen).run()


@dataclass(slots=True)
class _Flip:
    """A flip, and when it was asked for and done (time.monotonic())."""

    report: FlipReport
    begun: float
    ended: float


@dataclass(slots=True)
class Story:
    """One run on a stage that is set, from the empty database to the report."""

    stage: Stage
    options: Options
    screen: Screen
    processes: Processes | None = None
    traffic: Traffic | None = None
    flips: list[_Flip] = field(default_factory=list)

    @property
    def dsn(self) -> str:
        return self.stage.settings.dsn

    def run(self) -> DemoReport:
        """Tell it. Raises what the service raises: Refused, Unreachable, NotProven, …"""
        try:
            return self._tell()
        except CutoverError:
            self._repeat_messages()
            raise
        finally:
            for each in (self.traffic, self.processes):
                if each is not None:
                    each.close()

    def _tell(self) -> DemoReport:
        self._install()
        traffic = self.traffic = self._start_traffic()
        plan = self._prepare()
        with self.screen.step(f"start capture, refresh and {CONSUMERS} consumers"):
            processes = self.processes = Processes(self.stage.settings, plan.name, self.stage.stderr)
            traffic.read()
        self._backfill(plan)
        if self.options.chaos:
            processes.unleash()
        self._stream(traffic)
        under_load = self._reconcile(plan, "reconcile under load")
        claims = [figures.claim_reconciled("both sides are equal under load", under_load)]
        if claims[0].holds:
            for to, percent, title in _FLIPS:
                self._flip(plan, to, percent, title)
        with self.screen.step("stop the writers") as note:
            outcome = traffic.stop()
            processes.calm()
            note(f"{counted(outcome.ledger.transactions, 'transaction')} acknowledged")
        self._drain(plan)
        planted = self._plant(plan, outcome)
        after = self._reconcile(plan, "reconcile")
        wrong = self._check(outcome)
        claims += [
            figures.claim_nothing_lost(wrong, outcome),
            figures.claim_reconciled("both sides are equal in the end", after),
            figures.claim_nothing_failed(outcome),
        ]
        if self.options.chaos:
            claims.append(figures.claim_killed(processes.kills))
        reconciled = figures.reconciled("under load", under_load) + figures.reconciled("in the end", after)
        keys = sorted({each.key for each in wrong} | {key for each in reconciled for key in each.keys})
        if planted is not None:
            claims.append(figures.claim_found(planted, found=planted.key in keys))
        return DemoReport(
            plan=plan.name,
            server=self.stage.server,
            log=self.stage.log.address,
            rows=self.options.rows,
            writers=self.options.writers,
            kills=processes.kills,
            planted=planted,
            steps=self.screen.steps,
            writes=_writes(outcome, wrong),
            lag_ms=figures.spread(outcome.lags),
            transaction_ms=figures.spread(outcome.written.took),
            read_ms=figures.spread(outcome.read.took),
            flips=[_flipped(each, outcome) for each in self.flips],
            reconciled=reconciled,
            wrong=[figures.wrong_cell(each) for each in wrong[: figures.LISTED]],
            keys=keys,
            claims=claims,
            seconds=round(time.monotonic() - self.screen.begun, 1),
            exit_code=_exit_code(claims),
        )

    # The steps, in their order

    def _install(self) -> None:
        with self.screen.step("install the legacy database") as note, connect(self.dsn, "demo") as conn:
            self.stage.workload.seed(conn, self.options.rows)
            conn.execute("ANALYZE")
            note(f"{counted(self.options.rows, 'row')} in the first table, {self.stage.server}")

    def _start_traffic(self) -> Traffic:
        options = self.options
        with self.screen.step(f"start {options.writers} live writers"):
            orders = Orders(self.dsn, self.stage.settings.plan, options.writers, _RATE, self.stage.reader)
            traffic = self.traffic = Traffic(orders, self.stage.stderr)
            traffic.wait_ready()
            self.screen.follow(lambda: traffic.counts)
            return traffic

    def _prepare(self) -> Plan:
        folder = load_plan(self.stage.settings.plan)

        def compile_now() -> Plan:
            with connect(self.dsn, "demo") as conn:
                return compile_plan(conn, folder)

        with self.screen.step("check the plan") as note:
            plan = compile_now()
            note(f"{len(plan.moves)} moves, {sum(len(move.sources) for move in plan.moves)} sources")
        with self.screen.step("prepare") as note:
            done = prepare(self.dsn, plan, self.stage.log, compile_now, set_identity=True)
            as_whom = "" if self.stage.reader else "; readers read as this role, which may not make one for them"
            note(f"{len(done.steps)} steps, online{as_whom}")
        self._let_read()
        return open_service(self.stage.settings).plan

    def _let_read(self) -> None:
        """Grant the readers what an application is granted: SELECT on the facades and on what it reads beside them."""
        if self.stage.reader is None:
            return
        role = quote(self.stage.reader)
        with connect(self.dsn, "demo") as conn:
            for name in self.stage.workload.tables_read():
                conn.execute(f"GRANT USAGE ON SCHEMA {quote(name.schema)} TO {role}".encode())
                conn.execute(f"GRANT SELECT ON {name.sql} TO {role}".encode())

    def _backfill(self, plan: Plan) -> None:
        with self.screen.step("backfill under load") as note:
            touched = 0
            for move in plan.moves:
                touched += backfill(self.dsn, plan, move, self.stage.log, threading.Event())
            self._until("the backfill to be applied", lambda: all(row[2] for row in self._standing(plan)))
            self._catch_up(plan)
            note(counted(touched, "key"))

    def _stream(self, traffic: Traffic) -> None:
        with self.screen.step("stream under load") as note:
            traffic.probe()
            ends = time.monotonic() + self.options.seconds
            self._until("the time to pass", lambda: time.monotonic() >= ends, self.options.seconds + _PATIENCE)
            if traffic.counts.lag is not None:
                note(f"the newest write was visible after {traffic.counts.lag * 1000:.1f} ms")

    def _reconcile(self, plan: Plan, title: str) -> ReconcileDocument:
        """Ask up to three times while it is not proven yet: a killed consumer leaves its keys alone for a moment."""
        with self.screen.step(title) as note:
            for _ in range(_PROOFS):
                document = reconcile(self.dsn, plan, log=self.stage.log)
                if exit_code(document) != NotProven.exit_code:
                    break
            note(", ".join(f"{move.move}: {move.verdict}" for move in document.moves))
            return document

    def _flip(self, plan: Plan, to: Side, percent: int | None, title: str) -> None:
        with self.screen.step(title) as note:
            for move in plan.moves:
                if move.facade is not None:
                    self.flips.append(self._flip_one(plan, move.name, to, percent))
            note(", ".join(f"{each.report.lock_ms:.1f} ms" for each in self.flips[-len(plan.moves) :]))
            ends = time.monotonic() + _DWELL
            self._until("the time to pass", lambda: time.monotonic() >= ends)

    def _flip_one(self, plan: Plan, move: str, to: Side, percent: int | None) -> _Flip:
        """Flip behind the gate; lag alone, which a killed consumer leaves for a moment, is waited for."""
        deadline = time.monotonic() + _GATE
        while True:
            begun = time.monotonic()
            try:
                return _Flip(flip(self.dsn, plan, move, to, percent), begun, time.monotonic())
            except GateClosed as closed:
                late = all(check.ok or check.check == "lag" for check in closed.checks)
                if not late or time.monotonic() > deadline:
                    raise
            time.sleep(_LOOK)

    def _drain(self, plan: Plan) -> None:
        with self.screen.step("drain") as note:
            began = time.monotonic()
            self._catch_up(plan)
            note(f"the stream is empty after {(time.monotonic() - began) * 1000:.0f} ms")
            settled = datetime.now(UTC) + timedelta(seconds=self.stage.workload.settle)
            waits = {move.name for move in plan.moves if move.refresh is not None}
            self._until(
                "what only the clock changes",
                lambda: all(row[3] or row[0] not in waits for row in self._standing(plan, settled)),
            )

    def _plant(self, plan: Plan, outcome: Outcome) -> Planted | None:
        if self.options.fault is None:
            return None
        with self.screen.step(f"plant a {self.options.fault}") as note:
            key = plant(self.dsn, self.stage.workload, outcome.ledger, self.options.fault)
            self._catch_up(plan)
            note(f"at key {key}")
            return Planted(fault=self.options.fault, key=key)

    def _check(self, outcome: Outcome) -> list[Wrong]:
        with self.screen.step("check the ledger") as note:
            wrong = check_ledger(self.dsn, self.stage.workload, outcome.ledger)
            note(f"{counted(figures.touched(outcome), 'key')}, {counted(len(wrong), 'cell', 'differs')}")
            return wrong

    # Waiting

    def _catch_up(self, plan: Plan) -> None:
        """Wait until everything that is committed now is in the targets."""
        with connect(self.dsn, "demo", statement_timeout="2min") as conn:
            conn.execute(_WAIT_FOR, (plan.name,))

    def _standing(self, plan: Plan, until: datetime | None = None) -> list[tuple[str, str | None, bool, bool]]:
        """Move, why it stands still, whether its backfill is applied, whether it is refreshed `until` then."""
        with connect(self.dsn, "demo") as conn:
            given = {"plan": plan.name, "until": until or datetime.now(UTC)}
            rows = [(row[0], row[1], row[2], row[3]) for row in conn.execute(load("demo/standing").encode(), given)]
        for move, stopped, _, _ in rows:
            if stopped is not None:
                raise NotProven(f"{move} stands still: {stopped}")
        return rows

    def _until(self, what: str, reached: Callable[[], bool], patience: float = _PATIENCE) -> None:
        """Wait for it, while the service's processes live. Raises NotProven when it takes too long."""
        deadline = time.monotonic() + patience
        while not reached():
            if self.processes is not None:
                self.processes.check()
            if time.monotonic() > deadline:
                raise NotProven(f"waited {patience:.0f} s in vain for {what}")
            time.sleep(_LOOK)

    def _repeat_messages(self) -> None:
        """Show the last warnings and errors of the demo's processes, which nobody has seen."""
        lines = self.stage.messages.read_bytes().splitlines()[-40:]
        for line in lines:
            try:
                said = orjson.loads(line)
            except orjson.JSONDecodeError:
                said = {"level": "error", "message": line.decode(errors="replace")}
            if said.get("level") in ("warning", "error", "critical"):
                _LOG.warning("%s: %s", said.get("process", "application"), said.get("message"))


_FLIPS: tuple[tuple[Side, int | None, str], ...] = (
    ("consolidated", 50, "flip half of the reads"),
    ("consolidated", None, "flip the reads"),
    ("legacy", None, "flip them back"),
    ("consolidated", None, "flip again"),
)


def _writes(outcome: Outcome, wrong: list[Wrong]) -> Writes:
    return Writes(
        transactions=outcome.ledger.transactions,
        rows=outcome.ledger.writes,
        keys=figures.touched(outcome),
        lost=len({(each.move, each.key) for each in wrong}),
        unknown=outcome.counts.unknown,
        reads=outcome.counts.reads,
        failed=dict(outcome.counts.failed or {}),
    )


def _flipped(each: _Flip, outcome: Outcome) -> Flipped:
    return Flipped(
        move=each.report.move,
        to=each.report.to,
        percent=each.report.percent,
        attempts=each.report.attempts,
        lock_ms=each.report.lock_ms,
        writer_wait_ms=figures.longest_ms(outcome.written, each.begun, each.ended),
        reader_wait_ms=figures.longest_ms(outcome.read, each.begun, each.ended),
    )


def _exit_code(claims: list[Claim]) -> int:
    """4 when the sides differ or a write is lost, 3 when that is not proven, 1 when the application was disturbed."""
    return max((claim.code for claim in claims if not claim.holds), default=0)
