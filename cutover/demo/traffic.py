"""The application under demonstration as its parent process sees it; what it does is in `cutover.demo.application`.

The demo writes one JSON line to its standard input to start it and a word for each further step; it answers with a
line of counts a few times a second and, once stopped, with the outcome. It stops when the demo is gone.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import IO, Any

import orjson

from cutover.demo.ledger import Ledger
from cutover.demo.writer import Timeline
from sql.errors import CutoverError

_READY = 60.0  # seconds for the writers to choose their keys
_END = 60.0  # seconds to finish what is in hand


@dataclass(frozen=True, slots=True)
class Orders:
    """What the process is told first. `rate`: transactions a second of each writer. `reader`: the role that readers
    read as; None: the writers'."""

    dsn: str
    plan: str
    writers: int
    rate: float
    reader: str | None = None


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
    """The process, and what it said last."""

    def __init__(self, orders: Orders, stderr: IO[bytes]) -> None:
        self.counts = Counts()
        self._outcome: Outcome | None = None
        self._ready = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cutover.demo.application"],
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
            raise CutoverError("the demo's writers did not start")

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
            raise CutoverError("the demo's application failed")
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


def _read_outcome(said: dict[str, Any], counts: Counts) -> Outcome:
    return Outcome(
        ledger=Ledger.of(said["ledger"]),
        counts=counts,
        written=Timeline(**said["written"]),
        read=Timeline(**said["read"]),
        lags=said["lags"],
        missing=said["missing"],
    )
