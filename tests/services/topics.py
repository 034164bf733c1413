"""The topics of one plan, and their end."""

from __future__ import annotations

from kafka import KafkaAdminClient
from kafka.errors import UnknownTopicOrPartitionError

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


def _topics(admin: KafkaAdminClient, plan: str) -> list[str]:
    return sorted(name for name in admin.list_topics() if name.startswith(f"cutover.{plan}."))
