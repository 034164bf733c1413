"""Makes kafka-python's clients, and clears up after one that could not connect."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from kafka.net.compat import KafkaNetClient

Client = TypeVar("Client")

# kafka-python tells its story on this logger; without a handler Python prints it on the terminal.
logging.getLogger("kafka").addHandler(logging.NullHandler())
# At DEBUG it writes every setting, the password too.
logging.getLogger("kafka.admin").setLevel(logging.INFO)


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
