"""Where the time goes: CPU seconds by process while something is measured (utime + stime of /proc, proc(5))."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.stage import Stage

_TICKS = os.sysconf("SC_CLK_TCK")
_BACKENDS = """
SELECT pid, CASE WHEN backend_type = 'client backend' THEN application_name ELSE backend_type END
  FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND (datname IS NULL OR datname = current_database())
"""


@dataclass(slots=True)
class Spent:
    """CPU seconds by process, and the wall-clock time in which they were spent."""

    seconds: float = 0.0
    by_process: dict[str, float] = field(default_factory=dict)

    def line(self) -> str:
        shown = sorted(self.by_process.items(), key=lambda each: -each[1])
        return f"    of {self.seconds:.2f} s: " + ", ".join(f"{name} {cpu:.2f}" for name, cpu in shown if cpu >= 0.05)


@contextmanager
def spent(made: Stage, **processes: int) -> Iterator[Spent]:
    """CPU of the named processes, of PostgreSQL's and of Kafka's, between enter and exit; filled in at exit."""
    named = {pid: name.replace("_", " ") for name, pid in processes.items()} | _brokers()
    named |= {pid: f"postgres {name}".replace("postgres cutover", "backend of") for pid, name in _backends(made)}
    before = {pid: _cpu(pid) for pid in named}
    found = Spent()
    started = time.perf_counter()
    yield found
    found.seconds = time.perf_counter() - started
    for pid, name in named.items():
        found.by_process[name] = found.by_process.get(name, 0.0) + _cpu(pid) - before[pid]


def _backends(made: Stage) -> list[tuple[int, str]]:
    return [(int(pid), str(name)) for pid, name in made.conn.execute(_BACKENDS).fetchall()]


def _brokers() -> dict[int, str]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if b"kafka.Kafka" in (entry / "cmdline").read_bytes():
                    found[int(entry.name)] = "Kafka"
            except OSError:
                continue
    return found


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS
