"""What the service costs the application: pgbench on the source, with and without capture and consumer."""

from __future__ import annotations

import re
import statistics
import subprocess
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass

from bench.programs import program
from bench.stage import Stage, stage

SCRIPT = """
\\set which random(1, {rows})
UPDATE b.stock_financial SET sale_price = :which % 1000 WHERE stock_id = (SELECT id FROM b.numbered WHERE n = :which);
"""


@dataclass(frozen=True, slots=True)
class Writers:
    """Transactions per second of pgbench with the slot and publication only, and with the service running."""

    without: float
    with_service: float

    def line(self) -> str:
        return (
            f"source writers{'':<30} with {self.with_service:>9,.0f}/s   slot only {self.without:>9,.0f}/s"
            f"   ratio {self.with_service / self.without:.2f}"
        )


def measure(server: str, log: str, rows: int = 100_000, seconds: int = 8, rounds: int = 3) -> Writers:
    """In turn, without and with, several rounds; medians. The writers are throttled to two thirds of what they can do
    alone, since on two cores anything else would measure how the cores are shared out."""
    with stage(server, log, rows) as made:
        alone = _pgbench(made, rows, seconds, None)
        rate = int(alone * 0.5)
        without, with_service = [], []
        for _ in range(rounds):
            without.append(_pgbench(made, rows, seconds, rate))
            with ExitStack() as running:
                running.enter_context(made.process("capture"))
                running.enter_context(made.process("consume"))
                made.applied(made.lsn())
                with_service.append(_pgbench(made, rows, seconds, rate))
                made.applied(made.lsn())
        made.proven()
    found = Writers(statistics.median(without), statistics.median(with_service))
    print(f"{found.line()}   (throttled to {rate:,}/s of {alone:,.0f}/s)", flush=True)
    return found


def _pgbench(made: Stage, rows: int, seconds: int, rate: int | None) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(SCRIPT.format(rows=rows))
        script.flush()
        command = [
            program("pgbench"),
            "-n",
            "-M",
            "prepared",
            "-c",
            "4",
            "-T",
            str(seconds),
            "-f",
            script.name,
            made.dsn,
        ]
        if rate is not None:
            command[1:1] = ["-R", str(rate)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    match = re.search(r"tps = ([\d.]+)", printed)
    assert match is not None, printed
    return float(match[1])
