"""The topics of one plan, what they lose, and their end."""

from __future__ import annotations

from kafka import KafkaAdminClient, TopicPartition
from kafka.errors import UnknownTopicOrPartitionError

from cdc.log import Log
from cdc.sqlite_log import SqliteLog
from tests.services.kafka import KafkaServer


def topics_of(server: KafkaServer, plan: str) -> list[str]:
    """The names of the plan's topics that exist."""
    admin = KafkaAdminClient(bootstrap_servers=server.bootstrap)
    try:
        return _topics(admin, plan)
    finally:
        admin.close()


def delete_topics_of(server: KafkaServer, plan: str) -> None:
    """Remove every topic of the plan."""
    admin = KafkaAdminClient(bootstrap_servers=server.bootstrap)
    try:
        if names := _topics(admin, plan):
            admin.delete_topics(names)
    except UnknownTopicOrPartitionError:
        return  # the test's own deletion came first
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
