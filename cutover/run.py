"""The supervisor behind `cutover run`: capture, consumers and refresh as child processes, started again when they fall.

However this process dies, its children stop: each watches its standard input, whose other end is held here.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from cutover.signals import SUPERVISED
from sql.errors import Refused, UsageError

_LOG = logging.getLogger(__name__)
_POLL = 0.1  # seconds between looks at the children
_BACKOFF = (0.2, 10.0)  # seconds before a child that fell is started again: at first, and at most
_REFUSED = 15.0  # seconds before a child that was refused asks again; somebody may have mended it
_STEADY = 30.0  # seconds alive after which the backoff starts anew
_GRACE = 30.0  # seconds that children have to finish the batch in hand


@dataclass(slots=True)
class Child:
    """One child process: `arguments` come after the supervisor's program."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    due: float = 0.0
    delay: float = _BACKOFF[0]
    refused: bool = False
    aside: bool = False  # it is refused nothing that the others are: it alone keeps nobody alive

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass(slots=True)
class Supervisor:
    """Keeps children running until stopped. `environment` carries the settings, so that no secret is an argument."""

    children: Sequence[Child]
    environment: Mapping[str, str]
    program: Sequence[str] = (sys.executable, "-m", "cutover")
    stderr: IO[bytes] | None = None  # where the children log; None: where this process does
    restarts: int = field(default=0, init=False)
    beat: float = field(default_factory=time.monotonic, init=False)  # when the loop turned last

    def run(self, stop: threading.Event) -> int:
        """The exit code: 0 when stopped, else that of the last child when every one was refused."""
        try:
            while not stop.is_set():
                now = self.beat = time.monotonic()
                for child in self.children:
                    if child.process is not None and not child.alive():
                        code = self._ended(child, now)
                        if code is not None:
                            return code
                    if child.process is None and now >= child.due:
                        self._start(child, now)
                stop.wait(_POLL)
            return 0
        finally:
            self._stop()

    def fallen(self) -> tuple[str, ...]:
        """The children that are not there now."""
        return tuple(child.name for child in self.children if not child.alive())

    def _start(self, child: Child, now: float) -> None:
        environment = {**os.environ, **self.environment, SUPERVISED: "1", "CUTOVER_PROCESS": child.name}
        child.started = now
        child.process = subprocess.Popen(
            [*self.program, *child.arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stderr=self.stderr,
            start_new_session=True,  # Ctrl-C in the terminal is ours to pass on, once
        )
        _LOG.debug("%s started as process %d", child.name, child.process.pid)

    def _ended(self, child: Child, now: float) -> int | None:
        """Decide when a child that ended starts again; an exit code when there is no point."""
        assert child.process is not None
        code = child.process.returncode
        _close(child.process)
        child.process = None
        if code in (Refused.exit_code, UsageError.exit_code):  # the flags were right: the plan's files are not, now
            if not child.refused:
                _LOG.error("%s was refused; asking again every %.0f s", child.name, _REFUSED)
            child.refused, child.due = True, now + _REFUSED
            if not all(each.refused and not each.alive() for each in self.children if not each.aside):
                return None
            _LOG.error("every process was refused, so this one ends: cutover doctor says why; then start it again")
            return code
        if now - child.started > _STEADY:
            child.delay = _BACKOFF[0]
        self.restarts += 1
        child.refused, child.due = False, now + child.delay
        _LOG.warning("%s ended with %s; starting it again in %.1f s", child.name, _outcome(code), child.delay)
        child.delay = min(child.delay * 2, _BACKOFF[1])
        return None

    def _stop(self) -> None:
        """Tell all children, let them finish the batch in hand, and end those that do not."""
        running = [child.process for child in self.children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + _GRACE
        for process in running:
            try:
                process.wait(max(deadline - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                _LOG.warning("process %d did not finish in %.0f s and was ended", process.pid, _GRACE)
                process.kill()
                process.wait()
            _close(process)


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def _outcome(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
