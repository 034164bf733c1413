"""The past: a source rebuilt from the log, and one key's history; their speed, and that memory does not grow with the log."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.memory import peak
from bench.stage import Stage, stage
from cdc import stretch
from consumers.outlook import look

SOURCE, INTO = "b.stock_financial", "b.back"


@dataclass(frozen=True, slots=True)
class Past:
    """What one command read of the log, in how many seconds; its resident peak, and that of its files without a name."""

    what: str
    megabytes: float
    records: int
    seconds: float
    peak: float
    files: float

    def line(self) -> str:
        return (
            f"{self.what:<44} {self.seconds:.1f} s, {self.megabytes / self.seconds:.1f} MB/s of {self.megabytes:,.0f} MB"
            f" in {self.records:,} records, {self.peak:.0f} MB resident and {self.files:.0f} MB of files at most"
        )


def restore(server: str, log: str, rows: int = 600_000) -> list[Past]:
    """A third of the rows, then all: each was read by a backfill, and changed twice."""
    found = []
    for count in (rows // 3, rows):
        with _logged(server, log, count) as (made, megabytes, records):
            arguments = ("restore", SOURCE, "--at", made.lsn(), "--into", INTO)
            what = f"restore {count:,} rows, {2 * count:,} changes"
            found.append(Past(what, megabytes, records, *_run(made, *arguments)))
            print(found[-1].line(), flush=True)
            query = f"SELECT (SELECT count(*) FROM {INTO}), count(*) FROM (TABLE {SOURCE} EXCEPT ALL TABLE {INTO}) d"
            assert made.conn.execute(query.encode()).fetchone() == (count, 0)
    return found


def history(server: str, log: str, rows: int = 600_000) -> list[Past]:
    """The history of one key, which is in one of four partitions."""
    found = []
    for count in (rows // 3, rows):
        with _logged(server, log, count) as (made, megabytes, records):
            row = made.conn.execute("SELECT min(id::text) FROM b.numbered").fetchone()
            assert row is not None
            what = f"history of a key among {count:,}"
            found.append(Past(what, megabytes / 4, records // 4, *_run(made, "history", "stock", row[0])))
            print(found[-1].line(), flush=True)
    return found


@contextmanager
def _logged(server: str, log: str, rows: int) -> Iterator[tuple[Stage, float, int]]:
    """A stage whose log has every row and two changes of each, with the log's megabytes and records."""
    with stage(server, log, rows) as made:
        plan = made.folder / "plan.toml"
        plan.write_text(plan.read_text() + 'backfill = "rows"\n')
        made.prepare()
        with made.process("capture") as capture:
            with made.process("backfill") as child:
                assert child.wait() == 0, f"backfill ended with {child.returncode}"
            for _ in range(2):
                made.load_whole()
            _captured(made, made.lsn(), capture)
            move = made.plan.move("stock")
            outlook = look(made.log, move, stretch.whole(made.log, move))
            yield made, outlook.bytes / 1e6, outlook.records


def _captured(made: Stage, lsn: str, capture: subprocess.Popen[bytes]) -> None:
    """Wait until the slot is confirmed up to an LSN: the log has all before it."""
    while True:
        assert capture.poll() is None, f"capture ended with {capture.returncode}"
        row = made.conn.execute(
            "SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots WHERE slot_name = %s", (lsn, made.plan.slot)
        ).fetchone()
        if row and row[0]:
            return
        time.sleep(0.05)


def _run(made: Stage, *command: str) -> tuple[float, float, float]:
    """Seconds of one command, and megabytes that it had at most: resident, and in files without a name."""
    started, most, files = time.perf_counter(), 0.0, 0.0
    with made.process(*command) as child:
        while child.poll() is None:
            with suppress(AssertionError, OSError):  # it ends in between
                most = max(most, peak(child.pid))
                files = max(files, _nameless(child.pid))
            time.sleep(0.02)
        assert child.returncode == 0, f"{command} ended with {child.returncode}"
        return time.perf_counter() - started, most, files


def _nameless(process: int) -> float:
    """Megabytes on disk of the files that a process has open and that have no name any more."""
    opened = (each for each in Path(f"/proc/{process}/fd").iterdir() if str(each.readlink()).endswith(" (deleted)"))
    return sum(each.stat().st_blocks * 512 for each in opened) / 1e6
