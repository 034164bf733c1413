"""What both logs promise: order, offsets, identities, and a Gap rather than a silent jump."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import pytest

from cdc.frame import MAX_FRAME
from cdc.log import Log, LogReader, LogWriter, Record, open_log
from sql.errors import Gap, Refused
from tests.services.topics import forget

SECONDS = 60  # for what takes milliseconds on an idle machine
spawn = multiprocessing.get_context("spawn")


@pytest.fixture
def log(log_address: str) -> Iterator[Log]:
    log = open_log(log_address)
    yield log
    log.close()


@pytest.fixture
def topic(log: Log, plan_name: str) -> str:
    """A topic of two partitions."""
    name = f"cutover.{plan_name}.stock"
    log.ensure_topic(name, 2)
    return name


@pytest.fixture
def writer(log: Log) -> Iterator[LogWriter]:
    writer = log.writer()
    yield writer
    writer.close()


@pytest.fixture
def reader(log: Log) -> Iterator[LogReader]:
    reader = log.reader()
    yield reader
    reader.close()


def append(writer: LogWriter, topic: str, partition: int, *values: bytes) -> None:
    """Append and wait until it is durable."""
    for value in values:
        writer.append(topic, partition, value)
    writer.commit()
    assert writer.wait(writer.queued(), SECONDS)


def read(reader: LogReader, count: int) -> list[Record]:
    """The next `count` records, and not one more."""
    records: list[Record] = []
    deadline = time.monotonic() + SECONDS
    while len(records) < count and time.monotonic() < deadline:
        records += reader.poll(1)
    assert len(records) == count
    return records


def read_from(reader: LogReader, topic: str, offset: int) -> None:
    """Read the topic's first partition for ever."""
    reader.assign({(topic, 0): offset})
    poll_for_ever(reader)


def poll_for_ever(reader: LogReader) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        reader.poll(0.2)


def test_appends_are_acknowledged_and_read_back_in_order(
    log: Log, topic: str, writer: LogWriter, reader: LogReader
) -> None:
    before = int(time.time() * 1000) - 1
    sequences = [writer.append(topic, number % 2, b"%d" % number) for number in range(100)]
    writer.commit()
    assert sequences == list(range(1, 101))
    assert writer.queued() == 100
    assert writer.wait(100, SECONDS)
    assert writer.acknowledged() == 100
    assert log.begin_offsets(topic) == [0, 0]
    assert log.end_offsets(topic) == [50, 50]
    reader.assign({(topic, 0): 0, (topic, 1): 0})
    records = read(reader, 100)
    for partition in (0, 1):
        mine = [record for record in records if record.partition == partition]
        assert [record.offset for record in mine] == list(range(50))
        assert [int(record.value) for record in mine] == list(range(partition, 100, 2))
    assert all(record.topic == topic and before < record.time_ms <= time.time() * 1000 for record in records)


def test_a_reader_waits_for_what_comes(topic: str, writer: LogWriter, reader: LogReader) -> None:
    reader.assign({(topic, 0): 0})
    assert reader.poll(0.05) == []
    late = threading.Timer(0.1, append, (writer, topic, 0, b"late"))
    late.start()
    assert [record.value for record in read(reader, 1)] == [b"late"]
    late.join()


def test_reads_on_from_any_offset(topic: str, writer: LogWriter, reader: LogReader) -> None:
    append(writer, topic, 1, *(b"%d" % number for number in range(20)))
    reader.assign({(topic, 1): 13})
    assert [record.offset for record in read(reader, 7)] == list(range(13, 20))
    reader.assign({(topic, 1): 5})
    assert [record.offset for record in read(reader, 15)] == list(range(5, 20))
    reader.assign({(topic, 1): 20})
    assert reader.poll(0.05) == []


def test_a_partition_that_stays_assigned_goes_on_where_it_is(topic: str, writer: LogWriter, reader: LogReader) -> None:
    append(writer, topic, 0, *(b"%d" % number for number in range(10)))
    append(writer, topic, 1, b"other")
    reader.assign({(topic, 0): 0})
    first: list[Record] = []
    while not first:
        first += reader.poll(1, max_bytes=1)
    reader.assign({(topic, 0): first[-1].offset + 1, (topic, 1): 0})
    rest = read(reader, 11 - len(first))
    assert [record.offset for record in [*first, *rest] if record.partition == 0] == list(range(10))
    reader.assign({(topic, 1): 1})
    append(writer, topic, 0, b"not mine")
    append(writer, topic, 1, b"mine")
    assert [record.value for record in read(reader, 1)] == [b"mine"]


def test_poll_returns_about_as_many_bytes_as_asked_for(topic: str, writer: LogWriter, reader: LogReader) -> None:
    append(writer, topic, 0, *(bytes(100_000) for _ in range(20)))
    reader.assign({(topic, 0): 0})
    records: list[Record] = []
    while len(records) < 20:
        some = reader.poll(1, max_bytes=300_000)
        assert len(some) <= 3
        records += some
    assert [record.offset for record in records] == list(range(20))


@pytest.mark.parametrize("offset", [-1, 4, 1_000_000])
def test_l2_an_offset_that_the_log_never_had_is_a_gap(
    topic: str, writer: LogWriter, reader: LogReader, offset: int
) -> None:
    append(writer, topic, 0, b"a", b"b", b"c")
    with pytest.raises(Gap, match=topic):
        read_from(reader, topic, offset)


def test_l2_an_offset_that_retention_took_is_a_gap(log: Log, topic: str, writer: LogWriter, reader: LogReader) -> None:
    append(writer, topic, 0, *(b"%d" % number for number in range(10)))
    forget(log, topic, 0, 6)
    assert log.begin_offsets(topic) == [6, 0]
    assert log.end_offsets(topic) == [10, 0]
    assert log.offsets_at(topic, 0) == [6, 0]
    with pytest.raises(Gap, match=topic):
        read_from(reader, topic, 5)
    reader.assign({(topic, 0): 6})
    assert [record.offset for record in read(reader, 4)] == [6, 7, 8, 9]


def test_l2_retention_overtaking_a_reader_is_a_gap(log: Log, topic: str, writer: LogWriter, reader: LogReader) -> None:
    append(writer, topic, 0, b"a")
    reader.assign({(topic, 0): 0})
    read(reader, 1)
    while reader.poll(0.3):  # nothing of what follows may be on its way already
        pass
    append(writer, topic, 1, b"elsewhere")
    reader.assign({(topic, 1): 0})
    read(reader, 1)
    append(writer, topic, 0, b"b", b"c")
    forget(log, topic, 0, 3)
    with pytest.raises(Gap, match=topic):
        read_from(reader, topic, 1)


def test_ensure_topic_twice_is_the_same_topic(log: Log, topic: str) -> None:
    identity = log.topic_identity(topic)
    assert identity
    assert log.ensure_topic(topic, 2) == identity


def test_l3_another_number_of_partitions_is_refused(log: Log, topic: str) -> None:
    with pytest.raises(Refused, match="2 partitions, the plan says 3"):
        log.ensure_topic(topic, 3)
    assert len(log.end_offsets(topic)) == 2


def test_the_identity_of_a_log_stays(log: Log, log_address: str) -> None:
    again = open_log(log_address)
    assert log.identity() == again.identity() != ""
    again.close()


def test_l2_a_recreated_topic_is_another_one(log: Log, topic: str) -> None:
    first = log.topic_identity(topic)
    log.delete_topic(topic)
    eventually(lambda: log.topic_identity(topic) is None)
    second = log.ensure_topic(topic, 2)
    assert second != first
    assert log.topic_identity(topic) == second


def test_l2_a_reader_never_goes_on_in_a_recreated_topic(
    log: Log, topic: str, writer: LogWriter, reader: LogReader
) -> None:
    """Also when it did not look in the meantime, and the new topic has a record at the offset where it stands."""
    append(writer, topic, 0, b"a", b"b")
    reader.assign({(topic, 0): 0})
    read(reader, 2)
    reader.poll(0.3)
    log.delete_topic(topic)
    eventually(lambda: log.topic_identity(topic) is None)
    log.ensure_topic(topic, 2)
    other = log.writer()
    append(other, topic, 0, *(b"new" for _ in range(10)))
    other.close()
    with pytest.raises(Gap, match=topic):
        poll_for_ever(reader)


def test_l2_a_writer_never_goes_on_in_a_recreated_topic(log: Log, topic: str, writer: LogWriter) -> None:
    append(writer, topic, 0, b"a", b"b")
    log.delete_topic(topic)
    eventually(lambda: log.topic_identity(topic) is None)
    log.ensure_topic(topic, 2)
    with pytest.raises(Gap, match=topic):
        append(writer, topic, 0, b"c")


def test_l2_a_topic_that_is_gone_is_a_gap_and_stays_gone(
    log: Log, topic: str, writer: LogWriter, reader: LogReader
) -> None:
    append(writer, topic, 0, b"a")
    reader.assign({(topic, 0): 0})
    read(reader, 1)
    log.delete_topic(topic)
    log.delete_topic(topic)
    eventually(lambda: log.topic_identity(topic) is None)
    with pytest.raises(Gap, match=topic):
        poll_for_ever(reader)
    for asked in (log.begin_offsets, log.end_offsets, lambda name: log.offsets_at(name, 0)):
        with pytest.raises(Gap, match=topic):
            asked(topic)
    again = log.writer()
    with pytest.raises(Gap, match=topic):
        append(again, topic, 0, b"b")
    again.close()
    assert log.topic_identity(topic) is None


def test_a_partition_that_is_not_there_is_a_gap(topic: str, reader: LogReader) -> None:
    with pytest.raises(Gap, match=topic):
        reader.assign({(topic, 2): 0})


def test_l4_the_largest_frame_fits_and_a_larger_one_is_refused(
    topic: str, writer: LogWriter, reader: LogReader
) -> None:
    largest = os.urandom(MAX_FRAME)
    append(writer, topic, 0, largest, b"next")
    with pytest.raises(Refused, match="limit"):
        writer.append(topic, 0, bytes(MAX_FRAME + 1))
    append(writer, topic, 0, b"still usable")
    reader.assign({(topic, 0): 0})
    assert [record.value for record in read(reader, 3)] == [largest, b"next", b"still usable"]


def test_appends_wait_when_too_much_is_queued(log: Log, topic: str, writer: LogWriter, reader: LogReader) -> None:
    for _ in range(80):  # twice what may be queued
        writer.append(topic, 0, bytes(MAX_FRAME))
    assert writer.wait(80, SECONDS)
    assert log.end_offsets(topic) == [80, 0]


def test_offsets_at_a_time(log: Log, topic: str, writer: LogWriter, reader: LogReader) -> None:
    append(writer, topic, 0, b"a", b"b")
    time.sleep(0.005)  # the next record's time is another millisecond
    append(writer, topic, 0, b"c")
    reader.assign({(topic, 0): 0})
    times = [record.time_ms for record in read(reader, 3)]
    assert log.offsets_at(topic, 0) == [0, 0]
    assert log.offsets_at(topic, times[0]) == [0, 0]
    assert log.offsets_at(topic, times[1] + 1) == [2, 0]
    assert log.offsets_at(topic, times[2]) == [2, 0]
    assert log.offsets_at(topic, times[2] + 1) == [3, 0]


def test_several_threads_share_a_writer(log: Log, topic: str, writer: LogWriter) -> None:
    def work() -> None:
        for _ in range(200):
            writer.append(topic, 1, b"x")
        writer.commit()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert writer.wait(800, SECONDS)
    assert log.end_offsets(topic) == [0, 800]


def test_l7_two_processes_append_at_once(log: Log, log_address: str, topic: str, reader: LogReader) -> None:
    workers = [spawn.Process(target=append_many, args=(log_address, topic, name, 300)) for name in (b"a", b"b")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert log.end_offsets(topic) == [300, 300]
    reader.assign({(topic, 0): 0, (topic, 1): 0})
    records = read(reader, 600)
    for partition in (0, 1):
        mine = [record for record in records if record.partition == partition]
        assert [record.offset for record in mine] == list(range(300))
        for name in (b"a", b"b"):
            numbers = [int(record.value[1:]) for record in mine if record.value.startswith(name)]
            assert numbers == list(range(partition, 300, 2))


def settled(log: Log, topic: str) -> list[int]:
    """The end offsets once a broker has worked off what a dead writer had sent: unchanged for a second."""
    ends, since = log.end_offsets(topic), time.monotonic()
    while time.monotonic() - since < 1:
        if (now := log.end_offsets(topic)) != ends:
            ends, since = now, time.monotonic()
    return ends


def test_a_writer_killed_in_the_middle_leaves_a_readable_log(
    log: Log, log_address: str, topic: str, reader: LogReader
) -> None:
    mine, its = spawn.Pipe(duplex=False)
    worker = spawn.Process(target=append_for_ever, args=(log_address, topic, its))
    worker.start()
    assert mine.poll(60)
    while (acknowledged := mine.recv()) < 20:
        pass
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    ends = settled(log, topic)
    assert sum(ends) >= acknowledged
    reader.assign({(topic, 0): 0, (topic, 1): 0})
    for record in read(reader, sum(ends)):
        assert record.value == b"%d" % (2 * record.offset + record.partition) * 50_000
    after = log.writer()
    append(after, topic, 0, b"after")
    after.close()
    assert log.end_offsets(topic) == [ends[0] + 1, ends[1]]


def append_many(address: str, topic: str, name: bytes, count: int) -> None:
    """A process of its own: appends to two partitions in turn, committing now and then."""
    log = open_log(address)
    writer = log.writer()
    for number in range(count):
        writer.append(topic, number % 2, name + b"%d" % number)
        if number % 7 == 0:
            writer.commit()
    assert writer.wait(count, SECONDS)
    writer.close()
    log.close()


def append_for_ever(address: str, topic: str, acknowledged: Connection) -> None:
    """A process of its own, to be killed: appends to two partitions in turn and says what was acknowledged."""
    writer = open_log(address).writer()
    number = 0
    while True:
        writer.append(topic, number % 2, b"%d" % number * 50_000)
        writer.commit()
        acknowledged.send(writer.acknowledged())
        number += 1


def eventually(holds: Callable[[], bool]) -> None:
    """Kafka answers a deletion before every broker knows of it."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
