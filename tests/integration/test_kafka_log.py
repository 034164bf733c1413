"""The Kafka log when brokers stop, freeze or forget, and what it asks of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import crc32c
import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.record import util as kafka_record

from cdc import kafka_log, kafka_writer
from cdc.kafka_log import KafkaLog
from cdc.log import LogReader, LogWriter
from cutover.embedded import free_port
from sql.errors import Gap, Refused, Unreachable
from tests.services.kafka import KafkaServer

SECONDS = 60

# kafka-python leaves the sockets of failed connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(autouse=True)
def collect_sockets() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def log(kafka: KafkaServer) -> Iterator[KafkaLog]:
    log = KafkaLog(kafka.address)
    yield log
    log.close()


@pytest.fixture
def topic(log: KafkaLog, plan_name: str) -> Iterator[str]:
    name = f"cutover.{plan_name}.stock"
    log.ensure_topic(name, 1)
    yield name
    log.delete_topic(name)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds of silence are enough to give up."""
    monkeypatch.setattr(kafka_log, "TIMEOUT_MS", 2_000)
    monkeypatch.setattr(kafka_writer, "DELIVERY_MS", 3_000)


def append_for_ever(writer: LogWriter, topic: str) -> None:
    while True:
        writer.wait(writer.append(topic, 0, b"x"), 1)


def test_l1_appends_are_acknowledged_by_all_replicas_and_idempotent(log: KafkaLog) -> None:
    writer = log.writer()
    assert writer._producer.config["acks"] == -1
    assert writer._producer.config["enable_idempotence"] is True
    assert writer._producer._transaction_manager is not None
    writer.close()


def test_l1_l2_l4_topics_are_made_with_settings_that_keep_records(
    log: KafkaLog, kafka: KafkaServer, topic: str
) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    brokers = len(admin.describe_cluster()["brokers"])
    configs = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])["topic"][topic]
    (found,) = admin.describe_topics([topic])
    admin.close()
    assert len(found["partitions"][0]["replica_nodes"]) == min(3, brokers)
    assert configs["min.insync.replicas"]["value"] == str(min(2, brokers))
    assert configs["cleanup.policy"]["value"] == "delete"
    assert configs["retention.ms"]["value"] == str(7 * 24 * 3600 * 1000)
    assert configs["message.timestamp.type"]["value"] == "CreateTime"
    assert configs["max.message.bytes"]["value"] == "1048588"


def test_too_many_replicas_are_refused(kafka: KafkaServer, plan_name: str) -> None:
    log = KafkaLog(f"{kafka.address}?replication_factor=99")
    with pytest.raises(Refused, match="replication"):
        log.ensure_topic(f"cutover.{plan_name}.stock", 1)
    log.close()


def test_l5_checksums_are_not_computed_in_python() -> None:
    assert kafka_record.crc32c_c is crc32c.crc32c
    assert kafka_record.calc_crc32c(memoryview(b"123456789")) == 0xE3069283
    assert kafka_record.calc_crc32c.__defaults__ == (crc32c.crc32c,)


def test_nobody_there_is_unreachable(impatient: None) -> None:
    address = f"kafka://127.0.0.1:{free_port()}"
    log = KafkaLog(address + "?sasl_password=hunter2")
    for talk in (log.identity, log.writer, log.reader, lambda: log.end_offsets("cutover.x.y")):
        with pytest.raises(Unreachable, match=address) as caught:
            talk()
        assert "hunter2" not in str(caught.value)


def test_a_topic_deleted_under_a_writer_is_a_gap_and_stays_gone(log: KafkaLog, topic: str, impatient: None) -> None:
    """Nor does the writer bring it back through the broker's auto.create.topics.enable."""
    writer = log.writer()
    assert writer.wait(writer.append(topic, 0, b"a"), SECONDS)
    log.delete_topic(topic)
    with pytest.raises(Gap, match=topic):
        append_for_ever(writer, topic)
    writer.close()
    assert log.topic_identity(topic) is None


def test_a_writer_and_a_reader_outlive_a_restart_of_the_broker(
    own_kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_writer, "DELIVERY_MS", 120_000)  # on a busy machine a broker starts slowly
    with closing(KafkaLog(own_kafka.address)) as log:
        topic = "cutover.restart.stock"
        log.ensure_topic(topic, 1)
        with closing(log.writer()) as writer, closing(log.reader()) as reader:
            reader.assign({(topic, 0): 0})
            assert writer.wait(writer.append(topic, 0, b"before"), SECONDS)
            assert [record.value for record in reader.poll(SECONDS)] == [b"before"]
            own_kafka.stop()
            sequence = writer.append(topic, 0, b"meanwhile")
            assert not writer.wait(sequence, 0.5)
            assert reader.poll(0.5) == []
            own_kafka.start()
            assert writer.wait(sequence, SECONDS)
            assert read_again(reader, 1) == [b"meanwhile"]
            assert log.end_offsets(topic) == [2]


def test_a_reader_that_nobody_drives_for_longer_than_its_patience_reads_on(
    log: KafkaLog, topic: str, impatient: None
) -> None:
    """Its fetch on the way is past its time when somebody looks, and takes the connection with it: `restore` writes a
    partition's rows for minutes, and goes on with the next."""
    other = topic + "2"
    log.ensure_topic(other, 1)
    with closing(log.writer()) as writer, closing(log.reader()) as reader:
        for name in (topic, other):
            assert writer.wait(writer.append(name, 0, b"x"), SECONDS)
        reader.assign({(topic, 0): 0})
        assert read_again(reader, 1) == [b"x"]
        time.sleep(1.5)  # this is the fault: longer than the request that is on its way may take
        reader.assign({(other, 0): 0})
        assert read_again(reader, 1) == [b"x"]
    log.delete_topic(other)


def test_a_broker_that_stays_away_is_unreachable(own_kafka: KafkaServer, impatient: None) -> None:
    with closing(KafkaLog(own_kafka.address)) as log:
        topic = "cutover.away.stock"
        log.ensure_topic(topic, 1)
        with closing(log.reader()) as reader:
            reader.assign({(topic, 0): 0})
            with closing(log.writer()) as writer:
                assert writer.wait(writer.append(topic, 0, b"before"), SECONDS)
                assert len(reader.poll(SECONDS)) == 1
                own_kafka.pause()
                sequence = writer.append(topic, 0, b"lost, or not")
                with pytest.raises(Unreachable, match=own_kafka.address):
                    writer.wait(sequence, SECONDS)
                with pytest.raises(Unreachable):
                    writer.acknowledged()
                with pytest.raises(Unreachable):
                    writer.append(topic, 0, b"more")
                with pytest.raises(Unreachable, match=own_kafka.address):
                    reader.poll(SECONDS)
                with pytest.raises(Unreachable, match=own_kafka.address):
                    log.end_offsets(topic)
                own_kafka.resume()
            with closing(log.writer()) as again:
                assert again.wait(again.append(topic, 0, b"after"), SECONDS)
            assert b"after" in read_again(reader, 1) or b"after" in read_again(reader, 1)


def read_again(reader: LogReader, count: int) -> list[bytes]:
    """At least `count` values, from a broker that was away and may still be said to be."""
    values: list[bytes] = []
    deadline = time.monotonic() + SECONDS
    while len(values) < count and time.monotonic() < deadline:
        with suppress(Unreachable):
            values += [record.value for record in reader.poll(1)]
    return values
