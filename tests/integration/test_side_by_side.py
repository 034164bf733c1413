"""Several sessions of one consumer process share its partitions, and end together."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc.log import open_log
from consumers.side_by_side import SideBySide
from consumers.worker import Worker
from sql.errors import Gap
from tests.integration.rig import Rig, shop
from tests.integration.test_gaps import recorded_gap, write

# Two sessions hold partitions: each has more locks than that of its presence.
BOTH_HOLD = """
SELECT count(*) = 2 FROM (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid IN (
         SELECT pid FROM pg_stat_activity WHERE application_name = %s) GROUP BY pid HAVING count(*) > 1) AS holding
"""


def side_by_side(rig: Rig, sessions: int) -> SideBySide:
    return SideBySide(
        [Worker(rig.dsn, rig.plan, rig.open_log(), rig.compile, beside=sessions) for _ in range(sessions)]
    )


ON_18 = pytest.mark.parametrize("server", ["pg18"], indirect=True)
ON_SQLITE = pytest.mark.parametrize("log_address", ["sqlite"], indirect=True)


@ON_18
def test_sessions_share_the_partitions_and_apply_each_change(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        rig.capture()
        both = side_by_side(rig, 2)
        rig.start(both.run)
        rig.wait_until(BOTH_HOLD, (f"cutover consume {rig.name}",))
        for cost in range(1, 6):
            write(rig, cost)
        rig.drain()
        assert rig.differences() == {}
        assert all(each.keys for each in both.workers)
        assert both.keys == sum(each.keys for each in both.workers)
        assert both.beat == min(each.beat for each in both.workers)


@ON_18
@ON_SQLITE
def test_what_ends_one_session_ends_all(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> None:
    """One of them reads a log that is not the plan's, which is a gap: it is told, and none goes on beside it."""
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        strange = open_log(f"sqlite:///{tmp_path / 'another.db'}")
        workers = [Worker(rig.dsn, rig.plan, log, rig.compile, beside=2) for log in (rig.open_log(), strange)]
        (error,) = rig.ended(rig.start(SideBySide(workers).run))
        assert isinstance(error, Gap)
        assert "another.db" in recorded_gap(rig)
        row = rig.conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", (f"cutover consume {rig.name}",)
        ).fetchone()
        assert row == (0,)
