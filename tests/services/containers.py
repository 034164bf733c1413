"""PostgreSQL and Kafka in containers, for machines where a container engine answers."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Mapping
from functools import cache
from types import TracebackType
from typing import Any, Literal, Self

import psycopg
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient

from cutover.embedded import StopMode, free_port
from tests.services import kafka, postgres
from tests.services.missing import ServiceMissing

_PASSWORD = "throwaway"
_SIGNALS: dict[StopMode, str] = {"smart": "SIGTERM", "fast": "SIGINT", "immediate": "SIGQUIT"}


class Container:
    """A container on a fixed free port of this machine: the port outlives stop and start. A context manager."""

    where = "container"

    def __init__(self, image: str, port: int, environment: Mapping[str, str], command: str | None = None) -> None:
        client = _engine()
        _ensure_image(client, image)
        self._host = str(client.host())
        self._port = free_port()
        self._container = DockerContainer(image).with_bind_ports(port, self._port)
        for name, value in environment.items():
            self._container.with_env(name, value)
        if command is not None:
            self._container.with_command(command)

    def __enter__(self) -> Self:
        self._container.start()
        try:
            self._wait_until_ready()
        except BaseException:
            self._container.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.resume()
        self._container.stop()

    def start(self) -> None:
        self._handle().start()
        self._wait_until_ready()

    def kill(self) -> None:
        self._end("SIGKILL")

    def pause(self) -> None:
        self._handle().pause()

    def resume(self) -> None:
        handle = self._handle()
        handle.reload()
        if handle.status == "paused":
            handle.unpause()

    def _end(self, number: str) -> None:
        handle = self._handle()
        handle.kill(number)
        handle.wait(timeout=60)

    def _handle(self) -> Any:
        """The engine's own container object."""
        return self._container.get_wrapped_container()

    def _wait_until_ready(self) -> None:
        raise NotImplementedError


class ContainerPostgres(Container):
    """PostgreSQL in the official image."""

    def __init__(self, version: int) -> None:
        settings = " ".join(f"-c {name}={value}" for name, value in postgres.SETTINGS.items())
        super().__init__(f"postgres:{version}", 5432, {"POSTGRES_PASSWORD": _PASSWORD}, f"postgres {settings}")
        self.version = version

    @property
    def dsn(self) -> str:
        return self.dsn_of("postgres")

    def dsn_of(self, database: str) -> str:
        return f"postgresql://postgres:{_PASSWORD}@{self._host}:{self._port}/{database}"

    def stop(self, mode: StopMode = "fast") -> None:
        self._end(_SIGNALS[mode])

    def _wait_until_ready(self) -> None:
        # Over TCP: the server that runs the image's first steps listens on its socket only.
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.dsn, connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise ServiceMissing(f"PostgreSQL {self.version} in its container does not answer") from error
                time.sleep(0.1)
            else:
                return


class ContainerKafka(Container):
    """Kafka in Apache's own image; the library's container knows only the scripts of another vendor's."""

    def __init__(self) -> None:
        settings = kafka.SETTINGS | {
            "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
            "controller.quorum.voters": "1@localhost:9093",
        }
        environment = {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in settings.items()}
        super().__init__(f"apache/kafka:{kafka.VERSION}", 9092, environment)
        self.bootstrap = f"{self._host}:{self._port}"
        self._container.with_env("KAFKA_ADVERTISED_LISTENERS", f"PLAINTEXT://{self.bootstrap}")
        self._container.with_env("KAFKA_HEAP_OPTS", "-Xms128m -Xmx512m")

    @property
    def address(self) -> str:
        return f"kafka://{self.bootstrap}"

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        self._end("SIGTERM" if mode == "fast" else "SIGKILL")

    def _wait_until_ready(self) -> None:
        kafka.wait_until_ready(self.bootstrap, timeout=90)


@cache
def _engine() -> DockerClient:
    """The engine's client; ServiceMissing when none answers."""
    # A client that finds no engine leaves its socket to the garbage collector, which warns.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        try:
            client = DockerClient(timeout=60)
            client.client.ping()
        except Exception as error:  # the client raises what its transport raises, too
            reason = f"no container engine answers ({type(error).__name__}; start Docker, or set DOCKER_HOST)"
        else:
            return client
        gc.collect()
    raise ServiceMissing(reason)


def _ensure_image(client: DockerClient, image: str) -> None:
    from docker.errors import DockerException, ImageNotFound

    try:
        try:
            client.client.images.get(image)
        except ImageNotFound:
            client.client.images.pull(image)
    except DockerException as error:
        raise ServiceMissing(f"the container engine cannot get the image {image}: {error}") from error
