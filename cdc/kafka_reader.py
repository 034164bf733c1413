"""Reads frames from Kafka: one outstanding fetch per broker, by topic id.

kafka-python's own consumer fetches by topic name, so one that was not looking while its topic was deleted and
re-created would go on in the new topic at the old offset. Fetch requests by topic id (KIP-516, Kafka 3.1) make the
broker itself refuse that, and without the consumer's group machinery a record arrives in half the time.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from kafka import TopicPartition
from kafka import errors as kafka_errors
from kafka.future import Future
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from kafka.protocol.consumer import FetchRequest
from kafka.record import MemoryRecords

from cdc.kafka_errors import as_cutover, passing, translated
from cdc.log import Record
from sql.errors import CutoverError, Gap, Refused
from sql.retry import for_a_while

BY_TOPIC_ID = 13  # the first version of Fetch that names topics by their id
WAIT_MS = 100  # how long a broker holds a fetch open for records to come; new partitions wait for it, at most
PARTITION_BYTES = 4 << 20
FETCH_BYTES = 8 << 20
BACKOFF = 0.05  # seconds between two attempts where a leader is unknown or does not answer

# What a partition's leader may say for a moment after an election or a change of topics.
_MOVED = (
    kafka_errors.NotLeaderForPartitionError,
    kafka_errors.LeaderNotAvailableError,
    kafka_errors.ReplicaNotAvailableError,
    kafka_errors.FencedLeaderEpochError,
    kafka_errors.UnknownLeaderEpochError,
    kafka_errors.OffsetNotAvailableError,
    kafka_errors.KafkaStorageError,
    kafka_errors.UnknownTopicOrPartitionError,
    kafka_errors.UnknownTopicIdError,
    kafka_errors.InconsistentTopicIdError,
)


class _Place:
    """Where the reader stands in one partition."""

    __slots__ = ("offset", "topic_id", "trouble")

    def __init__(self, topic_id: uuid.UUID, offset: int) -> None:
        self.topic_id = topic_id
        self.offset = offset  # the next one that `poll` returns
        self.trouble: tuple[float, BaseException] | None = None  # since when its leader does not answer, and why


# (topic id, partition) -> where it was asked for, and from which offset
_Asked: TypeAlias = Mapping[tuple[uuid.UUID, int], tuple[TopicPartition, _Place, int]]


class KafkaReader:
    """A `LogReader` over Kafka, for one thread at a time.

    L2: an offset outside the log, a topic that was deleted or re-created, and offsets that jump are each a Gap.
    L5: kafka-python checks every batch's CRC with the `crc32c` package.
    """

    def __init__(self, settings: Mapping[str, Any], address: str) -> None:
        self._address = address
        self._patience = settings["request_timeout_ms"] / 2000  # seconds: to answer at all, and to be well again
        self._places: dict[TopicPartition, _Place] = {}
        self._ready: deque[tuple[TopicPartition, Record]] = deque()
        self._fetches: dict[int, Future] = {}  # by broker
        self._failure: CutoverError | None = None  # what a fetch met; raised once what came before is handed out
        self._look = False  # leaders or topic ids may have changed
        self._retry_at = 0.0
        self._net = NetworkSelector(client_id=settings["client_id"])
        self._manager = KafkaConnectionManager(
            self._net, **settings, receive_message_max_bytes=FETCH_BYTES + PARTITION_BYTES + (1 << 20)
        )
        # Looking at a topic that is gone must not bring it back, with the broker's default number of partitions.
        self._manager.cluster.config["allow_auto_create_topics"] = False
        try:
            with translated(address, "connecting a reader"):
                self._manager.bootstrap(settings["bootstrap_timeout_ms"])
        except BaseException:
            self.close()
            raise

    def assign(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Read exactly these partitions from now on; Gap where there is no such topic or partition."""
        wanted = {TopicPartition(*place): offset for place, offset in positions.items()}
        if any(place not in self._places for place in wanted):
            with translated(self._address, "looking for topics"):
                self._learn({place.topic for place in wanted})
        places = {}
        for place, offset in wanted.items():
            known = self._places.get(place)
            if known is None:
                places[place] = _Place(self._topic_id(place), offset)
            else:
                places[place] = known if known.offset == offset else _Place(known.topic_id, offset)
        same = {place for place, known in places.items() if known is self._places.get(place)}
        self._ready = deque(one for one in self._ready if one[0] in same)
        self._places = places
        self._failure = None  # a partition that met it and is still wanted meets it again

    def poll(self, timeout: float, max_bytes: int = 8 << 20) -> Sequence[Record]:
        """Wait up to `timeout` seconds for records; those of one partition are in order, about `max_bytes` in all.

        Unreachable when a partition's leader has not answered for about ten seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            records = self._take(max_bytes)
            if self._look:
                self._look_again()
            if self._fetch() and records:
                self._net.poll(timeout_ms=0)  # out it goes: the brokers answer while the caller works
            if records:
                return records
            self._raise_failure()
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return []
            self._wait(remaining)

    def close(self) -> None:
        self._manager.close()
        self._net.close()

    def _take(self, max_bytes: int) -> list[Record]:
        """Records that are here already, about `max_bytes` of them."""
        records = []
        while self._ready and max_bytes > 0:
            place, record = self._ready.popleft()
            self._places[place].offset = record.offset + 1
            records.append(record)
            max_bytes -= len(record.value)
        return records

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        for place, known in self._places.items():
            if known.trouble is not None and time.monotonic() - known.trouble[0] > self._patience:
                error = as_cutover(known.trouble[1], self._address, f"reading {place.topic}:{place.partition}")
                known.trouble = None
                raise error

    def _wait(self, timeout: float) -> None:
        """Drive the connections until a fetch is answered, at most `timeout` seconds."""
        pause = self._retry_at - time.monotonic()
        first = Future()
        for fetch in self._fetches.values():
            fetch.add_both(lambda _: first.is_done or first.success(None))
        with translated(self._address, "reading"):
            self._net.poll(timeout_ms=(min(timeout, pause) if pause > 0 else timeout) * 1000, future=first)

    def _fetch(self) -> bool:
        """Ask each broker that is not asked already for the partitions it leads; True when there was one to ask."""
        if self._failure is not None or time.monotonic() < self._retry_at:
            return False
        held = {place for place, _ in self._ready}
        asked: dict[int, list[TopicPartition]] = {}
        for place, known in self._places.items():
            leader = self._manager.cluster.leader_for_partition(place)
            if leader is None or leader < 0:
                self._stumble(known, kafka_errors.LeaderNotAvailableError())
            elif place not in held and leader not in self._fetches:
                asked.setdefault(leader, []).append(place)
        for broker, places in asked.items():
            self._send(broker, places)
        return bool(asked)

    def _send(self, broker: int, places: Iterable[TopicPartition]) -> None:
        by_topic: dict[uuid.UUID, list[Any]] = {}
        asked = {}
        for place in places:
            known = self._places[place]
            asked[known.topic_id, place.partition] = (place, known, known.offset)
            by_topic.setdefault(known.topic_id, []).append(
                FetchRequest.FetchTopic.FetchPartition(
                    partition=place.partition, fetch_offset=known.offset, partition_max_bytes=PARTITION_BYTES
                )
            )
        request = FetchRequest(
            max_wait_ms=WAIT_MS,
            min_bytes=1,
            max_bytes=FETCH_BYTES,
            topics=[FetchRequest.FetchTopic(topic_id=topic, partitions=found) for topic, found in by_topic.items()],
            min_version=BY_TOPIC_ID,
            max_version=BY_TOPIC_ID,
        )
        with translated(self._address, "reading"):
            fetch = self._manager.send(request, node_id=broker, request_timeout_ms=self._patience * 1000)
        self._fetches[broker] = fetch
        fetch.add_callback(partial(self._answered, broker, asked))
        fetch.add_errback(partial(self._unanswered, broker, asked))

    def _unanswered(self, broker: int, asked: _Asked, error: BaseException) -> None:
        self._fetches.pop(broker, None)
        if isinstance(error, kafka_errors.IncompatibleBrokerVersion):
            self._failure = Refused(f"{self._address}: its brokers cannot read by topic id", cure="Kafka 3.1 or newer")
        for _, known, _ in asked.values():
            self._stumble(known, error)

    def _answered(self, broker: int, asked: _Asked, response: Any) -> None:
        self._fetches.pop(broker, None)
        try:
            for topic in response.responses:
                for answer in topic.partitions:
                    place, known, offset = asked[topic.topic_id, answer.partition_index]
                    if self._places.get(place) is known and known.offset == offset:
                        self._keep(place, known, answer)
        except (kafka_errors.KafkaError, CutoverError) as error:
            if self._failure is None:
                self._failure = as_cutover(error, self._address, "reading")

    def _keep(self, place: TopicPartition, known: _Place, answer: Any) -> None:
        """Put what was fetched of one partition where `poll` takes it from."""
        if answer.error_code:
            error = kafka_errors.for_code(answer.error_code)()
            if isinstance(error, kafka_errors.OffsetOutOfRangeError):
                raise self._gap(place, f"offset {known.offset} is outside the log")
            if not isinstance(error, _MOVED):
                raise error
            self._stumble(known, error)
            return
        known.trouble = None
        expected = known.offset
        batches = MemoryRecords(answer.records or b"")
        while (batch := batches.next_batch()) is not None:
            if not batch.validate_crc():
                raise self._gap(place, f"the batch at offset {batch.base_offset} is damaged")
            for record in batch:
                if record.offset < expected:
                    continue  # a batch is sent whole, also when it is wanted from its middle
                if record.offset > expected:
                    raise self._gap(place, f"offset {expected} is missing, {record.offset} follows")
                one = Record(place.topic, place.partition, record.offset, record.value, record.timestamp)
                self._ready.append((place, one))
                expected += 1

    def _stumble(self, known: _Place, error: BaseException) -> None:
        """Its leader did not answer, or is another by now: look again in a moment."""
        if known.trouble is None:
            known.trouble = (time.monotonic(), error)
        self._look = True
        self._retry_at = time.monotonic() + BACKOFF

    def _look_again(self) -> None:
        """Learn the leaders anew; Gap when a topic is gone or is another."""
        if time.monotonic() < self._retry_at:
            return
        try:
            self._refresh({place.topic for place in self._places})
        except (kafka_errors.KafkaError, OSError) as error:
            for known in self._places.values():
                self._stumble(known, error)
            return
        self._look = False
        for place, known in self._places.items():
            if self._topic_id(place) != known.topic_id:
                raise self._gap(place, "the topic was deleted and re-created")

    def _learn(self, topics: set[str]) -> None:
        """Ask until it is answered: where nobody has read for longer than a request may take, those on their way are
        past their time, and the connection goes with them, and the question too."""
        for_a_while(self._patience, passing, lambda: self._refresh(topics))

    def _refresh(self, topics: set[str]) -> None:
        cluster = self._manager.cluster
        for _ in range(2):  # the first may share a request that was on its way before
            for topic in topics:
                cluster.add_topic(topic)
            before = cluster._last_successful_refresh_ms
            answer = self._manager.call_soon(cluster.refresh_metadata)
            self._manager.run(self._manager.wait_for, answer, self._patience * 1000)
            if cluster._last_successful_refresh_ms == before:
                # A broker that has stood still is fenced for a moment and names no brokers. kafka-python ignores such
                # an answer without a word: what is not known then is not gone.
                raise kafka_errors.NodeNotReadyError("the cluster names no brokers")
            if all(cluster.partitions_for_topic(topic) for topic in topics):
                return

    def _topic_id(self, place: TopicPartition) -> uuid.UUID:
        found: uuid.UUID | None = self._manager.cluster.topic_id(place.topic)
        partitions = self._manager.cluster.partitions_for_topic(place.topic) or ()
        if found is None or place.partition not in partitions:
            raise self._gap(place, "it is not there")
        return found

    def _gap(self, place: TopicPartition, what: str) -> Gap:
        return Gap(f"{self._address}: topic {place.topic} partition {place.partition}: {what}", cure="cutover heal")
