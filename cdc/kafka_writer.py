"""Appends frames to Kafka: idempotent, acknowledged by all in-sync replicas, bounded in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from cdc.frame import MAX_FRAME
from cdc.kafka_client import connected
from cdc.kafka_errors import as_cutover, translated
from sql.errors import CutoverError, Gap, Refused, Unreachable

MAX_QUEUED = 32 << 20  # bytes that wait for an acknowledgement; more makes `append` wait
DELIVERY_MS = 60_000  # a broker may be away this long (a restart, an election) before the writer gives up
CLOSE_SECONDS = 5.0


class KafkaWriter:
    """A `LogWriter` over Kafka. Any thread may call it; appends of one thread keep their order in each partition.

    L1: `acks=all` and an idempotent producer: what is acknowledged is on every in-sync replica, and a retry inside the
    client writes nothing twice. The first append that fails stops the writer before anything later is sent, so that no
    watermark can overtake a lost change. L4: a frame over `MAX_FRAME` is refused before it is queued.
    """

    def __init__(self, settings: dict[str, Any], address: str, topic_identity: Callable[[str], str | None]) -> None:
        self._address = address
        self._topic_identity = topic_identity
        self._identities: dict[str, str | None] = {}  # of every topic appended to, as first seen
        self._order = threading.Lock()  # held while sending: sequence numbers follow the order of the producer
        self._changed = threading.Condition()  # never held while the producer may wait: its thread wants it too
        self._sequence = 0
        self._acknowledged = 0
        self._out_of_order: set[int] = set()  # acknowledged ahead of `_acknowledged`, in other partitions
        self._queued_bytes = 0
        self._offsets: dict[tuple[str, int], int] = {}  # last acknowledged offset
        self._failure: CutoverError | None = None
        self._suspect: str | None = None  # the topic of the append that failed, until it was looked for
        with translated(address, "connecting a writer"):
            self._producer = connected(
                KafkaProducer,
                **settings,
                acks="all",
                enable_idempotence=True,
                # Measured (frames of 300 KB, lz4 to 54 %): 2.4 s of CPU for a GB here against 5.6 with lz4, 5.7 against
                # 3.2 where it is read. Capture is one process, readers are many; the broker may compress as well.
                compression_type=None,
                linger_ms=0,
                batch_size=MAX_FRAME,
                max_request_size=8 << 20,
                max_block_ms=settings["request_timeout_ms"],
                delivery_timeout_ms=DELIVERY_MS,
                retry_backoff_ms=20,
                metrics_enabled=False,
            )
            # kafka-python does not hand the setting of that name on: a topic that was deleted under the writer would be
            # back, with the broker's default number of partitions.
            self._producer._metadata.config["allow_auto_create_topics"] = False

    def append(self, topic: str, partition: int, value: bytes) -> int:
        """Queue one frame of at most `MAX_FRAME` bytes; waits while more than `MAX_QUEUED` bytes are on their way."""
        size = len(value)
        if size > MAX_FRAME:
            raise Refused(
                f"{self._address}: a frame of {size} bytes for {topic} exceeds the log's limit of {MAX_FRAME}"
            )
        if topic not in self._identities:
            self._meet(topic)
        with self._order:
            with self._changed:
                self._changed.wait_for(lambda: self._failure is not None or self._has_room(size))
                self._queued_bytes += size
            self._check()
            try:
                future = self._producer.send(topic, value, partition=partition, timestamp_ms=int(time.time() * 1000))
            except (KafkaError, ValueError) as error:
                self._failed(topic, error)
                self._check()
            self._sequence += 1
            sequence = self._sequence
        future.add_callback(partial(self._delivered, sequence, size))
        future.add_errback(partial(self._failed, topic))
        return sequence

    def commit(self) -> None:
        """Nothing to do: the producer sends as soon as a partition has nothing on its way."""
        self._check()

    def acknowledged(self) -> int:
        """The last sequence number up to which everything is on all in-sync replicas."""
        self._check()
        return self._acknowledged

    def queued(self) -> int:
        return self._sequence

    def wait(self, sequence: int, timeout: float) -> bool:
        """Wait for the acknowledgement of `sequence`; raises what went wrong in the meantime."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure is not None or self._acknowledged >= sequence, timeout)
            self._check()
            return self._acknowledged >= sequence

    def close(self) -> None:
        with self._changed:
            if self._failure is None:
                self._failure = Unreachable(f"{self._address}: the writer is closed")
            self._changed.notify_all()
        with suppress(KafkaError):  # it says that something was not delivered, which `close` allows
            self._producer._sender.force_close()
            self._producer._sender.join(CLOSE_SECONDS)
            self._producer.close(timeout=0)

    def _meet(self, topic: str) -> None:
        identity = self._topic_identity(topic)
        if identity is None:
            raise Gap(f"{self._address}: topic {topic} is not there", cure="cutover heal")
        with self._changed:
            self._identities[topic] = identity

    def _has_room(self, size: int) -> bool:
        return not self._queued_bytes or self._queued_bytes + size <= MAX_QUEUED

    def _check(self) -> None:
        if self._failure is None:
            return
        if self._suspect is not None:  # without an answer: is it the broker that is gone, or the topic?
            topic, self._suspect = self._suspect, None
            with suppress(Unreachable):
                if self._topic_identity(topic) != self._identities[topic]:
                    what = f"{self._address}: topic {topic} was deleted while it was appended to"
                    self._failure = Gap(what, cure="cutover heal")
        raise self._failure

    def _delivered(self, sequence: int, size: int, sent: Any) -> None:
        place = (sent.topic, sent.partition)
        with self._changed:
            again = sent.offset <= self._offsets.get(place, -1)
            self._offsets[place] = sent.offset
            self._queued_bytes -= size
            if self._failure is None and not again:
                self._out_of_order.add(sequence)
                while self._acknowledged + 1 in self._out_of_order:
                    self._acknowledged += 1
                    self._out_of_order.remove(self._acknowledged)
            self._changed.notify_all()
        if again:
            what = f"{self._address}: topic {sent.topic} was deleted and re-created: offset {sent.offset} again"
            self._fail(Gap(what, cure="cutover heal"))

    def _failed(self, topic: str, error: BaseException) -> None:
        with self._changed:
            if self._failure is None:
                self._suspect = topic
        self._fail(as_cutover(error, self._address, f"appending to topic {topic}"))

    def _fail(self, failure: CutoverError) -> None:
        # In the producer's own thread this comes before it looks for more to send: nothing later overtakes what failed.
        self._producer._sender.force_close()
        with self._changed:
            if self._failure is None:
                self._failure = failure
            self._changed.notify_all()
