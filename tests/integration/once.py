"""One prepare or one flip of the small plan in a process of its own, so that it can be killed.

Usage: python -m tests.integration.once prepare|flip DSN PLAN LOG
"""

from __future__ import annotations

import os
import subprocess
import sys

from cdc.log import open_log
from cutover.flip import flip
from cutover.prepare import prepare
from sql.connection import connect
from sql.model import Plan
from tests.integration.small_plan import SmallPlan


def start(what: str, dsn: str, plan: str, log: str, fault: str | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end, which `fault` may bring about early."""
    environment = {**os.environ, **({"CUTOVER_FAULT": fault} if fault else {})}
    command = [sys.executable, "-m", "tests.integration.once", what, dsn, plan, log]
    return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)


def main(what: str, dsn: str, name: str, log: str) -> None:
    def compile_now() -> Plan:
        with connect(dsn, "compile") as conn:
            return SmallPlan(name).compile(conn)

    if what == "prepare":
        prepare(dsn, compile_now(), open_log(log), compile_now, set_identity=True)
    else:
        flip(dsn, compile_now(), "part", "consolidated")


if __name__ == "__main__":
    main(*sys.argv[1:])
