"""Changes that are gone: the stream says so and stops, and `cutover heal` ends with both sides equal."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from sql.errors import Gap
from tests.integration.rig import Rig, shop
from tests.services.topics import forget


def write(rig: Rig, cost: int) -> None:
    rig.conn.execute("INSERT INTO shop.item (id, name) SELECT gen_random_uuid(), 'thing' FROM generate_series(1, 100)")
    rig.conn.execute(
        "INSERT INTO shop.item_cost SELECT id, %s, 'EUR' FROM shop.item"
        " ON CONFLICT (item_id) DO UPDATE SET cost = excluded.cost",
        (cost,),
    )
    rig.conn.execute("INSERT INTO shop.payment (ref, amount) SELECT gen_random_uuid()::text, %s", (cost,))


def lose(rig: Rig) -> None:
    """What a change that never reaches the log looks like: rows gone, rows changed."""
    rig.conn.execute("DELETE FROM shop.item_cost WHERE random() < 0.3")
    rig.conn.execute("DELETE FROM shop.payment")
    write(rig, 777)


def drop_slot(rig: Rig) -> None:
    """Also under a capture that holds it and takes it again."""
    while True:
        rig.conn.execute(
            "SELECT pg_terminate_backend(active_pid, 1000) FROM pg_replication_slots WHERE slot_name = %s",
            (rig.plan.slot,),
        )
        try:
            rig.conn.execute("SELECT pg_drop_replication_slot(%s)", (rig.plan.slot,))
        except psycopg.errors.ObjectInUse:
            continue
        return


def heal(rig: Rig) -> None:
    """`cutover heal`, as an operator calls it."""
    environment = {**os.environ, "CUTOVER_DSN": rig.dsn, "CUTOVER_LOG": rig.address, "CUTOVER_PLAN": str(rig.folder)}
    subprocess.run([sys.executable, "-m", "cutover", "heal"], env=environment, check=True, stdout=subprocess.DEVNULL)


def recorded_gap(rig: Rig) -> str:
    row = rig.conn.execute("SELECT gap FROM cutover.plan WHERE plan = %s", (rig.name,)).fetchone()
    assert row is not None
    return str(row[0])


def test_l2_records_that_retention_took_before_they_were_read_are_a_gap_until_healed(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    """The topic is the same and its records are gone: the consumer stops, it does not go on behind them."""
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        rig.capture()
        consume = rig.consume()
        write(rig, 1)
        rig.drain()
        assert rig.stop(consume) == []
        topic = rig.move("item").topic
        before = rig.log.end_offsets(topic)
        lose(rig)
        rig.conn.execute("SELECT pg_logical_emit_message(false, 'cutover', 'watermark')")
        rig.conn.execute("SELECT pg_sleep(2)")  # nothing tells the test when the log has what nobody consumes
        assert rig.log.end_offsets(topic) != before
        for partition, end in enumerate(rig.log.end_offsets(topic)):
            forget(rig.log, topic, partition, end)
        (error,) = rig.ended(rig.consume())
        assert isinstance(error, Gap)
        assert topic in recorded_gap(rig)
        assert rig.differences() != {}
        rig.stop()
        heal(rig)
        rig.capture()
        rig.consume()
        rig.drain()
        assert rig.differences() == {}


@pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
def test_c2_an_annotation_is_taken_back_where_the_mapping_left_a_row_in_the_gap(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    """Its new key is nobody's: the mapping has no row for it, and no target row ever had it."""
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        rig.capture()
        rig.consume()
        rig.backfill()
        rig.conn.execute("INSERT INTO shop.payment (ref, amount) VALUES ('a', 1), ('two', 2), ('two', 3)")
        rig.drain()
        assert rig.conn.execute("SELECT seen FROM shop.payment ORDER BY id").fetchall() == [(True,), (False,), (False,)]
        rig.stop()
        drop_slot(rig)
        rig.conn.execute("UPDATE shop.payment SET ref = 'two' WHERE ref = 'a'")
        heal(rig)
        rig.capture()
        rig.consume()
        rig.drain()
        assert rig.conn.execute("SELECT count(*) FROM shop.payment WHERE seen").fetchone() == (0,)
        assert rig.differences() == {}


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """A disk on which no file of this process grows beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_l7_a_full_disk_stops_capture_and_loses_nothing(
    dsn: str, plan_name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The slot stays behind what the log could not take; once there is room, all of it comes."""
    file = tmp_path / "log.db"
    with shop(dsn, plan_name, f"sqlite:///{file}", tmp_path) as rig:
        rig.capture()
        rig.consume()
        write(rig, 1)
        rig.drain()
        with disk_of(max(each.stat().st_size for each in tmp_path.glob("log.db*")) + 200_000):
            rig.conn.execute(
                "INSERT INTO shop.item_state (item_id, note) SELECT id, repeat(md5(id::text), 1000) FROM shop.item"
            )
            row = rig.conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
            assert row is not None
            for _ in range(300):
                if "disk I/O error; trying again in 0.4" in caplog.text:
                    break
                rig.conn.execute("SELECT pg_sleep(0.1)")
            assert "disk I/O error; trying again in 0.4" in caplog.text
            rig.conn.execute("SELECT pg_sleep(2)")  # several chances to confirm too much
            behind = rig.conn.execute(
                "SELECT confirmed_flush_lsn < %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s",
                (row[0], rig.plan.slot),
            ).fetchone()
            assert behind == (True,)
        rig.drain(120)
        assert rig.differences() == {}
        assert rig.conn.execute("SELECT count(note) FROM shop.item").fetchone() == (100,)
        assert rig.stop() == []
