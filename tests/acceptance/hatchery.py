"""Commands that start already imported: a process that has the command line in memory forks one for each call.

Each command is still a process of its own, with its own arguments, variables, folder and end. What it saves is the
interpreter's start and the imports, which cost ten times what most commands do. What runs beside a test (`Cli.start`)
and `test_cli.py` start as users start them.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO

_ROOT = Path(__file__).parents[2]
_REQUEST = 1 << 20


class Hatchery:
    """The process that forks. It ends with this one, of whose death it hears on standard input."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="cutover-hatchery-")
        self._address = str(Path(self._folder.name) / "socket")
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, self._address],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        atexit.register(self.close)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def run(
        self, arguments: tuple[str, ...], folder: Path, environment: dict[str, str], seconds: float
    ) -> tuple[int, str, str]:
        """Exit code (negative: the signal), standard output and error. subprocess.TimeoutExpired: it was killed."""
        request = json.dumps({"arguments": arguments, "folder": str(folder), "environment": environment}).encode()
        with (
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as call,
        ):
            call.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _REQUEST)
            call.connect(self._address)
            socket.send_fds(call, [request], [out.fileno(), err.fileno()])
            pid = int(call.recv(64))
            call.settimeout(seconds)
            try:
                code = int(call.recv(64))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(arguments, seconds, _text(out).encode(), _text(err).encode()) from None
            return code, _text(out), _text(err)


@cache
def hatchery() -> Hatchery:
    """This process's own."""
    return Hatchery()


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _serve(address: str) -> list[str] | None:
    """Fork for every call. Returns in a command, with its arguments; and here once nobody can call any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the nurses reap the commands, and nobody need reap the nurses
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            call, _ = listener.accept()
            with call:
                if os.fork():
                    continue
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return _nurse(call)
    shutil.rmtree(Path(address).parent, ignore_errors=True)  # whoever made it was killed
    return None


def _nurse(call: socket.socket) -> list[str] | None:
    """Fork the command, tell its process id and in the end its exit code. Returns in the command alone."""
    request, files, _, _ = socket.recv_fds(call, _REQUEST, 2)
    if pid := os.fork():
        call.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        with suppress(OSError):  # whoever called has gone
            call.send(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), *files)):
        os.dup2(file, number)
        os.close(file)
    told = json.loads(request)
    os.chdir(told["folder"])
    os.environ.clear()
    os.environ.update(told["environment"])
    return list(told["arguments"])


def _main(address: str) -> None:
    from cutover import cli

    for group in cli.GROUPS:
        import_module(f"cutover.commands.{group}")
    gc.collect()
    gc.freeze()  # what is shared is not written to
    if (arguments := _serve(address)) is not None:
        sys.argv[1:] = arguments
        cli.main()


if __name__ == "__main__":
    _main(sys.argv[1])
