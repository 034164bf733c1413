"""Which servers the tests get: given ones, else containers, else processes of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

from tests.services.kafka import GivenKafka, KafkaServer, LocalKafka
from tests.services.missing import ServiceMissing
from tests.services.postgres import GivenPostgres, LocalPostgres, PostgresServer

T = TypeVar("T")
Start = Callable[[], AbstractContextManager[T]]

KAFKA_ADDRESS = "CUTOVER_TEST_KAFKA"
KINDS = "CUTOVER_TEST_SERVICES"


def postgres_address(version: int) -> str:
    """The variable that gives a PostgreSQL of this major version."""
    return f"CUTOVER_TEST_PG{version}"


class Services:
    """The servers that all tests of a session share, each started when it is first needed.

    CUTOVER_TEST_PG15, CUTOVER_TEST_PG18 and CUTOVER_TEST_KAFKA give servers; CUTOVER_TEST_SERVICES=containers or
    =local leaves the other kind out. What cannot be had raises ServiceMissing, with each way tried and its cure.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ, settings: Mapping[str, str] | None = None) -> None:
        self._environment = environment
        self._settings = settings  # of PostgreSQL servers that are processes of this machine
        self._stack = ExitStack()
        self._postgres: dict[int, PostgresServer] = {}
        self._kafka: KafkaServer | None = None
        self._missing: dict[str, ServiceMissing] = {}

    def postgres(self, version: int) -> PostgresServer:
        """The session's PostgreSQL of this major version."""
        if version not in self._postgres:
            given = self._environment.get(postgres_address(version))
            self._postgres[version] = (
                GivenPostgres(version, given) if given else self._stack.enter_context(self.own_postgres(version))
            )
        return self._postgres[version]

    def kafka(self) -> KafkaServer:
        """The session's Kafka."""
        if self._kafka is None:
            given = self._environment.get(KAFKA_ADDRESS)
            self._kafka = GivenKafka(given) if given else self._stack.enter_context(self.own_kafka())
        return self._kafka

    def own_postgres(self, version: int) -> AbstractContextManager[PostgresServer]:
        """A PostgreSQL for one test, which may stop it."""

        def container() -> AbstractContextManager[PostgresServer]:
            from tests.services.containers import ContainerPostgres

            return ContainerPostgres(version)

        return self._first(
            f"PostgreSQL {version}",
            postgres_address(version),
            container,
            lambda: LocalPostgres(version, self._settings),
        )

    def own_kafka(self) -> AbstractContextManager[KafkaServer]:
        """A Kafka for one test, which may stop it."""

        def container() -> AbstractContextManager[KafkaServer]:
            from tests.services.containers import ContainerKafka

            return ContainerKafka()

        return self._first("Kafka", KAFKA_ADDRESS, container, LocalKafka)

    def describe(self) -> list[str]:
        """One line per server that was started or used."""
        lines = [f"PostgreSQL {version}: {server.where}" for version, server in sorted(self._postgres.items())]
        if self._kafka is not None:
            lines.append(f"Kafka: {self._kafka.where}")
        return lines

    def close(self) -> None:
        """End every server that is ours."""
        self._stack.close()

    @contextmanager
    def _first(self, what: str, variable: str, container: Start[T], local: Start[T]) -> Iterator[T]:
        """The first kind of server that can be had."""
        # Asked once: finding out anew for every test that Maven cannot fetch would take all day.
        if what in self._missing:
            raise self._missing[what]
        reasons: list[str] = []
        with ExitStack() as stack:
            for start in self._kinds(container, local):
                try:
                    server = stack.enter_context(start())
                except ServiceMissing as error:
                    reasons.append(str(error))
                else:
                    yield server
                    return
            self._missing[what] = ServiceMissing(
                f"the tests need {what}, and it cannot be had:\n"
                + "".join(f"- {reason}\n" for reason in reasons)
                + f"- or give one: {variable}=…"
            )
            raise self._missing[what]

    def _kinds(self, container: Start[T], local: Start[T]) -> Sequence[Start[T]]:
        wanted = self._environment.get(KINDS, "")
        kinds = {"": [container, local], "containers": [container], "local": [local]}
        if wanted not in kinds:
            raise ServiceMissing(f"{KINDS} is containers or local, not {wanted!r}")
        return kinds[wanted]
