"""The service's processes under chaos: each is started again at once when it ends, as an init system would."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO

from cutover.signals import SUPERVISED
from sql.errors import Gap, Unreachable

_LOOK = 0.05
_AGAIN = 0.2  # seconds before a process that ended is started again
_GRACE = 40.0
_KEPT = 60  # lines of each process
_STARTING = 30.0  # seconds in which a process may find that a server is away, and end with this code
_AWAY = Unreachable.exit_code


@dataclass(frozen=True, slots=True)
class Fall:
    """A process that ended though nobody killed it: what chaos must not bring about."""

    name: str
    code: int
    said: Sequence[str]


@dataclass(slots=True)
class Member:
    """One process, and its next start's armed fault point."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    ended: float = 0.0
    fault: str | None = None
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))


class Crew:
    """Runs processes of the command line until closed. `environment` holds their settings."""

    def __init__(self, environment: Mapping[str, str], members: Mapping[str, Sequence[str]]) -> None:
        self._environment = {**os.environ, **environment, SUPERVISED: "1"}
        self.members = {name: Member(name, arguments) for name, arguments in members.items()}
        self.falls: list[Fall] = []
        self.starts = 0
        self.in_vain = 0  # starts that found a server away
        self.refused = 0  # ends with the exit code of a gap, while there was one
        self._gap_until = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="crew", daemon=True)
        self._keeper.start()

    def pid(self, name: str) -> int:
        """The process id of a member; waits for it to be started."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            process = self.members[name].process
            if process is not None and process.poll() is None:
                return process.pid
            time.sleep(_LOOK)
        raise AssertionError(f"{name} is not started")

    def signal(self, name: str, number: int) -> None:
        """Signal a member, if it is there."""
        with suppress(ProcessLookupError):
            os.kill(self.pid(name), number)

    def arm(self, name: str, point: str) -> None:
        """Kill a member; the next one dies at this point, `capture.after-append:3` the third time it comes there."""
        self.members[name].fault = point
        self.signal(name, signal.SIGKILL)

    def add(self, name: str, arguments: Sequence[str]) -> None:
        """Another process, until `remove`."""
        with self._lock:
            self.members[name] = Member(name, arguments)

    def remove(self, name: str, number: int) -> None:
        """End a process by this signal, for good."""
        with self._lock:
            member = self.members.pop(name)
        process = member.process
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(number)
        self._wait(member)

    @contextmanager
    def gap(self) -> Iterator[None]:
        """While changes are missing and nobody has decided, a process that refuses to work does what it should."""
        self._gap_until = math.inf
        try:
            yield
        finally:
            self._gap_until = time.monotonic()

    def run(self, *arguments: str, fault: str | None = None, timeout: float = 120) -> tuple[int, str]:
        """One command to its end: exit code, and all that it said."""
        environment = self._environment | ({"CUTOVER_FAULT": fault} if fault else {})
        environment.pop(SUPERVISED)
        command = [sys.executable, "-m", "cutover", *arguments]
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def close(self) -> None:
        """Stop all of them in order; one that does not is a fall."""
        self._stop.set()
        self._keeper.join()
        for member in self.members.values():
            if member.process is not None:
                with suppress(ProcessLookupError):
                    member.process.send_signal(signal.SIGCONT)
                    member.process.terminate()
        for member in self.members.values():
            self._wait(member)

    def _keep(self) -> None:
        while not self._stop.wait(_LOOK):
            with self._lock:
                for member in self.members.values():
                    self._look_after(member)

    def _look_after(self, member: Member) -> None:
        now = time.monotonic()
        if member.process is not None and member.process.poll() is not None:
            self._ended(member)
            member.ended = now
        if member.process is None and now - member.ended >= _AGAIN:
            self._start(member)

    def _start(self, member: Member) -> None:
        environment = self._environment | {"CUTOVER_PROCESS": member.name}
        if member.fault is not None:
            environment["CUTOVER_FAULT"], member.fault = member.fault, None
        member.process = subprocess.Popen(
            [sys.executable, "-m", "cutover", *member.arguments],
            env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self.starts += 1
        member.started = time.monotonic()
        assert member.process.stderr is not None
        threading.Thread(target=_listen, args=(member.process.stderr, member.lines), daemon=True).start()

    def _ended(self, member: Member) -> None:
        assert member.process is not None
        assert member.process.stdin is not None
        code = member.process.returncode
        member.process.stdin.close()
        member.process = None
        if code == _AWAY and time.monotonic() - member.started < _STARTING:
            self.in_vain += 1
        elif code == Gap.exit_code and member.started < self._gap_until > time.monotonic() - _STARTING:
            self.refused += 1
        elif code != -signal.SIGKILL:
            self.falls.append(Fall(member.name, code, tuple(member.lines)))

    def _wait(self, member: Member) -> None:
        process = member.process
        if process is None:
            return
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.falls.append(Fall(member.name, 0, ("does not stop when it is told to", *member.lines)))
            process.kill()
            process.wait()
        # One that had hardly begun is ended by SIGTERM itself, is interrupted, or finds a server away.
        early = process.returncode in (-signal.SIGTERM, _AWAY) or any('"interrupted"' in line for line in member.lines)
        if process.returncode not in (0, -signal.SIGKILL) and not early:
            self.falls.append(Fall(member.name, process.returncode, tuple(member.lines)))
        assert process.stdin is not None
        process.stdin.close()


def _listen(stream: IO[bytes], lines: deque[str]) -> None:
    """A pipe, not a file: a limit on the size of files must not keep a process from saying what is wrong."""
    with stream:
        for line in stream:
            lines.append(line.decode(errors="replace").rstrip())
