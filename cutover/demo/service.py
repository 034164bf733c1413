"""The service under demonstration: capture, refresh and consumers as the processes that they are in production."""

from __future__ import annotations

import logging
import math
import threading
import time
from itertools import cycle
from typing import IO

from cutover.run import Child, Supervisor
from cutover.settings import Settings
from sql.connection import Connection, connect
from sql.errors import CutoverError

CONSUMERS = 2
KILL_EVERY = 2.0  # seconds
_MOMENT = 1.0  # seconds that a consumer works before it is killed, however slow the machine
_LOOK = 0.1
_HAS_WORKED = "SELECT FROM cutover.position WHERE plan = %s AND worker LIKE %s"


class Processes:
    """Runs the service's processes; on demand, kills one of the consumers with -9 every two seconds, in turn.

    It waits for the victim to have worked: on a slow machine a consumer needs longer to start than two seconds.
    """

    def __init__(self, settings: Settings, plan: str, stderr: IO[bytes]) -> None:
        self.kills = 0
        self._dsn, self._plan = settings.dsn, plan
        self._consumers = [Child(f"consume-{number}", ["consume"]) for number in range(1, CONSUMERS + 1)]
        children = [Child("capture", ["capture"]), Child("refresh", ["refresh"]), *self._consumers]
        self._supervisor = Supervisor(children, settings.environment(), stderr=stderr)
        self._stop, self._calm = threading.Event(), threading.Event()
        self._code: int | None = None
        self._threads = [threading.Thread(target=self._run, name="supervisor")]
        self._threads[0].start()

    def check(self) -> None:
        """Raises CutoverError when the supervisor has given up."""
        if self._code is not None and not self._stop.is_set():
            raise CutoverError(f"the demo's capture or consumers gave up with exit code {self._code}")

    def unleash(self) -> None:
        """Kill consumers from now on."""
        logging.getLogger("cutover.run").setLevel(logging.ERROR)  # that they end is the point
        self._threads.append(threading.Thread(target=self._kill, name="chaos"))
        self._threads[-1].start()

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
        """Kill in turn. The turn waits for the one whose turn it is to have worked for a moment."""
        with connect(self._dsn, "demo chaos") as conn:
            worked: dict[int, float] = {}  # by process id, when it was first seen to have applied something
            for child in cycle(self._consumers):
                due = time.monotonic() + KILL_EVERY
                while time.monotonic() < max(due, self._working_since(conn, child, worked) + _MOMENT):
                    if self._calm.wait(_LOOK):
                        return
                    for other in self._consumers:
                        self._working_since(conn, other, worked)
                child.delay = 0.0  # it did not fall by itself: no backoff
                if child.process is not None:
                    child.process.kill()
                    self.kills += 1

    def _working_since(self, conn: Connection, child: Child, worked: dict[int, float]) -> float:
        """When a consumer's process was first seen to have applied something; infinity: not yet."""
        process = child.process
        if process is None or process.poll() is not None:
            return math.inf
        if process.pid not in worked:
            if conn.execute(_HAS_WORKED, (self._plan, f"%:{process.pid}")).fetchone() is None:
                return math.inf
            worked[process.pid] = time.monotonic()
        return worked[process.pid]
