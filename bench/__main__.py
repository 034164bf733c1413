"""`make bench`: all measurements in one run, or those named. `make bench ARGS="latency --rows 10000"`.

Ends with one table of all figures, and with exit code 1 when a part failed; the other parts are measured all the same.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable
from functools import partial

from bench import (
    application,
    backfill_rate,
    capture_rate,
    end_to_end,
    flat,
    latency,
    memory,
    past,
    reconcile_effect,
    reconcile_five,
    reconcile_peers,
    reconcile_rate,
    replay_rate,
    soak,
)
from bench.in_turn import in_turn, table
from bench.warm import warm
from tests.services.choose import Services

MEASUREMENTS: dict[str, Callable[..., object]] = {
    "capture": capture_rate.measure,
    "end-to-end": end_to_end.measure,
    "latency": latency.measure,
    "writers": application.measure,
    "backfill": backfill_rate.measure,
    "reconcile": reconcile_rate.measure,
    "reconcile-peers": reconcile_peers.measure,
    "reconcile-effect": reconcile_effect.measure,
    "reconcile-memory": reconcile_effect.memory,
    "reconcile-five": reconcile_five.measure,
    "replay": replay_rate.measure,
    "restore": past.restore,
    "history": past.history,
    "soak": soak.measure,
    "memory": memory.measure,
    "flat": flat.measure,
}

# What a server of this size would have; what it cannot hold is read from the system again and again.
SETTINGS = {"shared_buffers": "4GB", "max_wal_size": "8GB"}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Ratios measured in one run, with both figures."
    )
    parser.add_argument("what", nargs="*", default=list(MEASUREMENTS), help=", ".join(MEASUREMENTS))
    parser.add_argument("--rows", type=int, help="rows of the tables instead of each measurement's own number")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.what if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"no measurement {unknown[0]!r}; there are {', '.join(MEASUREMENTS)}")
    services = Services(settings=SETTINGS)
    try:
        server, kafka = services.postgres(18), services.kafka()
        print(
            f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores; {services.describe()}"
        )
        print(warm(kafka.address), flush=True)
        options = {"rows": arguments.rows} if arguments.rows else {}
        parts = in_turn(
            {name: partial(MEASUREMENTS[name], server.dsn, kafka.address, **options) for name in arguments.what}
        )
    finally:
        services.close()
    print(f"\n{table(parts)}")
    sys.exit(any(part.error for part in parts))


if __name__ == "__main__":
    main()
