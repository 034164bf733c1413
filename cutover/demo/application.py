"""The application: a process of writers, readers and a probe, so that their waits are theirs and not the demo's."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import orjson

from cutover.demo.ledger import Ledger
from cutover.demo.reader import Probe, Reader
from cutover.demo.traffic import Counts, Orders
from cutover.demo.workload import load_workload
from cutover.demo.writer import Timeline, Writer
from cutover.plan import plan_folder

READERS = 2
READ_RATE, PROBE_RATE = 60.0, 8.0  # a second, each
_REPORT = 0.25  # seconds between two lines of counts
_END = 30.0  # seconds to finish what is in hand


class Application:
    """All of it: the writers write from the start, readers and probe when they are told to."""

    def __init__(self, orders: Orders) -> None:
        self.stop = threading.Event()
        workload = load_workload(plan_folder(orders.plan))
        shares = orders.writers + 1  # the last share of the keys is the probe's
        self.writers = [Writer(orders.dsn, workload, each, shares, orders.rate) for each in range(shares)]
        for writer in self.writers:
            writer.prepare()
        keys = {pool: [key for writer in self.writers for key in writer.pools[pool].all()] for pool in workload.pools}
        self.readers = [
            Reader(orders.dsn, workload, number, READ_RATE, keys, orders.reader) for number in range(READERS)
        ]
        self.prober = Probe(self.writers[-1], PROBE_RATE)
        self.threads: list[threading.Thread] = []
        self.broken: str | None = None

    def begin(self, *runs: Callable[[threading.Event], None]) -> None:
        """Run each in a thread of its own. An error in one of them ends the process."""
        for run in runs:
            thread = threading.Thread(target=self._guarded, args=(run,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _guarded(self, run: Callable[[threading.Event], None]) -> None:
        try:
            run(self.stop)
        except BaseException as error:
            self.broken = f"{type(error).__name__}: {error}"
            self.stop.set()
            raise

    def obey(self) -> None:
        """Take the parent's words until it says stop. Without a parent, end at once: nobody asks for the ledger."""
        for line in sys.stdin.buffer:
            word = line.strip()
            if word == b"read":
                self.begin(*(reader.run for reader in self.readers))
            elif word == b"probe":
                self.begin(self.prober.run)
            elif word == b"stop":
                self.stop.set()
                return
        os._exit(1)

    def counts(self) -> Counts:
        failed: Counter[str] = Counter()
        for failures in [each.failures for each in self.writers] + [each.failures for each in self.readers]:
            failed.update(dict(failures))
        return Counts(
            ready=True,
            transactions=sum(writer.ledger.transactions for writer in self.writers),
            writes=sum(writer.ledger.writes for writer in self.writers),
            reads=sum(len(reader.timeline.took) for reader in self.readers),
            unknown=sum(writer.unknown for writer in self.writers),
            failed=dict(failed),
            lag=self.prober.lags[-1] if self.prober.lags else None,
        )

    def outcome(self) -> dict[str, Any]:
        ledger = Ledger()
        for writer in self.writers:
            ledger.merge(writer.ledger)
        return {
            "ledger": ledger.document(),
            "written": _timeline([writer.timeline for writer in self.writers]),
            "read": _timeline([reader.timeline for reader in self.readers]),
            "lags": self.prober.lags,
            "missing": self.prober.missing,
        }


def _timeline(parts: list[Timeline]) -> dict[str, list[float]]:
    return {
        "begun": [each for part in parts for each in part.begun],
        "took": [each for part in parts for each in part.took],
    }


def main() -> int:
    """The process: standard input to standard output."""
    orders = Orders(**orjson.loads(sys.stdin.buffer.readline()))
    application = Application(orders)
    application.begin(*(writer.run for writer in application.writers[:-1]))
    threading.Thread(target=application.obey, daemon=True).start()
    while not application.stop.wait(_REPORT):
        _answer({"counts": asdict(application.counts())})
    deadline = time.monotonic() + _END
    for thread in application.threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if application.broken is not None:
        print(application.broken, file=sys.stderr)
        return 1
    _answer({"counts": asdict(application.counts()), "outcome": application.outcome()})
    return 0


def _answer(document: dict[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(document) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
