"""A broker that was asked at the wrong moment has lost nothing: what it does not name just then is not gone."""

from __future__ import annotations

import gc

import pytest

from cdc.log import open_log
from sql.errors import Gap, Unreachable
from tests.services.kafka import KafkaServer

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def test_l2_an_answer_without_brokers_loses_no_topic(
    kafka: KafkaServer, plan_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chaos found this: a broker that wakes is fenced for a moment, and a consumer took its answer for a gap."""
    topic = f"cutover.{plan_name}.t"
    log = open_log(kafka.address)
    log.ensure_topic(topic, 2)
    reader = log.reader()
    cluster = reader._manager.cluster  # type: ignore[attr-defined]
    update = cluster.update_metadata

    def without_brokers(answer: object) -> object:
        answer.brokers = []  # type: ignore[attr-defined]
        return update(answer)

    with monkeypatch.context() as patch:
        patch.setattr(cluster, "update_metadata", without_brokers)
        with pytest.raises(Unreachable):
            reader.assign({(topic, 0): 0, (topic, 1): 0})
    reader.assign({(topic, 0): 0, (topic, 1): 0})
    with pytest.raises(Gap):
        reader.assign({(topic, 2): 0})
    reader.close()
    log.delete_topic(topic)
    log.close()
    gc.collect()
