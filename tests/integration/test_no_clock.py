"""A3: no clock decides which change wins, neither the server's nor that of a machine of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc import frame
from cdc.frame import CHANGES, Frame
from tests.integration.rig import Rig, shop
from tests.integration.test_stream import items

YEARS = 50 * 366 * 86_400 * 1_000_000  # microseconds


@pytest.fixture
def rig(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> Iterator[Rig]:
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        yield rig


def at(found: Frame, later: int) -> bytes:
    """The same frame as a server with another clock would have brought it."""
    return frame.encode(
        CHANGES,
        lsn=found.lsn,
        time=found.time + later,
        keys=found.keys,
        sources=found.sources,
        relations=found.relations(),
        transactions=[(xid, lsn, time + later, first) for xid, lsn, time, first in found.transactions()],
        changes=found.changes(),
    )


@pytest.mark.parametrize("later", [YEARS, -YEARS], ids=["in fifty years", "fifty years ago"])
@pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
def test_a3_commit_times_decide_nothing(rig: Rig, later: int) -> None:
    """Old values come again, the newest of all by their commit time; or the newest values come as the oldest. A writer
    that let the last one win by its clock, or by its place in the log, would end with another value than the truth."""
    capture = rig.capture()
    items(rig, 40)
    rig.conn.execute("UPDATE shop.item_cost SET cost = 1")
    rig.conn.execute("UPDATE shop.payment SET amount = 1")
    rig.consume()
    rig.drain()
    old = [(record.partition, frame.decode(record.value)) for record in rig.placed("item")]
    rig.conn.execute("UPDATE shop.item_cost SET cost = 2")
    rig.drain()
    assert rig.stop(capture) == []
    move = rig.move("item")
    writer = rig.log.writer()
    for partition, found in old:
        if found.kind == CHANGES:
            writer.append(move.topic, partition, at(found, later))
    assert writer.wait(writer.queued(), 30)
    writer.close()
    ends = rig.log.end_offsets(move.topic)
    for partition, end in enumerate(ends):
        query = 'SELECT "offset" >= %s FROM cutover.position WHERE plan = %s AND move = %s AND partition = %s'
        rig.wait_until(query, (end, rig.name, move.name, partition))
    assert rig.difference("item") == []
    assert rig.conn.execute("SELECT DISTINCT cost FROM shop.item").fetchall() == [(2,)]
