"""What a full compare costs others: the application's writers, the process's memory, the longest snapshot."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from bench.application import _pgbench
from bench.memory import peak
from bench.reconcile_peers import SPOIL
from bench.stage import Stage, stage
from sql.connection import own

_READING = """
SELECT count(*) FROM pg_stat_activity WHERE application_name = 'cutover reconcile' AND datname = current_database()
"""

_FILLED = """
INSERT INTO cutover.backfill (plan, move, offsets, finished_at)
SELECT plan, move, array_fill(0::bigint, ARRAY[partitions]), now() FROM cutover.move
"""


@dataclass(frozen=True, slots=True)
class Effect:
    """Writers' transactions per second without, beside a pass at the default share, and at share 1, by one session."""

    alone: float
    throttled: float
    unthrottled: float

    def line(self) -> str:
        return (
            f"writers beside a full compare at the default share {self.throttled:>9,.0f}/s   alone {self.alone:>9,.0f}/s"
            f"   ratio {self.throttled / self.alone:.2f}   (unthrottled, one session {self.unthrottled / self.alone:.2f})"
        )


@dataclass(frozen=True, slots=True)
class Size:
    """One whole run of the command: keys, MB resident at most, seconds, and the longest chunk."""

    keys: int
    resident: float
    seconds: float
    longest_ms: float

    def line(self) -> str:
        return (
            f"reconcile of {self.keys:>9,} keys, 1 % differ: {self.resident:.0f} MB resident at most, longest chunk"
            f" {self.longest_ms:.0f} ms, {self.seconds:.1f} s with the process's start"
        )


def measure(server: str, log: str, rows: int = 1_000_000, seconds: int = 10) -> Effect:
    with stage(server, log, rows) as made, _stream(made):
        effect = _effect(made, rows, seconds)
    print(effect.line(), flush=True)
    return effect


def memory(server: str, log: str, rows: int = 1_000_000) -> list[Size]:
    """Of `rows` keys and of five times as many, with 1 % of them differing.

    Raises AssertionError where the resident peak grows with the table by a quarter or more.
    """
    sizes = []
    for each in (rows, 5 * rows):
        with stage(server, log, each) as made, _stream(made):
            with own(made.conn):
                made.conn.execute(SPOIL)
            made.conn.execute("VACUUM ANALYZE")
            sizes.append(_whole(made))
            print(sizes[-1].line(), flush=True)
    assert sizes[1].resident < 1.25 * sizes[0].resident, sizes
    return sizes


@contextmanager
def _stream(made: Stage) -> Iterator[None]:
    """Capture and a consumer. The stage has filled the target, so that no backfill has anything to write."""
    made.conn.execute(_FILLED)
    with made.process("capture"), made.process("consume"):
        made.applied(made.lsn())
        yield


def _effect(made: Stage, rows: int, seconds: int) -> Effect:
    """The writers run at half of what they can do alone, as those of `writers` do."""
    rate = int(_pgbench(made, rows, seconds, None) * 0.5)
    alone = _pgbench(made, rows, seconds, rate)
    with made.process("reconcile", "--watch"):
        _begun(made)
        throttled = _pgbench(made, rows, seconds, rate)
    with made.process("reconcile", "--watch", "--share", "1"):
        _begun(made)
        unthrottled = _pgbench(made, rows, seconds, rate)
    return Effect(alone, throttled, unthrottled)


def _begun(made: Stage) -> None:
    deadline = time.monotonic() + 30
    while (made.conn.execute(_READING).fetchone() or (0,))[0] == 0:
        assert time.monotonic() < deadline, "the comparison does not begin"
        time.sleep(0.01)


def _whole(made: Stage) -> Size:
    """Run the command to its end, and look how much it has resident meanwhile: what getrusage(2) tells of a child that
    has ended is no less than its parent had when it began."""
    started, most = time.monotonic(), 0.0
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "cutover", "reconcile", "--json", "--no-sources"],
            env=made.environment,
            stdout=out,
            stderr=subprocess.DEVNULL,
        )
        while child.poll() is None:
            with suppress(AssertionError, OSError):  # it ends in between
                most = max(most, peak(child.pid))
            time.sleep(0.01)
        seconds = time.monotonic() - started
        out.seek(0)
        (report,) = json.load(out)["moves"]
    rows = report["rows"]
    assert (child.returncode, rows["compared"], rows["drift"]) == (4, made.rows, made.rows // 100), report
    return Size(made.rows, most, seconds, report["chunks"]["longest_ms"])
