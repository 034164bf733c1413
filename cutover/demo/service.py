"""The service under demonstration: capture, refresh and consumers as the processes that they are in production."""

from __future__ import annotations

import logging
import threading
from itertools import cycle
from typing import IO

from cutover.run import Child, Supervisor
from cutover.settings import Settings
from sql.connection import Connection, connect
from sql.errors import CutoverError

CONSUMERS = 2
KILL_EVERY = 2.0  # seconds
_LOOK = 0.05
_HAS_WORKED = "SELECT FROM cutover.position WHERE plan = %s AND worker LIKE %s"


class Processes:
    """Runs the service's processes; with `chaos`, kills one of the consumers with -9 every two seconds, in turn.

    It kills those that have applied something: on a slow machine a consumer may need longer to start than to die.
    """

    def __init__(self, settings: Settings, plan: str, stderr: IO[bytes], *, chaos: bool) -> None:
        self.kills = 0
        self._dsn, self._plan = settings.dsn, plan
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
        with connect(self._dsn, "demo chaos") as conn:
            for child in cycle(self._consumers):
                if self._calm.wait(KILL_EVERY):
                    return
                while not self._has_worked(conn, child):
                    if self._calm.wait(_LOOK):
                        return
                child.delay = 0.0  # it did not fall by itself: no backoff
                if child.process is not None:
                    child.process.kill()
                    self.kills += 1

    def _has_worked(self, conn: Connection, child: Child) -> bool:
        if child.process is None or child.process.poll() is not None:
            return False
        found = conn.execute(_HAS_WORKED, (self._plan, f"%:{child.process.pid}")).fetchone()
        return found is not None
