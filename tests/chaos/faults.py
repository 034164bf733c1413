"""The faults: each does its harm to a world, undoes what is not for the service to mend, and returns.

A fault's randomness is its own, so that a schedule repeats. What lasts (a frozen process, a cut network) is over when
the function returns; that the stream goes on afterwards is nobody's doing but the service's.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Literal

import psycopg

from cdc.log import open_log
from sql.faultpoints import POINTS
from tests.chaos.doctor import heal
from tests.chaos.proxy import Mode, Proxy
from tests.chaos.world import CONSUMERS, World

Fault = Callable[[World, Random], None]
_BROKER_ENDS = 30.0  # seconds in which a broker whose disk is full finds out


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault, how often it comes (0: once in a run, for it takes half a minute), and the log that it is about."""

    harm: Fault
    weight: int
    log: Literal["kafka", "sqlite"] | None = None


def _kill(name: str) -> Fault:
    return lambda world, chance: world.crew.signal(name, signal.SIGKILL)


def _fault_point(member: str, part: str) -> Fault:
    """Die at a named point of the code, there where no signal could aim."""
    points = [point for point in POINTS if point.startswith(f"{part}.")]

    def harm(world: World, chance: Random) -> None:
        world.crew.arm(member, f"{chance.choice(points)}:{chance.randint(1, 4)}")
        time.sleep(chance.uniform(0.5, 2.0))

    return harm


def _backfill(world: World, chance: Random) -> None:
    """A backfill that is killed on its way, and one that goes on from there."""
    point = chance.choice([point for point in POINTS if point.startswith("backfill.")])
    world.unfinished_backfill = True
    code, said = world.crew.run("backfill", "--restart", fault=point)
    assert code in (-signal.SIGKILL, 5, 6), said
    code, said = world.crew.run("backfill")
    if code == 0:
        world.unfinished_backfill = False


def _restart_postgres(mode: Literal["fast", "immediate"]) -> Fault:
    def harm(world: World, chance: Random) -> None:
        world.server.stop(mode)
        time.sleep(chance.uniform(0.0, 1.5))
        world.server.start()

    return harm


def _terminate(world: World, chance: Random) -> None:
    """Every session of the database in turn, the application's too, walsenders included."""
    with world.connect() as conn:
        pids = conn.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
        for (pid,) in chance.sample(pids, len(pids)):
            conn.execute("SELECT pg_terminate_backend(%s)", (pid,))
            time.sleep(chance.uniform(0.0, 0.08))


def _stop_kafka(how: Literal["kill", "stop"]) -> Fault:
    def harm(world: World, chance: Random) -> None:
        assert world.kafka is not None
        (world.kafka.kill if how == "kill" else world.kafka.stop)()
        time.sleep(chance.uniform(0.0, 1.0))
        world.kafka.start()

    return harm


def _stall_kafka(shortest: float, longest: float) -> Fault:
    def harm(world: World, chance: Random) -> None:
        assert world.kafka is not None
        world.kafka.pause()
        time.sleep(chance.uniform(shortest, longest))
        world.kafka.resume()

    return harm


def _network(which: Literal["postgres", "kafka"], mode: Mode) -> Fault:
    def harm(world: World, chance: Random) -> None:
        proxy = world.postgres_proxy if which == "postgres" else world.kafka_proxy
        assert isinstance(proxy, Proxy)
        proxy.set(mode)
        time.sleep(chance.uniform(0.2, 3.0))
        proxy.set("open")

    return harm


def _disk_full(world: World, chance: Random) -> None:
    """Capture and refresh cannot make a file longer than it is, as on a disk that is full."""
    limit = chance.choice((4_096, 65_536, 1 << 20))
    with _file_limit(world.crew.pid("capture"), limit), _file_limit(world.crew.pid("refresh"), limit):
        time.sleep(chance.uniform(0.5, 2.5))


@contextmanager
def _file_limit(pid: int, size: int):  # type: ignore[no-untyped-def]
    """A limit on the files of a running process; it may have been killed meanwhile."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


def _kafka_disk_full(world: World, chance: Random) -> None:
    """The broker can make no file longer than this. It ends itself; there is room again, and somebody starts it."""
    assert world.kafka is not None
    world.kafka.limit_files(chance.choice((4_096, 65_536)))
    world.kafka.wait_for_end(_BROKER_ENDS)
    time.sleep(chance.uniform(0.0, 1.0))
    world.kafka.start()


def _come_and_go(world: World, chance: Random) -> None:
    """More consumers than partitions, gone again before they have settled: some in order, some not."""
    names = [f"guest-{number}" for number in range(chance.randint(1, 4))]
    for name in names:
        world.crew.add(name, ["consume"])
        time.sleep(chance.uniform(0.0, 0.5))
    time.sleep(chance.uniform(0.5, 1.5))
    for name in names:
        world.crew.remove(name, chance.choice((signal.SIGTERM, signal.SIGKILL)))


def _zombie(world: World, chance: Random) -> None:
    """A consumer stands still with a batch in hand, loses its session, and wakes when others have its partitions."""
    name = chance.choice(CONSUMERS)
    pid = world.crew.pid(name)
    _send(pid, signal.SIGSTOP)
    try:
        with world.connect() as conn:
            conn.execute(
                "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid"
                " WHERE a.application_name = %s AND l.locktype = 'advisory'", (f"cutover consume {world.plan}",),
            )  # fmt: skip
        world.recover(60)
    finally:
        _send(pid, signal.SIGCONT)


def _past_its_lease(world: World, chance: Random) -> None:
    """The same by the server's own clock: longer than `idle_session_timeout` and the keepalives allow."""
    pid = world.crew.pid(chance.choice(CONSUMERS))
    _send(pid, signal.SIGSTOP)
    time.sleep(32)
    _send(pid, signal.SIGCONT)


def _freeze(*names: str) -> Fault:
    def harm(world: World, chance: Random) -> None:
        pid = world.crew.pid(chance.choice(names))
        _send(pid, signal.SIGSTOP)
        time.sleep(chance.uniform(0.5, 4.0))
        _send(pid, signal.SIGCONT)

    return harm


def _second_capture(world: World, chance: Random) -> None:
    """C13: it waits for the slot; then the first is killed under it."""
    world.crew.add("capture-2", ["capture"])
    time.sleep(chance.uniform(1.0, 2.0))
    if chance.random() < 0.5:
        world.crew.signal("capture", signal.SIGKILL)
        time.sleep(0.5)
    world.crew.remove("capture-2", chance.choice((signal.SIGTERM, signal.SIGKILL)))


def _position_set_back(world: World, chance: Random) -> None:
    """A2: somebody edits a position by hand; its worker finds out, and what is applied again changes nothing."""
    back = chance.randint(1, 200)
    with world.connect() as conn:
        conn.execute(
            'UPDATE cutover.position SET "offset" = greatest(0, "offset" - %s)'
            " WHERE id IN (SELECT id FROM cutover.position WHERE plan = %s ORDER BY id LIMIT %s)",
            (back, world.plan, chance.randint(1, 8)),
        )


def _column_comes_and_goes(world: World, chance: Random) -> None:
    """C10: a column that nobody maps is added to a source in mid-stream, and dropped."""
    for change in ("ADD COLUMN chaos int DEFAULT 1", "DROP COLUMN chaos"):
        _insist(world, f"ALTER TABLE inventory.stock_metrics {change}")
        time.sleep(chance.uniform(0.0, 0.5))


def _large_transaction(world: World, chance: Random) -> None:
    """C9: every row of a source, several times, in one transaction; its last part is rolled back (C15)."""
    touch = "UPDATE inventory.stock_metrics SET views = views + 1;"
    _insist(world, f"BEGIN; {touch * 4} SAVEPOINT s; {touch} ROLLBACK TO s; COMMIT")


def _insist(world: World, statements: str) -> None:
    """The application's own sessions may hold what is needed, or the server may just be killed by nobody."""
    for _ in range(200):
        try:
            with world.connect() as conn:
                conn.execute("SET lock_timeout = '200ms'")
                conn.execute(statements.encode(), prepare=False)
                return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            time.sleep(0.02)
    raise AssertionError(f"never got the lock for: {statements}")


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _missing(lose: Fault) -> Fault:
    """Changes are gone: nothing is applied until doctor has named it, and what it prints is done."""

    def harm(world: World, chance: Random) -> None:
        with world.crew.gap():
            lose(world, chance)
            heal(world.crew)

    return harm


def _drop_slot(world: World, chance: Random) -> None:
    """C2: also under a capture that holds it, and takes it again."""
    slots = "FROM pg_replication_slots WHERE database = current_database()"
    with world.connect() as conn:
        while conn.execute(f"SELECT 1 {slots}".encode()).fetchone():
            conn.execute(f"SELECT pg_terminate_backend(active_pid, 1000) {slots}".encode())
            with suppress(psycopg.errors.ObjectInUse):
                conn.execute(f"SELECT pg_drop_replication_slot(slot_name) {slots}".encode())


def _delete_topic(world: World, chance: Random) -> None:
    """L2: of one move, whichever."""
    with world.connect() as conn:
        rows = conn.execute("SELECT topic FROM cutover.move WHERE plan = %s ORDER BY 1", (world.plan,)).fetchall()
    log = open_log(world.stage.settings.log)
    try:
        log.delete_topic(chance.choice(rows)[0])
    finally:
        log.close()


def _remove_file(world: World, chance: Random) -> None:
    """L2, L7: under everybody who has it open."""
    assert world.log_file is not None
    for file in world.log_file.parent.glob(f"{world.log_file.name}*"):
        file.unlink()


KINDS: dict[str, Kind] = {
    "capture killed": Kind(_kill("capture"), 6),
    "consumer killed": Kind(lambda world, chance: _kill(chance.choice(CONSUMERS))(world, chance), 9),
    "refresh killed": Kind(_kill("refresh"), 2),
    "capture at a fault point": Kind(_fault_point("capture", "capture"), 8),
    "consumer at a fault point": Kind(_fault_point("consume-1", "consume"), 8),
    "refresh at a fault point": Kind(_fault_point("refresh", "refresh"), 2),
    "backfill at a fault point": Kind(_backfill, 2),
    "capture frozen": Kind(_freeze("capture"), 4),
    "consumer frozen": Kind(_freeze(*CONSUMERS), 4),
    "consumer frozen, its session lost": Kind(_zombie, 4),
    "consumer frozen past its lease": Kind(_past_its_lease, 0),
    "consumers come and go": Kind(_come_and_go, 5),
    "two captures": Kind(_second_capture, 3),
    "PostgreSQL stopped, fast": Kind(_restart_postgres("fast"), 4),
    "PostgreSQL stopped, immediate": Kind(_restart_postgres("immediate"), 4),
    "sessions terminated one by one": Kind(_terminate, 6),
    "network to PostgreSQL cut": Kind(_network("postgres", "cut"), 5),
    "network to PostgreSQL slow": Kind(_network("postgres", "slow"), 4),
    "network to PostgreSQL half-open": Kind(_network("postgres", "silent"), 4),
    "position set back by hand": Kind(_position_set_back, 4),
    "column added and dropped": Kind(_column_comes_and_goes, 3),
    "large transaction": Kind(_large_transaction, 3),
    "Kafka killed": Kind(_stop_kafka("kill"), 4, "kafka"),
    "Kafka restarted": Kind(_stop_kafka("stop"), 3, "kafka"),
    "Kafka stalled": Kind(_stall_kafka(0.5, 5.0), 5, "kafka"),
    "Kafka stalled for longer than its clients wait": Kind(_stall_kafka(21.0, 25.0), 0, "kafka"),
    "network to Kafka cut": Kind(_network("kafka", "cut"), 5, "kafka"),
    "network to Kafka slow": Kind(_network("kafka", "slow"), 4, "kafka"),
    "network to Kafka half-open": Kind(_network("kafka", "silent"), 4, "kafka"),
    "disk of the SQLite log full": Kind(_disk_full, 6, "sqlite"),
    "disk of Kafka full": Kind(_kafka_disk_full, 2, "kafka"),
    "slot dropped": Kind(_missing(_drop_slot), 1),
    "topic deleted": Kind(_missing(_delete_topic), 2),
    "file of the SQLite log removed": Kind(_missing(_remove_file), 2, "sqlite"),
}  # fmt: skip


QUICK = ("capture killed", "consumer killed", "refresh killed")


def kinds(log: str) -> dict[str, Kind]:
    """The faults that make sense over this log."""
    return {name: kind for name, kind in KINDS.items() if kind.log in (None, log)}
