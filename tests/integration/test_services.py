"""The services themselves: right versions, logical decoding, faults that heal, nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import psycopg
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from cutover.embedded import ThrowawayPostgres, wheel_binaries
from sql.errors import UsageError
from tests.services.choose import Services
from tests.services.databases import fresh_database
from tests.services.kafka import KafkaServer
from tests.services.memory import in_memory
from tests.services.missing import ServiceMissing
from tests.services.postgres import WHEEL_VERSION, GivenPostgres, PostgresServer
from tests.services.topics import delete_topics_of, topics_of


def test_postgres_has_its_version_and_streams(server: PostgresServer, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert conn.info.server_version // 10000 == server.version
        assert conn.execute("SHOW wal_level").fetchone() == ("logical",)
        slot = conn.info.dbname
        conn.execute("CREATE TABLE thing (id int PRIMARY KEY)")
        conn.execute("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", [slot])
        conn.execute("INSERT INTO thing VALUES (1)")
        changes = conn.execute("SELECT data FROM pg_logical_slot_get_changes(%s, NULL, NULL)", [slot]).fetchall()
    assert ("table public.thing: INSERT: id[integer]:1",) in changes


def test_a_database_goes_with_its_slots_sessions_and_prepared_transactions(server: PostgresServer) -> None:
    with fresh_database(server) as dsn:
        conn = psycopg.connect(dsn, autocommit=True)
        name = conn.info.dbname
        conn.execute("SELECT pg_create_logical_replication_slot(%s, 'test_decoding')", [name])
        conn.execute("CREATE TABLE thing (id int)")
        conn.execute("BEGIN")
        conn.execute("INSERT INTO thing VALUES (1)")
        conn.execute("PREPARE TRANSACTION 'left'")
    conn.close()
    with psycopg.connect(server.dsn) as conn:
        assert conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None
        assert conn.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", [name]).fetchone() is None


def test_postgres_comes_back_with_its_data(own_server: PostgresServer) -> None:
    ends: list[Callable[[], None]] = [own_server.stop, lambda: own_server.stop("immediate"), own_server.kill]
    for number, end in enumerate(ends):
        with psycopg.connect(own_server.dsn, autocommit=True) as conn:
            conn.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
            conn.execute("INSERT INTO kept VALUES (%s)", [number])
        end()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(own_server.dsn, connect_timeout=5)
        own_server.start()
        with psycopg.connect(own_server.dsn) as conn:
            assert conn.execute("SELECT max(number) FROM kept").fetchone() == (number,)


def test_a_frozen_postgres_answers_once_resumed(own_server: PostgresServer) -> None:
    with psycopg.connect(own_server.dsn, autocommit=True) as conn:
        own_server.pause()
        answers: list[object] = []
        asking = Thread(target=lambda: answers.append(conn.execute("SELECT 1").fetchone()))
        asking.start()
        asking.join(0.3)
        assert answers == []
        own_server.resume()
        asking.join(30)
        assert answers == [(1,)]


def test_kafka_keeps_what_it_is_given(kafka: KafkaServer, plan_name: str) -> None:
    topic = f"cutover.{plan_name}.thing"
    _create(kafka, topic)
    _round_trip(kafka, topic)
    assert topics_of(kafka, plan_name) == [topic]
    delete_topics_of(kafka, plan_name)
    assert topics_of(kafka, plan_name) == []


def test_kafka_comes_back_with_its_data(own_kafka: KafkaServer) -> None:
    _create(own_kafka, "kept")
    _round_trip(own_kafka, "kept")
    own_kafka.kill()
    own_kafka.start()
    assert _read(own_kafka, "kept") == [b"hello"]
    own_kafka.stop()
    own_kafka.start()
    own_kafka.pause()
    own_kafka.resume()
    assert _read(own_kafka, "kept") == [b"hello"]


def test_a_killed_owner_leaves_no_server_and_no_folder() -> None:
    script = (
        "import sys; from cutover.embedded import ThrowawayPostgres as P\n"
        "with P() as server: print(server.pid, server.folder, flush=True); sys.stdin.read()"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root
    ) as owner:
        assert owner.stdout is not None
        pid, folder = owner.stdout.readline().split()
        assert Path(folder).is_dir()
        owner.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while Path(folder).exists() or _alive(int(pid)):
        assert time.monotonic() < deadline, "the server outlived its owner"
        time.sleep(0.05)


def test_a_throwaway_listens_on_a_private_socket_only() -> None:
    with ThrowawayPostgres(settings={"max_connections": "17"}) as server:
        assert server.folder.stat().st_mode & 0o077 == 0
        with psycopg.connect(server.dsn) as conn:
            assert conn.execute("SHOW listen_addresses").fetchone() == ("",)
            assert conn.execute("SHOW max_connections").fetchone() == ("17",)
            assert conn.execute("SHOW wal_level").fetchone() == ("logical",)
        folder = server.folder
    assert not folder.exists()


def test_a_throwaway_starts_from_a_folder_that_only_its_owner_can_enter(tmp_path: Path) -> None:
    package = wheel_binaries().parents[1]
    private = tmp_path / "private"
    for folder in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(folder, private / folder.name, symlinks=True)
    private.chmod(0o700)
    with (
        ThrowawayPostgres(binaries=private / package.name / "pginstall" / "bin") as server,
        psycopg.connect(server.dsn) as conn,
    ):
        assert conn.info.server_version // 10000 == WHEEL_VERSION


def test_a_throwaway_without_programs_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no PostgreSQL programs"), ThrowawayPostgres(binaries=tmp_path):
        raise AssertionError


def test_a_given_server_of_another_version_is_refused(server: PostgresServer) -> None:
    with pytest.raises(ServiceMissing, match=f"the given PostgreSQL 14 is version {server.version}"):
        GivenPostgres(14, server.dsn)


def test_what_cannot_be_had_is_an_error_with_its_cure() -> None:
    with (
        pytest.raises(ServiceMissing, match=r"(?s)postgresql-7.*CUTOVER_TEST_PG7"),
        Services({"CUTOVER_TEST_SERVICES": "local"}).own_postgres(7),
    ):
        raise AssertionError


def _create(kafka: KafkaServer, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    admin.create_topics([NewTopic(topic, 2, 1)])
    admin.close()


def _round_trip(kafka: KafkaServer, topic: str) -> None:
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    assert producer.send(topic, b"hello", partition=1).get(timeout=30).offset == 0
    producer.close()
    assert _read(kafka, topic) == [b"hello"]


def _read(kafka: KafkaServer, topic: str) -> list[bytes]:
    """Everything in partition 1."""
    partition = TopicPartition(topic, 1)
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    end = consumer.end_offsets([partition])[partition]
    values: list[bytes] = []
    while len(values) < end:
        values += [record.value for record in consumer.poll(timeout_ms=10_000).get(partition, [])]
    consumer.close()
    return values


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process that its new parent has not yet reaped is gone all the same.
    return ") Z " not in Path(f"/proc/{pid}/stat").read_text()


def test_whoever_says_where_temporary_files_go_is_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    in_memory.cache_clear()
    try:
        assert in_memory() is None
    finally:
        in_memory.cache_clear()
