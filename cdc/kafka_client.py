"""Makes kafka-python's clients, and clears up after one that could not connect."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from kafka.net.compat import KafkaNetClient

Client = TypeVar("Client")

# kafka-python tells of every attempt on this logger, at ERROR; what matters of it is raised.
logging.getLogger("kafka").setLevel(logging.CRITICAL)
# Who turns it on must not find the password there: this one writes all settings at DEBUG.
logging.getLogger("kafka.admin.client").addFilter(lambda record: record.levelno > logging.DEBUG)


def connected(make: Callable[..., Client], **settings: Any) -> Client:
    """`make(**settings)`. Where that raises, its connections and its thread are ended: kafka-python leaves them."""
    made: list[KafkaNetClient] = []

    def net(**configs: Any) -> KafkaNetClient:
        made.append(KafkaNetClient(**configs))
        return made[-1]

    try:
        return make(**settings, kafka_client=net)
    except BaseException:
        for client in made:
            client.close()
        raise
