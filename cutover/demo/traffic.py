"""The application: a process of writers, readers and a probe, so that their waits are theirs and not the demo's.

The demo writes one JSON line to its standard input to start it and a word for each further step; it answers with a
line of counts a few times a second and, once stopped, with the outcome. It stops when the demo is gone.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import IO, Any

import orjson

from cutover.demo.ledger import Ledger
from cutover.demo.reader import Probe, Reader
from cutover.demo.workload import load_workload
from cutover.demo.writer import Timeline, Writer
from cutover.plan import plan_folder
from sql.errors import CutoverError

READERS = 2
READ_RATE, PROBE_RATE = 60.0, 8.0  # a second, each
_REPORT = 0.25  # seconds between two lines of counts
_READY = 60.0  # seconds for the writers to choose their keys
_END = 60.0  # seconds to finish what is in hand


@dataclass(frozen=True, slots=True)
class Orders:
    """What the process is told first. `rate`: transactions a second of each writer."""

    dsn: str
    plan: str
    writers: int
    rate: float


@dataclass(frozen=True, slots=True)
class Counts:
    """How things stand. `failed`: statements of writers and readers that the server refused, by SQLSTATE."""

    ready: bool = False
    transactions: int = 0
    writes: int = 0
    reads: int = 0
    unknown: int = 0
    failed: Mapping[str, int] | None = None
    lag: float | None = None  # seconds, of the newest probe


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the application knows in the end. `lags` in seconds, `missing`: keys of probes that were never seen."""

    ledger: Ledger
    counts: Counts
    written: Timeline
    read: Timeline
    lags: list[float]
    missing: list[str]


class Traffic:
    """The process as its parent sees it."""

    def __init__(self, orders: Orders, stderr: IO[bytes]) -> None:
        self.counts = Counts()
        self._outcome: Outcome | None = None
        self._ready = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, name="traffic", daemon=True)
        self._listener.start()
        self._say(orjson.dumps(asdict(orders)))

    def wait_ready(self) -> None:
        """Wait until every writer writes. Raises CutoverError when the process ended or takes too long."""
        if not self._ready.wait(_READY) or not self.counts.ready:
            raise CutoverError("the demo's writers did not start; --verbose shows their log")

    def read(self) -> None:
        """Let the readers begin."""
        self._say(b"read")

    def probe(self) -> None:
        """Let the probe begin."""
        self._say(b"probe")

    def stop(self) -> Outcome:
        """Stop everything and return what is known. Raises CutoverError when the process has failed."""
        self._say(b"stop")
        self._listener.join(_END)
        if self._outcome is None:
            self.close()
            raise CutoverError("the demo's application failed; --verbose shows its log")
        return self._outcome

    def close(self) -> None:
        """End the process if it still runs."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _say(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # its end is found by whoever waits for an answer
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = orjson.loads(line)
            self.counts = Counts(**said["counts"])
            if "outcome" in said:
                self._outcome = _read_outcome(said["outcome"], self.counts)
            if self.counts.ready:
                self._ready.set()
        self._ready.set()


class Application:
    """The process itself."""

    def __init__(self, orders: Orders) -> None:
        self.stop = threading.Event()
        workload = load_workload(plan_folder(orders.plan))
        shares = orders.writers + 1  # the last share of the keys is the probe's
        self.writers = [Writer(orders.dsn, workload, each, shares, orders.rate) for each in range(shares)]
        for writer in self.writers:
            writer.prepare()
        keys = {pool: [key for writer in self.writers for key in writer.pools[pool].all()] for pool in workload.pools}
        self.readers = [Reader(orders.dsn, workload, number, READ_RATE, keys) for number in range(READERS)]
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
        """Take the parent's words until it says stop, or is gone."""
        for line in sys.stdin.buffer:
            word = line.strip()
            if word == b"read":
                self.begin(*(reader.run for reader in self.readers))
            elif word == b"probe":
                self.begin(self.prober.run)
            elif word == b"stop":
                break
        self.stop.set()

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


def _read_outcome(said: dict[str, Any], counts: Counts) -> Outcome:
    return Outcome(
        ledger=Ledger.of(said["ledger"]),
        counts=counts,
        written=Timeline(**said["written"]),
        read=Timeline(**said["read"]),
        lags=said["lags"],
        missing=said["missing"],
    )


def main() -> int:
    """The process: standard input to standard output."""
    orders = Orders(**orjson.loads(sys.stdin.buffer.readline()))
    application = Application(orders)
    application.begin(*(writer.run for writer in application.writers[:-1]))
    threading.Thread(target=application.obey, daemon=True).start()
    while not application.stop.wait(_REPORT):
        _answer({"counts": asdict(application.counts())})
    deadline = time.monotonic() + _END / 2
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
