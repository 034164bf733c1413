"""Makes kafka-python's clients, and clears up after one that could not connect."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from kafka.errors import KafkaTimeoutError, SaslAuthenticationFailedError
from kafka.net.compat import KafkaNetClient

Client = TypeVar("Client")

# kafka-python tells of every attempt on this logger, at ERROR; what matters of it is raised.
logging.getLogger("kafka").setLevel(logging.CRITICAL)
# Who turns it on must not find the password there: this one writes all settings at DEBUG.
logging.getLogger("kafka.admin.client").addFilter(lambda record: record.levelno > logging.DEBUG)


class _Refusals(logging.Filter):
    """Remembers why a connection failed: kafka-python only logs it, and then says that nobody answered."""

    def __init__(self) -> None:
        super().__init__()
        self.last: tuple[float, BaseException] | None = None  # when, and what

    def filter(self, record: logging.LogRecord) -> bool:
        for argument in record.args if isinstance(record.args, tuple) else ():
            refused = isinstance(argument, SaslAuthenticationFailedError) or "Handshake failed" in str(argument)
            if refused and isinstance(argument, BaseException):
                self.last = (time.monotonic(), argument)
        return logging.getLogger("kafka").isEnabledFor(record.levelno)


_refusals = _Refusals()
_manager = logging.getLogger("kafka.net.manager")
_manager.setLevel(logging.WARNING)
_manager.addFilter(_refusals)


def connected(make: Callable[..., Client], **settings: Any) -> Client:
    """`make(**settings)`. Where that raises, its connections and its thread are ended: kafka-python leaves them.

    Where the broker, or its certificate, was the reason, that is raised and not the end of the wait.
    """
    made: list[KafkaNetClient] = []
    began = time.monotonic()

    def net(**configs: Any) -> KafkaNetClient:
        made.append(KafkaNetClient(**configs))
        return made[-1]

    try:
        return make(**settings, kafka_client=net)
    except BaseException as error:
        for client in made:
            client.close()
        if isinstance(error, KafkaTimeoutError) and _refusals.last is not None and _refusals.last[0] > began:
            raise _refusals.last[1] from error
        raise
