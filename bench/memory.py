"""Memory: one transaction of millions of row changes, the resident peak of capture and of a consumer."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.stage import stage


@dataclass(frozen=True, slots=True)
class Peaks:
    """Resident peaks in MB (VmHWM of /proc)."""

    changes: int
    capture: float
    consume: float

    def line(self) -> str:
        return f"one transaction of {self.changes:,} changes: capture {self.capture:.0f} MB, consumer {self.consume:.0f} MB resident at most"


def measure(server: str, log: str, rows: int = 500_000, changes: int = 5_000_000) -> Peaks:
    with stage(server, log, rows) as made, ExitStack() as running:
        capture = running.enter_context(made.process("capture"))
        consume = running.enter_context(made.process("consume"))
        made.applied(made.lsn())
        with made.conn.transaction():
            for _ in range(changes // rows):
                made.load_whole()
        made.applied(made.lsn(), timeout=1800)
        found = Peaks(changes, peak(capture.pid), peak(consume.pid))
        made.proven()
    print(found.line(), flush=True)
    return found


def peak(process: int) -> float:
    """Megabytes that a process had resident at most, so far."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM")
