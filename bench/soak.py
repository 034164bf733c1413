"""Soak: compare again and again under eight writers, with planted drift between the rows that they write."""

from __future__ import annotations

import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.programs import program
from bench.stage import Stage, stage
from reconcile.document import MoveReport
from reconcile.run import reconcile
from sql.connection import own

WRITERS = 8
PLANTED = 5  # rows falsified before each pass
_LISTED = 100_000
# Every tenth row is quiet: nobody writes it, and drift is planted there.
SCRIPT = """
\\set which 1 + 10 * random(0, {rows} / 10 - 1) + random(0, 8)
UPDATE b.stock_financial SET sale_price = random() * 90000, updated_at = clock_timestamp()
 WHERE stock_id = (SELECT id FROM b.numbered WHERE n = :which);
"""
QUIET = "SELECT id::text FROM b.numbered WHERE n % 10 = 0 ORDER BY n"
PLANT = """
UPDATE b.stock SET {} WHERE id = %s
"""
EDITS = ("sale_price = sale_price + 0.01", "purchase_price = NULL", "currency = currency || ' '", "updated_at = NULL")


@dataclass(frozen=True, slots=True)
class Soaked:
    """Keys compared in all passes; what they were called; planted rows not called drift, others that were."""

    compared: int
    passes: int
    seconds: float
    verdicts: Counter[str]
    planted: int
    missed: int
    false: int
    written: int

    def lines(self) -> list[str]:
        counts = ", ".join(f"{self.verdicts[name]:,} {name}" for name in ("lag", "unresolved", "skipped"))
        return [
            f"soak: {self.compared:,} keys compared in {self.passes} passes of {self.seconds:.0f} s, {WRITERS} writers,"
            f" {self.written:,} transactions: {counts}",
            f"soak: {self.planted} planted, {self.missed} of them missed, {self.false} others called drift",
        ]


def measure(server: str, log: str, rows: int = 100_000, compared: int = 1_000_000, seed: int = 1) -> Soaked:
    """Passes until so many keys are compared. Raises AssertionError for a false positive or a planted row not found."""
    dice = random.Random(seed)
    with stage(server, log, rows) as made, made.process("capture"), made.process("consume"):
        with made.process("backfill") as filling:
            filling.wait(300)
        made.applied(made.lsn())
        quiet = [key for (key,) in made.conn.execute(QUIET)]
        dice.shuffle(quiet)
        found = _passes(made, quiet, compared, dice)
    print(*found.lines(), sep="\n", flush=True)
    assert (found.missed, found.false, found.verdicts["unresolved"], found.verdicts["skipped"]) == (0, 0, 0, 0), found
    return found


def _passes(made: Stage, quiet: list[str], compared: int, dice: random.Random) -> Soaked:
    done = passes = missed = false = 0
    verdicts: Counter[str] = Counter()
    planted: set[str] = set()
    started = time.perf_counter()
    with _writers(made):
        before = _written(made)
        while done < compared:
            for key in (quiet.pop() for _ in range(PLANTED)):
                with own(made.conn):
                    made.conn.execute(PLANT.format(dice.choice(EDITS)).encode(), (key,))
                planted.add(key)
            report = _pass(made)
            drift = {each.key[0] for each in report.differences if each.verdict == "drift"}
            missed += len(planted - drift)
            false += len(drift - planted)
            passes += 1
            done += report.rows.compared
            verdicts += Counter(
                lag=report.rows.lag,
                unresolved=report.rows.unresolved,
                skipped=report.rows.skipped,
                drift=report.rows.drift,
            )
        written = _written(made) - before
    return Soaked(done, passes, time.perf_counter() - started, verdicts, len(planted), missed, false, written)


def _pass(made: Stage) -> MoveReport:
    (report,) = reconcile(made.dsn, made.plan, ["stock"], made.log, listed=_LISTED, timeout=300).moves
    return report


def _written(made: Stage) -> int:
    """Updates of the satellite's rows so far, as PostgreSQL counts them."""
    row = made.conn.execute(
        "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relid = 'b.stock_financial'::regclass"
    ).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def _writers(made: Stage) -> Iterator[None]:
    """pgbench with eight prepared sessions, until the block ends."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(SCRIPT.format(rows=made.rows))
        script.flush()
        command = [
            program("pgbench"), "-n", "-M", "prepared", "-c", str(WRITERS), "-j", "1", "-T", "3600", "-f", script.name,
            made.dsn,
        ]  # fmt: skip
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
            assert running.poll() is None, "the writers have ended"
        finally:
            running.terminate()
            running.wait(30)
