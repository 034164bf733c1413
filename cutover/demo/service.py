"""The service under demonstration: capture, refresh and consumers as the processes that they are in production."""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import suppress
from itertools import cycle
from typing import IO

from cutover.run import Child, Supervisor
from cutover.settings import Settings
from sql.errors import CutoverError

CONSUMERS = 2
KILL_EVERY = 2.0  # seconds


class Processes:
    """Runs the service's processes; with `chaos`, kills one of the consumers with -9 every two seconds, in turn."""

    def __init__(self, settings: Settings, stderr: IO[bytes], *, chaos: bool) -> None:
        self.kills = 0
        self._consumers = [Child(f"consume-{number}", ["consume"]) for number in range(1, CONSUMERS + 1)]
        children = [Child("capture", ["capture"]), Child("refresh", ["refresh"]), *self._consumers]
        self._supervisor = Supervisor(children, settings.environment(), stderr=stderr)
        self._stop, self._calm = threading.Event(), threading.Event()
        self._code: int | None = None
        self._threads = [threading.Thread(target=self._run, name="supervisor")]
        if chaos:
            logging.getLogger("cutover.run").setLevel(logging.ERROR)  # that they end is the point
            self._threads.append(threading.Thread(target=self._kill, name="chaos"))
        for thread in self._threads:
            thread.start()

    def check(self) -> None:
        """Raises CutoverError when the supervisor has given up."""
        if self._code is not None and not self._stop.is_set():
            raise CutoverError(f"the demo's capture or consumers gave up with exit code {self._code}")

    def calm(self) -> None:
        """No more kills."""
        self._calm.set()

    def close(self) -> None:
        """Stop all of them."""
        self._calm.set()
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        self._code = self._supervisor.run(self._stop)

    def _kill(self) -> None:
        for child in cycle(self._consumers):
            if self._calm.wait(KILL_EVERY):
                return
            process = child.process
            if process is not None and process.poll() is None:
                child.delay = 0.0  # it did not fall by itself: no backoff
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
                self.kills += 1
