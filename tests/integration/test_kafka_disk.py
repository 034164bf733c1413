"""Kafka's disk: full, and put back to an older copy. And what each restart of a broker changes: the leader's epoch."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.test_gap_kinds import world_of
from tests.integration.rig import shop
from tests.integration.test_gaps import write
from tests.services.kafka import LocalKafka

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.parametrize("server", ["pg15"], indirect=True),
]


@pytest.fixture(scope="module")
def broker() -> Iterator[LocalKafka]:
    """One whose process and files are within reach, whatever the other brokers are."""
    with LocalKafka() as broker:
        yield broker


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Sockets that kafka-python left to the collector, while their warning is still ignored."""
    yield
    gc.collect()


def test_l1_a_full_disk_of_the_broker_stops_capture_and_loses_nothing(
    dsn: str, plan_name: str, tmp_path: Path, broker: LocalKafka
) -> None:
    """Kafka ends itself when it cannot write. The slot stays behind what it has not acknowledged, and once somebody has
    made room and started it, all of it comes, under another leader epoch."""
    with shop(dsn, plan_name, broker.address, tmp_path) as rig:
        rig.capture()
        rig.consume()
        write(rig, 1)
        rig.drain()
        broker.limit_files(4096)
        rig.conn.execute(
            "INSERT INTO shop.item_state (item_id, note) SELECT id, repeat(md5(id::text), 1000) FROM shop.item"
        )
        row = rig.conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        assert row is not None
        broker.wait_for_end(60)
        rig.conn.execute("SELECT pg_sleep(2)")  # several chances to confirm too much
        behind = rig.conn.execute(
            "SELECT confirmed_flush_lsn < %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s",
            (row[0], rig.plan.slot),
        ).fetchone()
        assert behind == (True,)
        broker.start()
        rig.drain(120)
        assert rig.differences() == {}
        assert rig.conn.execute("SELECT count(note) FROM shop.item").fetchone() == (100,)
        assert max(broker.leader_epochs(rig.move("item").topic, partition) for partition in range(4)) >= 2
        assert rig.stop() == []


def test_l2_an_older_copy_of_the_brokers_disk_is_a_gap(
    dsn: str, plan_name: str, tmp_path: Path, broker: LocalKafka
) -> None:
    """The slot was told of more than the topics have now; every position is within them still."""
    with shop(dsn, plan_name, broker.address, tmp_path) as rig:
        world = world_of(rig, tmp_path)
        world.stream()
        broker.stop()
        broker.save()
        broker.start()
        world.fill_log()
        broker.stop()
        broker.set_back()
        broker.start()
        world.refused(["capture"])
        world.healed(world.named())
