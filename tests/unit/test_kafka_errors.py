"""Errors of the Kafka client as this service's."""

from __future__ import annotations

from kafka.errors import KafkaTimeoutError

from cdc.kafka_errors import as_cutover


def test_an_error_without_words_is_named_once() -> None:
    assert as_cutover(KafkaTimeoutError(), "kafka://b", "asking").args[0] == "kafka://b: asking: KafkaTimeoutError"
    assert as_cutover(KafkaTimeoutError("no"), "kafka://b", "asking").args[0].endswith(": KafkaTimeoutError: no")
