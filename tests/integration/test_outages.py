"""PostgreSQL and Kafka die and come back while the stream runs; nobody lends a hand, and nothing is lost."""

from __future__ import annotations

import gc
from pathlib import Path

import psycopg
import pytest

from cdc import confirming, frame
from cdc.sqlite_writer import SqliteWriter
from tests.integration.rig import Rig, shop
from tests.services.databases import fresh_database
from tests.services.kafka import KafkaServer
from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def write(rig: Rig) -> None:
    rig.conn.execute("INSERT INTO shop.item (id, name) SELECT gen_random_uuid(), 'thing' FROM generate_series(1, 500)")
    rig.conn.execute(
        "INSERT INTO shop.item_cost SELECT id, 1, 'EUR' FROM shop.item"
        " ON CONFLICT (item_id) DO UPDATE SET cost = item_cost.cost + 1"
    )
    rig.conn.execute(
        "INSERT INTO shop.payment (ref, amount) SELECT gen_random_uuid()::text, 1 FROM generate_series(1, 500)"
    )
    rig.conn.execute("DELETE FROM shop.payment WHERE random() < 0.2")


def test_s2_postgresql_dies_at_once_in_mid_stream(own_server: PostgresServer, plan_name: str, tmp_path: Path) -> None:
    """`-m immediate` twice, in the middle of applying: what it acknowledged is in the target in the end."""
    with fresh_database(own_server) as dsn, shop(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path) as rig:
        rig.capture()
        rig.consume()
        for _ in range(2):
            write(rig)
            own_server.stop("immediate")
            own_server.start()
            rig.reconnect()
            write(rig)
        rig.drain(120)
        assert rig.differences() == {}
        assert rig.stop() == []


def test_l1_kafka_dies_in_mid_stream(
    server: PostgresServer, own_kafka: KafkaServer, plan_name: str, tmp_path: Path
) -> None:
    """The broker is killed while frames are on their way, and started again."""
    with fresh_database(server) as dsn, shop(dsn, plan_name, own_kafka.address, tmp_path) as rig:
        rig.capture()
        rig.consume()
        write(rig)
        rig.drain()
        write(rig)
        own_kafka.kill()
        write(rig)
        own_kafka.start()
        write(rig)
        rig.drain(180)
        assert rig.differences() == {}
        assert rig.stop() == []
    gc.collect()  # sockets that kafka-python left to the collector, while their warning is still ignored


def test_c14_a_slow_log_does_not_end_the_stream(
    own_server: PostgresServer, own_kafka: KafkaServer, plan_name: str, tmp_path: Path
) -> None:
    """The broker stands still for longer than wal_sender_timeout; the walsender lives on."""
    with fresh_database(own_server) as dsn, shop(dsn, plan_name, own_kafka.address, tmp_path) as rig:
        rig.conn.execute("ALTER SYSTEM SET wal_sender_timeout = '3s'")
        rig.conn.execute("SELECT pg_reload_conf()")
        rig.capture()
        rig.consume()
        write(rig)
        rig.drain()
        sender = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s"
        before = rig.conn.execute(sender, (rig.plan.slot,)).fetchone()
        own_kafka.pause()
        try:
            write(rig)
            rig.conn.execute("SELECT pg_sleep(8)")  # the time itself is what is tested
        finally:
            own_kafka.resume()
        rig.drain(120)
        assert rig.differences() == {}
        assert rig.conn.execute(sender, (rig.plan.slot,)).fetchone() == before
    gc.collect()


def test_c13_two_captures_never_run_at_once(dsn: str, plan_name: str, tmp_path: Path) -> None:
    """The second waits for the slot, and takes over when the first is gone."""
    with shop(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path) as rig:
        first = rig.capture()
        rig.wait_until("SELECT active FROM pg_replication_slots WHERE slot_name = %s", (rig.plan.slot,))
        rig.capture()
        rig.consume()
        write(rig)
        rig.drain()
        assert rig.stop(first) == []
        write(rig)
        rig.drain()
        assert rig.differences() == {}


def test_c10_columns_added_or_renamed_are_harmless_a_renamed_key_halts(
    dsn: str, plan_name: str, tmp_path: Path
) -> None:
    with shop(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path) as rig:
        rig.capture()
        rig.consume()
        write(rig)
        rig.conn.execute("ALTER TABLE shop.item_cost ADD COLUMN colour text DEFAULT 'red'")
        write(rig)
        rig.drain()
        assert rig.differences() == {}
        with pytest.raises(psycopg.errors.DependentObjectsStillExist):
            rig.conn.execute("ALTER TABLE shop.item_cost DROP COLUMN cost")
        rig.conn.execute("ALTER TABLE shop.item_cost RENAME COLUMN currency TO valuta")
        write(rig)
        rig.drain()
        assert rig.differences() == {}, "the view follows the column, and so does converge"
        rig.conn.execute("ALTER TABLE shop.item_hold RENAME COLUMN item_id TO thing_id")
        rig.conn.execute("INSERT INTO shop.item_hold (thing_id, qty) SELECT id, 1 FROM shop.item LIMIT 1")
        rig.wait_until(
            "SELECT halted LIKE '%%item_id%%' FROM cutover.move WHERE plan = %s AND move = 'item'", (rig.name,)
        )


def test_c5_an_identity_that_loses_the_key_halts(dsn: str, plan_name: str, tmp_path: Path) -> None:
    """Somebody sets the replica identity back: the next DELETE would not say whose it was."""
    with shop(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path) as rig:
        rig.capture()
        rig.consume()
        write(rig)
        rig.conn.execute("INSERT INTO shop.item_hold (item_id, qty) SELECT id, 1 FROM shop.item")
        rig.drain()
        rig.conn.execute("ALTER TABLE shop.item_hold REPLICA IDENTITY DEFAULT")
        # PostgreSQL itself refuses it where the column list lacks the primary key; here it holds both.
        rig.conn.execute("DELETE FROM shop.item_hold")
        rig.wait_until(
            "SELECT halted LIKE '%%replica identity%%' FROM cutover.move WHERE plan = %s AND move = 'item'", (rig.name,)
        )


def test_c10_a_table_swapped_under_its_name_halts(dsn: str, plan_name: str, tmp_path: Path) -> None:
    """As tools that rebuild a table do: the publication and the view stay with the old one."""
    with shop(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path) as rig:
        rig.capture()
        rig.conn.execute("ALTER TABLE shop.payment RENAME TO payment_old")
        rig.conn.execute("CREATE TABLE shop.payment (LIKE shop.payment_old INCLUDING ALL)")
        rig.wait_until("SELECT halted IS NOT NULL FROM cutover.move WHERE plan = %s AND move = 'ledger'", (rig.name,))


def test_c9_a_large_transaction_is_never_held_in_memory(dsn: str, plan_name: str, tmp_path: Path) -> None:
    """Frames of a transaction leave before its commit message comes, and its position waits for the commit."""
    with shop(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path) as rig:
        rig.conn.execute(
            "INSERT INTO shop.item (id, name) SELECT gen_random_uuid(), 'thing' FROM generate_series(1, 40000)"
        )
        rig.conn.execute("INSERT INTO shop.item_cost SELECT id, 1, 'EUR' FROM shop.item")
        rig.capture()
        rig.consume()
        rig.drain(120)
        sizes = [len(value) for value in rig.records("item")]
        assert max(sizes) < frame.MAX_FRAME
        assert len(sizes) > 10
        assert rig.differences() == {}


def test_c1_the_slot_follows_an_idle_database(
    dsn: str, plan_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that is published changes; other WAL is written; the slot lets it go, and only to what is safe."""
    monkeypatch.setattr(confirming, "CONFIRM_IDLE", 0.5)
    with shop(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path) as rig:
        rig.capture()
        rig.conn.execute("CREATE TABLE shop.unrelated AS SELECT generate_series(1, 100000) n")
        row = rig.conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        assert row is not None
        rig.wait_until(
            "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s",
            (row[0], rig.plan.slot),
        )


def test_c1_nothing_is_confirmed_that_the_log_has_not_acknowledged(
    dsn: str, plan_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that takes frames and never acknowledges them: the slot stays where it was, keepalives or not."""
    monkeypatch.setattr(confirming, "CONFIRM_IDLE", 0.2)
    monkeypatch.setattr(confirming, "CONFIRM_BUSY", 0.2)
    with shop(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path) as rig:
        write(rig)
        row = rig.conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        assert row is not None
        acknowledged = SqliteWriter.acknowledged
        monkeypatch.setattr(SqliteWriter, "acknowledged", lambda self: 0)
        stop = rig.capture()
        rig.wait_until(
            "SELECT sent_lsn >= %s::pg_lsn FROM pg_stat_replication WHERE application_name = %s",
            (row[0], f"cutover capture {rig.plan.slot}"),
        )
        rig.conn.execute("SELECT pg_sleep(1.5)")  # many feedback intervals: each one could confirm too much
        before = rig.conn.execute(
            "SELECT confirmed_flush_lsn < %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s",
            (row[0], rig.plan.slot),
        ).fetchone()
        assert before == (True,)
        monkeypatch.setattr(SqliteWriter, "acknowledged", acknowledged)
        rig.wait_until(
            "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s",
            (row[0], rig.plan.slot),
        )
        assert rig.stop(stop) == []


def test_l4_a_huge_row_is_sent_alone_or_as_a_touch(dsn: str, plan_name: str, tmp_path: Path) -> None:
    """Rows beyond the frame's limit, between small ones: every record stays below the broker's limit."""
    with shop(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path) as rig:
        rig.capture()
        rig.consume()
        rig.conn.execute(
            "INSERT INTO shop.item (id, name) SELECT gen_random_uuid(), 'thing' FROM generate_series(1, 40)"
        )
        rig.conn.execute(
            "INSERT INTO shop.item_state (item_id, state, note)"
            " SELECT id, 'big', repeat('x', (row_number() OVER () * 50000)::int) FROM shop.item"
        )
        rig.drain()
        assert max(len(value) for value in rig.records("item")) < frame.MAX_FRAME
        row = rig.conn.execute("SELECT max(length(note)), count(note) FROM shop.item").fetchone()
        assert row == (2_000_000, 40)
