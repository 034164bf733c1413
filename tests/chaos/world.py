"""The world of one run: servers of its own behind proxies, the demo's live workload, the service's processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from psycopg import conninfo

from cutover.demo.stage import Stage, stage
from cutover.demo.traffic import Orders, Traffic
from cutover.plan import load_plan
from cutover.settings import Settings
from sql.connection import Connection, connect
from sql.errors import Unreachable
from tests.chaos.crew import Crew
from tests.chaos.proxy import Proxy
from tests.services.kafka import LocalKafka
from tests.services.postgres import LocalPostgres

ROWS, WRITERS, RATE = 1_500, 3, 25.0
CONSUMERS = ("consume-1", "consume-2")
_MEMBERS = {"capture": ["capture"], "refresh": ["refresh"], **{name: ["consume"] for name in CONSUMERS}}


class ProxiedKafka(LocalKafka):
    """A broker that says it lives at a proxy, so that everybody goes there."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__()
        proxy.target = self._port
        self.bootstrap = f"127.0.0.1:{proxy.port}"

    def _settings(self, controller: int) -> dict[str, str]:
        settings = super()._settings(controller)
        own = f"PLAINTEXT://127.0.0.1:{self._port}"
        return settings | {
            "listeners": settings["listeners"].replace(f"PLAINTEXT://{self.bootstrap}", own),
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
        }


@dataclass(slots=True)
class World:
    """Everything that a fault may be done to."""

    server: LocalPostgres
    postgres_proxy: Proxy
    kafka: ProxiedKafka | None
    kafka_proxy: Proxy | None
    stage: Stage
    crew: Crew
    traffic: Traffic
    plan: str
    unfinished_backfill: bool = False

    @property
    def log_file(self) -> Path | None:
        address = self.stage.settings.log
        return Path(address.removeprefix("sqlite:///")) if address.startswith("sqlite:") else None

    def connect(self, timeout: float = 60) -> Connection:
        """A session of the run's own, past the proxy; waits for a server that is coming up."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return connect(self.stage.settings.dsn, "chaos", statement_timeout="150s")
            except Unreachable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def recover(self, seconds: float) -> float:
        """Wait until everything that is committed now is applied; how long that took, in seconds."""
        began = time.monotonic()
        wait = "SELECT cutover.wait_for(pg_current_wal_insert_lsn(), %s, NULL, %s)"
        with self.connect() as conn:
            conn.execute(wait, (self.plan, f"{seconds} seconds"))
        return time.monotonic() - began


@contextmanager
def world(version: int, log: str, folder: Path) -> Iterator[World]:
    """A prepared and backfilled SoleFlipper under live writers, with the service running over `log` (sqlite, kafka)."""
    with ExitStack() as stack:
        server = stack.enter_context(LocalPostgres(version))
        postgres_proxy = stack.enter_context(Proxy(server.port))
        kafka = kafka_proxy = None
        address = f"sqlite:///{folder / 'log.db'}"
        if log == "kafka":
            kafka_proxy = stack.enter_context(Proxy())
            kafka = stack.enter_context(ProxiedKafka(kafka_proxy))
            address = kafka.address
        ready = stack.enter_context(stage(Settings.read(dsn=server.dsn, log=address)))
        with connect(ready.settings.dsn, "chaos") as conn:
            ready.workload.seed(conn, ROWS)
            conn.execute("ANALYZE")
        plan = load_plan(ready.settings.plan).name
        proxied = conninfo.make_conninfo(ready.settings.dsn, port=postgres_proxy.port)
        crew = Crew(Settings.read(dsn=proxied, log=address, plan=ready.settings.plan).environment(), {})
        stack.callback(crew.close)
        traffic = _traffic(stack, ready, ready.stderr)
        for command in (("prepare", "--set-identity"), ("backfill",)):
            code, said = crew.run(*command)
            assert code == 0, said
            for name, arguments in _MEMBERS.items():
                if name not in crew.members:
                    crew.add(name, arguments)
        it = World(server, postgres_proxy, kafka, kafka_proxy, ready, crew, traffic, plan)
        it.recover(60)
        yield it


def _traffic(stack: ExitStack, ready: Stage, stderr: IO[bytes]) -> Traffic:
    traffic = Traffic(Orders(ready.settings.dsn, ready.settings.plan, WRITERS, RATE), stderr)
    stack.callback(traffic.close)
    traffic.wait_ready()
    return traffic
