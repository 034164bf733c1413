"""A short run of chaos over each log, always the same schedule; `make chaos` does many more faults."""

from __future__ import annotations

import os
import signal
import socket
import threading

import pytest

from cutover.demo.plant import plant
from tests.chaos import run as chaos
from tests.chaos.__main__ import render
from tests.chaos.faults import KINDS, Kind, kinds
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import schedule
from tests.chaos.world import World

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

# These have no test of their own under a live service: the seeds below are of schedules that have them.
NEEDED = {
    "sqlite": {
        "file of the SQLite log removed", "sessions terminated one by one", "network to PostgreSQL half-open",
        "slot dropped",
    },
    "kafka": {"topic deleted", "disk of Kafka full", "network to Kafka half-open", "network to PostgreSQL cut"},
}  # fmt: skip


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without those that take half a minute by the server's own clocks, or two commands: they are for the long run."""
    for name in [name for name, kind in KINDS.items() if kind.weight == 0 or "backfill" in name]:
        monkeypatch.delitem(KINDS, name)


@pytest.mark.parametrize(
    ("log", "version", "seed"), [("sqlite", 18, 24), ("kafka", 15, 2007)], ids=["sqlite-pg18", "kafka-pg15"]
)
def test_nothing_is_lost_under_chaos(log: str, version: int, seed: int, brisk: None) -> None:
    outcome = chaos.run(log, seed, count=6, seconds=600, version=version)
    assert outcome.ok, render(outcome)
    assert outcome.faults.keys() >= NEEDED[log], f"another seed has them: {render(outcome)}"
    assert outcome.acknowledged > 100


@pytest.mark.filterwarnings("default")
def test_chaos_finds_what_is_lost(monkeypatch: pytest.MonkeyPatch, brisk: None) -> None:
    """A write that the stream never carries, and the ledger knows of: the run must not pass."""
    prove = chaos._prove

    def lose(it: World, outcome: chaos.Outcome, say: object) -> None:
        stop = it.traffic.stop

        def stopped() -> object:
            told = stop()
            plant(it.stage.settings.dsn, it.stage.workload, told.ledger, "loss")
            return told

        monkeypatch.setattr(it.traffic, "stop", stopped)
        prove(it, outcome, lambda text: None)

    monkeypatch.setattr(chaos, "_prove", lose)
    outcome = chaos.run("sqlite", seed=1, count=1, seconds=5, version=18, only="refresh killed")
    assert len(outcome.lost) == 1
    assert outcome.reconcile == 4
    assert not outcome.ok


def test_a_seed_is_its_schedule() -> None:
    weights = {name: kind.weight for name, kind in kinds("kafka").items()}
    assert schedule(7, weights, 300) == schedule(7, weights, 300)
    assert schedule(7, weights, 300)[:100] != schedule(8, weights, 300)[:100]
    assert {step.kind for step in schedule(7, weights, 100)} == set(weights)
    first, second = (schedule(7, weights, 30)[4].chance().random() for _ in range(2))
    assert first == second
    assert all(isinstance(kind, Kind) for kind in KINDS.values())


def test_the_proxy_does_what_it_says() -> None:
    """Open, it carries; cut, it resets; silent, it says nothing until the reset."""
    with socket.create_server(("127.0.0.1", 0)) as server, Proxy(server.getsockname()[1]) as proxy:
        threading.Thread(target=_echo, args=(server,), daemon=True).start()
        with _dial(proxy) as client:
            client.sendall(b"one")
            assert client.recv(3) == b"one"
            proxy.set("slow")
            client.sendall(b"two")
            assert client.recv(3) == b"two"
            proxy.set("cut")
            with pytest.raises(ConnectionError):
                _must_read(client)
        with pytest.raises(ConnectionError), _dial(proxy) as client:
            _must_read(client)
        proxy.set("open")
        with _dial(proxy) as client:
            client.sendall(b"six")
            assert client.recv(3) == b"six"
            proxy.set("silent")
            client.sendall(b"ten")
            client.settimeout(0.3)
            with pytest.raises(TimeoutError):
                client.recv(3)
            client.settimeout(10)
            proxy.set("open")
            with pytest.raises(ConnectionError):
                _must_read(client)


def _dial(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def _must_read(client: socket.socket) -> None:
    if not client.recv(3):
        raise ConnectionResetError


def _echo(server: socket.socket) -> None:
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_repeat, args=(client,), daemon=True).start()


def _repeat(client: socket.socket) -> None:
    with client:
        try:
            while data := client.recv(100):
                client.sendall(data)
        except OSError:
            return


def test_a_member_that_falls_is_told_of_and_started_again() -> None:
    """The crew tells a kill of its own from an end that nobody asked for."""
    from tests.chaos.crew import Crew

    crew = Crew({}, {"nonsense": ["no-such-command"]})
    try:
        first = crew.pid("nonsense")
        while crew.starts < 2:
            os.sched_yield()
    finally:
        crew.close()
    assert first
    assert crew.falls[0].code == 2
    assert crew.falls[0].code != -signal.SIGKILL
