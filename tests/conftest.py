"""What every test may ask for: a server of each version, a fresh database, both logs, a plan's name.

Select with -k: "pg15", "pg18", "sqlite", "kafka" are parts of the tests' names.
"""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services.choose import Services
from tests.services.databases import fresh_database
from tests.services.kafka import KafkaServer
from tests.services.postgres import PostgresServer
from tests.services.topics import delete_topics_of

VERSIONS = {"pg15": 15, "pg18": 18}
SERVICES = pytest.StashKey[Services]()
TOLD = pytest.StashKey[set[str]]()


def pytest_configure() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and so would all that the tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of pytest-xdist tells its servers to the process that prints."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["services"] = _described(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash.setdefault(TOLD, set()).update(getattr(node, "workeroutput", {}).get("services", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which servers the tests ran against."""
    if lines := sorted({*_described(config), *config.stash.get(TOLD, set())}):
        terminalreporter.write_line("services: " + ", ".join(lines))


def _described(config: pytest.Config) -> list[str]:
    services = config.stash.get(SERVICES, None)
    return services.describe() if services else []


@pytest.fixture(scope="session")
def services(request: pytest.FixtureRequest) -> Iterator[Services]:
    """The servers of this session, each started when it is first asked for."""
    services = Services()
    request.config.stash[SERVICES] = services
    yield services
    services.close()


@pytest.fixture(params=list(VERSIONS))
def server(request: pytest.FixtureRequest, services: Services) -> PostgresServer:
    """PostgreSQL 15, then 18, shared by all tests: never stop it."""
    return services.postgres(VERSIONS[request.param])


@pytest.fixture
def dsn(server: PostgresServer) -> Iterator[str]:
    """The superuser's connection to a fresh database."""
    with fresh_database(server) as dsn:
        yield dsn


@pytest.fixture(params=list(VERSIONS))
def own_server(request: pytest.FixtureRequest, services: Services) -> Iterator[PostgresServer]:
    """PostgreSQL 15, then 18, for this test alone: stop, kill and freeze it as you like."""
    with services.own_postgres(VERSIONS[request.param]) as server:
        yield server


@pytest.fixture
def kafka(services: Services) -> KafkaServer:
    """Kafka, shared by all tests: never stop it."""
    return services.kafka()


@pytest.fixture
def own_kafka(services: Services) -> Iterator[KafkaServer]:
    """Kafka for this test alone: stop, kill and freeze it as you like."""
    with services.own_kafka() as kafka:
        yield kafka


@pytest.fixture
def plan_name() -> str:
    """A plan's name that nobody else uses."""
    return f"t{secrets.token_hex(5)}"


@pytest.fixture(params=["sqlite", "kafka"])
def log_address(request: pytest.FixtureRequest, tmp_path: Path, plan_name: str, services: Services) -> Iterator[str]:
    """The address of a log: a new SQLite file, then Kafka. Topics of `plan_name` are gone after the test."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'log.db'}"
        return
    kafka = services.kafka()
    yield kafka.address
    delete_topics_of(kafka, plan_name)
