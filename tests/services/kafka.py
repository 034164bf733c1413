"""Kafka brokers: one that is given, or one of our own from Maven's jars."""

from __future__ import annotations

import base64
import fcntl
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from cutover.embedded import Guard, free_port
from tests.services.memory import in_memory
from tests.services.missing import ServiceMissing

VERSION = "4.1.0"
HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".services"

# One broker that is its own controller, for tests: small, and quick to forget what was deleted.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    # A killed broker may register again only when its last session is over: 9 s by default.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # A topic that nobody created is a bug that must show.
    "auto.create.topics.enable": "false",
    "log.segment.delete.delay.ms": "1000",
    "log.retention.check.interval.ms": "1000",
}

_JAVA = ("java", "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")


class KafkaServer(Protocol):
    """A broker, and the faults that can be done to it. Of a given broker only the address may be used."""

    where: str
    bootstrap: str

    @property
    def address(self) -> str:
        """The address as a log: kafka://host:port."""

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it, in order or at once; its data and its address stay."""

    def start(self) -> None:
        """Start it again after `stop` or `kill`; returns when it answers."""

    def kill(self) -> None:
        """SIGKILL."""

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""

    def resume(self) -> None:
        """Undo `pause`."""


class LocalKafka:
    """A broker of our own on a free port, gone with the tests, also when they are killed. A context manager."""

    where = "local"

    def __init__(self, sharing: str | None = None) -> None:
        """`sharing`: the JVM's option about an archive of classes; by default it uses Kafka's."""
        self._jars = broker_jars()
        self._sharing = sharing or f"-XX:SharedArchiveFile={_class_archive()}"
        self._port = free_port()
        self.bootstrap = f"127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="cutover-kafka-", dir=in_memory()))
        self._guard = Guard(self._folder, end_with="KILL")

    @property
    def address(self) -> str:
        return f"kafka://{self.bootstrap}"

    def __enter__(self) -> Self:
        try:
            self._format()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_JAVA, self._sharing, *self._classpath(), "kafka.Kafka", "server.properties"],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._guard.watch(self._process.pid)
        try:
            wait_until_ready(self.bootstrap, timeout=60, alive=self._alive)
        except ServiceMissing as error:
            raise ServiceMissing(f"{error}\n{self._log_end()}") from None

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        self._end(signal.SIGTERM if mode == "fast" else signal.SIGKILL)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def limit_files(self, size: int) -> None:
        """A full disk: no file of the broker grows beyond `size` bytes, until it is started again."""
        assert self._process is not None
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, hard))

    def wait_for_end(self, seconds: float) -> None:
        """Wait until the broker has ended by itself; subprocess.TimeoutExpired."""
        assert self._process is not None
        self._process.wait(seconds)
        self._process = None
        self._guard.watch(None)

    def save(self) -> None:
        """Keep its files as they are, like a snapshot of its disk. It must be stopped."""
        shutil.rmtree(self._folder / "saved", ignore_errors=True)
        shutil.copytree(self._folder / "data", self._folder / "saved")

    def set_back(self) -> None:
        """Give it the files back that were saved. It must be stopped."""
        shutil.rmtree(self._folder / "data")
        shutil.copytree(self._folder / "saved", self._folder / "data")

    def leader_epochs(self, topic: str, partition: int) -> int:
        """How many leader epochs the records of a partition are of: each restart of the broker begins another one."""
        lines = (self._folder / "data" / f"{topic}-{partition}" / "leader-epoch-checkpoint").read_text().splitlines()
        return int(lines[1])  # the version, the number of entries, the entries

    def close(self) -> None:
        """End the broker and remove its folder."""
        self._end(signal.SIGKILL)
        self._guard.close()

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.wait(60)
        self._process = None
        self._guard.watch(None)

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _format(self) -> None:
        """Write the configuration and an empty store of a new cluster."""
        text = "".join(f"{name}={value}\n" for name, value in self._settings(free_port()).items())
        (self._folder / "server.properties").write_text(text)
        if not (users := self._users()):
            self._fill(_empty_store(self._jars))
            return
        _run_format(self._jars, self._folder, users)

    def _fill(self, store: Mapping[str, bytes]) -> None:
        """An empty store under identities of its own: Kafka's tool costs a second of a processor for each."""
        (self._folder / "data").mkdir()
        for name, content in store.items():
            for what in (b"cluster", b"directory"):
                content = re.sub(rb"(?m)(?<=^%b\.id=).*$" % what, _cluster_id().encode(), content)
            (self._folder / "data" / name).write_bytes(content)

    def _settings(self, controller: int) -> dict[str, str]:
        return SETTINGS | {
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": str(self._folder / "data"),
        }

    def _users(self) -> list[str]:
        """Options of the formatting that make users; none."""
        return []

    def _classpath(self) -> list[str]:
        return _classpath(self._jars)

    def _log_end(self) -> str:
        return "\n".join((self._folder / "log").read_text(errors="replace").splitlines()[-15:])


class GivenKafka:
    """A broker somebody gave us the address of, shared with others: it is never stopped."""

    where = "given"

    def __init__(self, address: str) -> None:
        self.address = address
        self.bootstrap = address.removeprefix("kafka://").partition("?")[0]
        wait_until_ready(self.bootstrap, timeout=10)

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        raise _not_ours()

    def start(self) -> None:
        raise _not_ours()

    def kill(self) -> None:
        raise _not_ours()

    def pause(self) -> None:
        raise _not_ours()

    def resume(self) -> None:
        raise _not_ours()


def broker_jars() -> Path:
    """The folder of the broker's jars, fetched by Maven into the checkout's cache the first time.

    Raises ServiceMissing without Java or Maven, or when Maven cannot fetch.
    """
    folder = CACHE / f"kafka-{VERSION}"
    if shutil.which("java") is None:
        raise ServiceMissing("Kafka needs Java (apt-get install default-jre-headless maven)")
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _fetch_jars(folder)
    return folder


@cache
def _class_archive() -> Path:
    """Kafka's classes as the JVM maps them, left by one broker's run: every other one starts in half the time.

    A JVM that it does not suit reads the jars, as without it.
    """
    archive = CACHE / f"kafka-{VERSION}.jsa"
    with (CACHE / "archive-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            unfinished = archive.with_suffix(".part")
            with LocalKafka(f"-XX:ArchiveClassesAtExit={unfinished}") as broker:
                broker.stop()
            if unfinished.exists():
                os.replace(unfinished, archive)
    return archive


def wait_until_ready(bootstrap: str, timeout: float, alive: Callable[[], bool] = lambda: True) -> None:
    """Return once the broker answers; ServiceMissing after `timeout` seconds, or when `alive()` is false."""
    deadline = time.monotonic() + timeout
    while not _answers(bootstrap):
        if not alive():
            raise ServiceMissing("the Kafka broker ended at its start")
        if time.monotonic() > deadline:
            raise ServiceMissing(f"no Kafka broker answers at {bootstrap}")
        time.sleep(0.1)


def _answers(bootstrap: str) -> bool:
    """Asks for the topics: a socket that accepts is not yet a broker that knows of itself."""
    host, _, port = bootstrap.partition(",")[0].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
        admin = KafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5000)
    except (OSError, KafkaError):
        return False
    try:
        admin.list_topics()
    except KafkaError:
        return False
    finally:
        admin.close()
    return True


def _fetch_jars(folder: Path) -> None:
    if shutil.which("mvn") is None:
        raise ServiceMissing("Kafka's jars need Maven (apt-get install default-jre-headless maven)")
    unfinished = folder.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={unfinished}", "-DincludeScope=runtime"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServiceMissing(f"Maven could not fetch Kafka's jars:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    os.replace(unfinished, folder)


def _classpath(jars: Path) -> list[str]:
    return [f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}", "-cp", f"{jars}/*"]


def _run_format(jars: Path, folder: Path, users: list[str]) -> None:
    """Make the store that `server.properties` in this folder says."""
    command = [*_JAVA, *_classpath(jars), "kafka.tools.StorageTool", "format"]
    command += ["-t", _cluster_id(), "-c", "server.properties", *users]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServiceMissing(f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}")


@cache
def _empty_store(jars: Path) -> dict[str, bytes]:
    """The files of a store that Kafka's own tool has made, by name."""
    with tempfile.TemporaryDirectory(prefix="cutover-kafka-") as name:
        folder = Path(name)
        settings = SETTINGS | {
            "listeners": "PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2",
            "controller.quorum.voters": "1@127.0.0.1:2",
            "log.dirs": str(folder / "data"),
        }
        text = "".join(f"{key}={value}\n" for key, value in settings.items())
        (folder / "server.properties").write_text(text)
        _run_format(jars, folder, [])
        return {file.name: file.read_bytes() for file in (folder / "data").iterdir()}


def _cluster_id() -> str:
    """A random uuid as Kafka writes it; one that begins with a dash would read as an option."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def _not_ours() -> ServiceMissing:
    return ServiceMissing("Kafka was given and is not ours to stop; a fault test takes `own_kafka`")
