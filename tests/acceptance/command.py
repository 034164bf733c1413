"""Runs the command line in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.acceptance.hatchery import hatchery

_ROOT = Path(__file__).parents[2]
_TIMEOUT = 120.0
_LOOK = 0.05


def _read_at_start(environment: Mapping[str, str]) -> bool:
    """Are there variables that only a new interpreter, or a new import, would see?"""
    return any(
        name == "CUTOVER_FAULT" or (name.startswith(("PYTHON", "LD_", "SSL_")) and os.environ.get(name) != value)
        for name, value in environment.items()
        if name != "PYTHONPATH"
    )


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.out)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Standard error as one JSON object a line, which it must be where there is no terminal."""
        return [json.loads(line) for line in self.err.splitlines()]

    @property
    def said(self) -> str:
        """All messages, cures and hints, as text."""
        return "\n".join(f"{line['message']}\n{line.get('cure', '')}\n{line.get('hint', '')}" for line in self.messages)


@dataclass(slots=True)
class Running:
    """A command that runs."""

    process: subprocess.Popen[str]
    log: Path

    def wait_for(self, text: str, seconds: float = 60.0) -> None:
        """Wait until its standard error has the text."""
        deadline = time.monotonic() + seconds
        while text not in self.log.read_text():
            assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.log.read_text()}"
            assert time.monotonic() < deadline, f"never said {text!r}: {self.log.read_text()}"
            time.sleep(_LOOK)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it; returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)


@dataclass(slots=True)
class Cli:
    """`cutover` with these variables, in this folder. The installation under test is this checkout."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    hatched: bool = True  # may `run` fork a process that has imported the command already?

    def run(self, *arguments: str, code: int | None = 0, seconds: float = _TIMEOUT, **variables: str) -> Ran:
        """Run to its end, within `seconds`, and check its exit code (None: any)."""
        environment = self._environment(variables)
        if self.hatched and arguments[:1] != ("demo",) and not _read_at_start(environment):
            ran = Ran(*hatchery().run(arguments, self.folder, environment, seconds))
        else:
            done = subprocess.run(
                self._command(arguments),
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=seconds,
            )
            ran = Ran(done.returncode, done.stdout, done.stderr)
        assert code is None or ran.code == code, f"{arguments} ended with {ran.code}: {ran.out}\n{ran.err}"
        return ran

    @contextmanager
    def start(self, *arguments: str, **variables: str) -> Iterator[Running]:
        """Run it beside the test; killed afterwards if it is still there."""
        log = self.folder / f"{'-'.join(arguments)}-{time.monotonic_ns()}.log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                self._command(arguments),
                cwd=self.folder,
                env=self._environment(variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stream,
                text=True,
            )
        try:
            yield Running(process, log)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(40)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def eventually(self, *arguments: str, code: int = 0, seconds: float = 90.0) -> Ran:
        """Run it again and again until it ends with this exit code."""
        deadline = time.monotonic() + seconds
        while True:
            ran = self.run(*arguments, code=None)
            if ran.code == code:
                return ran
            assert time.monotonic() < deadline, f"{arguments} still ends with {ran.code}: {ran.out}\n{ran.err}"

    def _command(self, arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "cutover", *arguments]

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        ours = ("CUTOVER_", "PG")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {**inherited, "PYTHONPATH": str(_ROOT), **self.variables, **variables}
