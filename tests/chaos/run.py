"""One run of chaos over one log: the schedule, the end of the harm, and the proof."""

from __future__ import annotations

import random
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cutover.demo.check import check_ledger
from sql.errors import Unreachable
from sql.files import load
from tests.chaos.crew import Fall
from tests.chaos.faults import QUICK, kinds
from tests.chaos.schedule import Step, schedule
from tests.chaos.world import World, world

_RECOVER = 120.0  # seconds that the stream may take to recover from any fault; the longest that it took is reported
_SETTLE = 180.0
_LONGER = 1.5  # times the seconds asked for, at most, where the least number of faults was not reached by then


@dataclass(slots=True)
class Outcome:
    """What a run did and found. `lost`: keys whose consolidated row is not what its only writer knows is committed."""

    log: str
    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    transactions: int = 0  # acknowledged
    acknowledged: int = 0  # changes of rows, in these
    unknown: int = 0  # commits whose answer was lost; their outcome was asked for
    applied: int = 0  # keys that were written and are right in the end
    lost: list[str] = field(default_factory=list)
    dead_letters: int = 0
    reconcile: int | None = None  # its exit code
    longest: tuple[float, str] = (0.0, "none")  # recovery: seconds, and after which fault
    starts: int = 0  # of processes
    in_vain: int = 0  # of these, found a server away and ended with exit code 6, to be started again
    refused: int = 0  # ends of processes while a gap was open, with the exit code that says so
    falls: list[Fall] = field(default_factory=list)
    trouble: str | None = None  # what went wrong with the run
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return not (self.lost or self.dead_letters or self.trouble or self.falls) and self.reconcile == 0


def run(
    log: str, seed: int, count: int, seconds: float, version: int = 15, only: str = "",
    say: Callable[[str], None] = lambda text: None, least: int = 0,
) -> Outcome:  # fmt: skip
    """Do at most `count` faults within `seconds`, those whose names contain `only`; then stop, and prove.

    Where `least` faults were not reached by then (a slow machine recovers slowly), go on for half as long again at most.
    """
    outcome = Outcome(log, seed)
    began = time.monotonic()
    known = {name: kind for name, kind in kinds(log).items() if only in name}
    quick = [name for name in QUICK if name in kinds(log)]
    steps = schedule(seed, {name: kind.weight for name, kind in known.items()}, count, quick)
    with tempfile.TemporaryDirectory(prefix="cutover-chaos-") as folder, world(version, log, Path(folder)) as it:
        try:
            start = time.monotonic()
            for step in steps:
                enough = sum(outcome.faults.values()) >= least
                if time.monotonic() > start + seconds * (1 if enough else _LONGER):
                    break
                _do(it, step, known[step.kind].harm, outcome, say)
            _prove(it, outcome, say)
        except Exception as error:
            outcome.trouble = "".join(traceback.format_exception(error))[-3000:]
        finally:
            it.postgres_proxy.set("open")
        it.crew.close()
        outcome.starts, outcome.in_vain, outcome.falls = it.crew.starts, it.crew.in_vain, it.crew.falls
        outcome.refused = it.crew.refused
    outcome.seconds = time.monotonic() - began
    return outcome


def _do(it: World, step: Step, harm: Callable[..., None], outcome: Outcome, say: Callable[[str], None]) -> None:
    say(f"{step.number:>4} {step.kind}")
    outcome.faults[step.kind] += 1
    if step.beside is None:
        harm(it, step.chance())
    else:
        _both(it, step, harm, outcome, say)
    if step.recover:
        _recover(it, step.kind, outcome)
    time.sleep(step.pause)


def _both(it: World, step: Step, harm: Callable[..., None], outcome: Outcome, say: Callable[[str], None]) -> None:
    """A second fault in the middle of the first: frames that a stalled log holds die with the process that sent them."""
    assert step.beside is not None
    kind, after = step.beside
    failed: list[BaseException] = []

    def second() -> None:
        time.sleep(after)
        try:
            kinds(outcome.log)[kind].harm(it, random.Random(f"{step.seed} beside"))
        except Unreachable:
            return  # PostgreSQL is away just now, which is harm enough
        except Exception as error:
            failed.append(error)

    say(f"     … and {kind}")
    outcome.faults[kind] += 1
    thread = threading.Thread(target=second, name="second fault")
    thread.start()
    harm(it, step.chance())
    thread.join()
    if failed:
        raise failed[0]


def _recover(it: World, after: str, outcome: Outcome) -> None:
    outcome.longest = max(outcome.longest, (it.recover(_RECOVER), after))


def _prove(it: World, outcome: Outcome, say: Callable[[str], None]) -> None:
    """No more harm: everything must be right by itself, without a hand's help but a backfill that was cut short."""
    say("     no more faults")
    if it.unfinished_backfill:
        code, said = it.crew.run("backfill")
        assert code == 0, said
    told = it.traffic.stop()
    _recover(it, "the last one", outcome)
    _settle(it)
    outcome.reconcile, said = _reconcile(it)
    wrong = check_ledger(it.stage.settings.dsn, it.stage.workload, told.ledger)
    outcome.lost = sorted({f"{each.move} {each.key}" for each in wrong})
    outcome.transactions, outcome.acknowledged = told.ledger.transactions, told.ledger.writes
    outcome.unknown = told.counts.unknown
    outcome.applied = sum(len(keys) for keys in told.ledger.touched.values()) - len(outcome.lost)
    with it.connect() as conn:
        row = conn.execute("SELECT count(*) FROM cutover.dead_letter WHERE state = 'open'").fetchone()
        outcome.dead_letters = int(row[0]) if row else 0
    if outcome.reconcile:
        outcome.trouble = said[-3000:]
    for each in wrong[:10]:
        say(f"     lost: {each}")


def _settle(it: World) -> None:
    """Wait for what the clock alone changes: reservations that run out after the last write."""
    settled = datetime.now(UTC) + timedelta(seconds=it.stage.workload.settle)
    deadline = time.monotonic() + _SETTLE
    while True:
        with it.connect() as conn:
            rows = conn.execute(load("demo/standing"), {"plan": it.plan, "until": settled}).fetchall()
        stopped = [f"{row[0]}: {row[1]}" for row in rows if row[1] is not None]
        assert not stopped, f"stands still: {stopped}"
        if all(row[3] or row[0] != "stock" for row in rows):
            return
        assert time.monotonic() < deadline, "the refresh does not come"
        time.sleep(0.1)


def _reconcile(it: World) -> tuple[int, str]:
    """As an operator does: again while it says that something has not arrived yet."""
    for _ in range(4):
        code, said = it.crew.run("reconcile", "--json")
        if code != 3:
            break
    return code, said
