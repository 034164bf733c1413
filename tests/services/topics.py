"""The topics of one plan, what they lose, and their end."""

from __future__ import annotations

import time
from contextlib import suppress

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import UnknownTopicOrPartitionError

from cdc.log import Log
from cdc.sqlite_log import SqliteLog
from tests.services.kafka import KafkaServer

_SECONDS = 30.0


def topics_of(server: KafkaServer, plan: str) -> list[str]:
    """The names of the plan's topics that exist."""
    admin = KafkaAdminClient(bootstrap_servers=server.bootstrap)
    try:
        return _topics(admin, plan)
    finally:
        admin.close()


def delete_topics_of(server: KafkaServer, plan: str) -> None:
    """Remove every topic of the plan, and wait until the broker has forgotten them: it answers before that."""
    deadline = time.monotonic() + _SECONDS
    admin = KafkaAdminClient(bootstrap_servers=server.bootstrap)
    try:
        while names := _topics(admin, plan):
            with suppress(UnknownTopicOrPartitionError):  # the test's own deletion, or ours a moment ago, came first
                admin.delete_topics(names)
            assert time.monotonic() < deadline, f"{names} are still there"
    finally:
        admin.close()


def forget(log: Log, topic: str, partition: int, before: int) -> None:
    """Let the log lose its oldest records, as retention does."""
    if isinstance(log, SqliteLog):
        log.prune(topic, partition, before)
        return
    admin = KafkaAdminClient(bootstrap_servers=log.address.removeprefix("kafka://"))
    admin.delete_records({TopicPartition(topic, partition): before})
    admin.close()


def _topics(admin: KafkaAdminClient, plan: str) -> list[str]:
    return sorted(name for name in admin.list_topics() if name.startswith(f"cutover.{plan}."))
