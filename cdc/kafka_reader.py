"""Reads frames from Kafka."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from cdc.kafka_errors import translated
from cdc.log import Record
from sql.errors import Gap


class KafkaReader:
    """A `LogReader` over Kafka."""

    def __init__(self, settings: dict[str, Any], address: str, topic_identity: Callable[[str], str]) -> None:
        self._address = address
        self._positions: dict[TopicPartition, int] = {}
        with translated(address, "connecting a reader"):
            self._consumer = KafkaConsumer(
                **settings,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",
                fetch_min_bytes=1,
                fetch_max_wait_ms=500,
                metrics_enabled=False,
            )

    def assign(self, positions: Mapping[tuple[str, int], int]) -> None:
        wanted = {TopicPartition(*place): offset for place, offset in positions.items()}
        with translated(self._address, "assigning"):
            self._consumer.assign(list(wanted))
            for place, offset in wanted.items():
                if self._positions.get(place) != offset:
                    self._consumer.seek(place, offset)
        self._positions = wanted

    def poll(self, timeout: float, max_bytes: int = 8 << 20) -> Sequence[Record]:
        with translated(self._address, "reading"):
            found = self._consumer.poll(timeout_ms=timeout * 1000, max_records=100)
        records = []
        for place, batch in found.items():
            for one in batch:
                if one.offset != self._positions[place]:
                    raise Gap("offsets jump")
                self._positions[place] += 1
                records.append(Record(one.topic, one.partition, one.offset, one.value, one.timestamp))
        return records

    def close(self) -> None:
        self._consumer.close()
