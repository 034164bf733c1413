"""The log in Kafka: topics, offsets and identities; the writer and the reader are made here.

A topic's records are its frames in order, with Kafka's own offsets. Hazards met here:
L1 topics are created with `min.insync.replicas` of two wherever there are two brokers;
L2 a topic is known by Kafka's topic id, so one that was deleted and re-created under the same name is another;
L3 a topic with another number of partitions is refused;
L4 the topic's `max.message.bytes` holds the largest frame whatever the broker's default is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from kafka import KafkaAdminClient, TopicPartition
from kafka import errors as kafka_errors
from kafka.protocol.consumer import OffsetSpec

from cdc.kafka_address import parse_address
from cdc.kafka_client import connected
from cdc.kafka_errors import as_cutover, passing, translated
from cdc.kafka_reader import KafkaReader
from cdc.kafka_writer import KafkaWriter
from sql.counted import counted
from sql.errors import Gap, Refused, Unreachable
from sql.retry import for_a_while

T = TypeVar("T")

TIMEOUT_MS = 10_000  # how long a broker may stay silent before it counts as unreachable
MAX_MESSAGE_BYTES = 1_048_588  # Kafka's own default, said aloud because a broker may have a lower one


class KafkaLog:
    """A log at `kafka://host:port,…?option=value`. Safe to use from several threads; connects when first asked.

    Options: security_protocol, sasl_mechanism, sasl_username, sasl_password, ssl_cafile, ssl_certfile, ssl_keyfile,
    ssl_password, ssl_check_hostname; for topics made here: replication_factor (default 3, fewer with fewer brokers)
    and retention_ms (default 7 days, -1 for ever). Needs Kafka 3.1 or newer.
    """

    def __init__(self, address: str) -> None:
        self._address = parse_address(address)
        self.address = self._address.shown
        self._lock = threading.RLock()
        self._client: KafkaAdminClient | None = None

    def __repr__(self) -> str:
        return f"KafkaLog({self.address})"

    def identity(self) -> str:
        """Kafka's cluster id."""
        return str(self._ask("reading the cluster id", lambda admin: admin.describe_cluster())["cluster_id"])

    def ensure_topic(self, topic: str, partitions: int) -> str:
        """Create the topic unless it is there; its topic id. Refused when it has another number of partitions (L3)."""
        found = self._describe(topic)
        if found is None:
            self._create(topic, partitions)
            found = self._describe(topic)
        if found is None:
            raise Unreachable(f"{self.address}: topic {topic} was created and is not there")
        if len(found["partitions"]) != partitions:
            raise Refused(
                f"{self.address}: topic {topic} has {counted(len(found['partitions']), 'partition')},"
                f" the plan says {partitions}: "
                "keys would change partition",
                cure=f"set partitions = {len(found['partitions'])} in the plan",
            )
        return str(found["topic_id"])

    def topic_identity(self, topic: str) -> str | None:
        """Kafka's topic id, or None."""
        found = self._describe(topic)
        return None if found is None else str(found["topic_id"])

    def delete_topic(self, topic: str) -> None:
        """Delete the topic; nothing happens when there is none."""

        def delete(admin: KafkaAdminClient) -> None:
            with suppress(kafka_errors.UnknownTopicOrPartitionError):
                admin.delete_topics([topic], timeout_ms=TIMEOUT_MS)

        self._ask(f"deleting topic {topic}", delete)

    def begin_offsets(self, topic: str) -> list[int]:
        return [offset for offset, _ in self._offsets(topic, OffsetSpec.EARLIEST)]

    def end_offsets(self, topic: str) -> list[int]:
        return [offset for offset, _ in self._offsets(topic, OffsetSpec.LATEST)]

    def offsets_at(self, topic: str, time_ms: int) -> list[int]:
        ends = self.end_offsets(topic)  # read first: what comes in between is later than that
        found = self._offsets(topic, max(0, time_ms))
        return [end if offset < 0 else offset for end, (offset, _) in zip(ends, found, strict=True)]

    def writer(self) -> KafkaWriter:
        return KafkaWriter(self._settings(), self.address, self.topic_identity)

    def reader(self) -> KafkaReader:
        return KafkaReader(self._settings(), self.address)

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _settings(self) -> dict[str, Any]:
        return {
            **self._address.client,
            "client_id": "cutover",
            "bootstrap_timeout_ms": TIMEOUT_MS,
            "request_timeout_ms": TIMEOUT_MS,
            "reconnect_backoff_max_ms": 1_000,
        }

    def _ask(self, doing: str, question: Callable[[KafkaAdminClient], T]) -> T:
        """A question to the cluster, asked again while brokers come and go, for about as long as one may be silent."""
        with self._lock, translated(self.address, doing):
            return for_a_while(TIMEOUT_MS / 1000, passing, lambda: question(self._admin()))

    def _admin(self) -> KafkaAdminClient:
        if self._client is None:
            self._client = connected(KafkaAdminClient, **self._settings())
        return self._client

    def _describe(self, topic: str) -> dict[str, Any] | None:
        (found,) = self._ask(f"describing topic {topic}", lambda admin: admin.describe_topics([topic]))
        error = kafka_errors.for_code(found["error_code"])
        if error is kafka_errors.UnknownTopicOrPartitionError:
            return None
        if error is not kafka_errors.NoError:
            raise as_cutover(error(topic), self.address, f"describing topic {topic}")
        return dict(found)

    def _create(self, topic: str, partitions: int) -> None:
        replicas = self._address.replication_factor or min(3, self._brokers())
        configs = {
            "cleanup.policy": "delete",
            "retention.ms": str(self._address.retention_ms),
            "retention.bytes": "-1",
            "min.insync.replicas": str(min(2, replicas)),
            "message.timestamp.type": "CreateTime",
            "max.message.bytes": str(MAX_MESSAGE_BYTES),
        }
        wanted = {"num_partitions": partitions, "replication_factor": replicas, "configs": configs}

        def create(admin: KafkaAdminClient) -> None:
            with suppress(kafka_errors.TopicAlreadyExistsError):  # by somebody else: compared anyway
                admin.create_topics({topic: wanted}, timeout_ms=TIMEOUT_MS)
            admin.wait_for_topics([topic], timeout_ms=TIMEOUT_MS)

        self._ask(f"creating topic {topic}", create)

    def _brokers(self) -> int:
        return len(self._ask("counting brokers", lambda admin: admin.describe_cluster())["brokers"])

    def _offsets(self, topic: str, spec: int) -> list[tuple[int, int]]:
        found = self._describe(topic)
        if found is None:
            raise Gap(f"{self.address}: topic {topic} is not there", cure="cutover heal")
        wanted = {TopicPartition(topic, number): spec for number in range(len(found["partitions"]))}
        offsets = self._ask(
            f"reading offsets of topic {topic}",
            lambda admin: admin.list_partition_offsets(wanted, timeout_ms=TIMEOUT_MS),
        )
        return [(offsets[partition].offset, offsets[partition].timestamp) for partition in wanted]
