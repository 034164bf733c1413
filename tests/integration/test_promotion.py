"""C3: the primary dies and a streaming standby is promoted; the service is pointed to it.

Without its slot there is a gap. With a failover slot (PostgreSQL 17 and newer) the stream goes on, unless the standby
lacked what the log has: then the log knows of a history that never was.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sql.connection import connect
from sql.errors import Gap
from tests.acceptance.test_gap_kinds import PRICE, World, world_of
from tests.integration.rig import Rig, prepared
from tests.integration.test_gaps import write
from tests.services.postgres import LocalPostgres
from tests.services.standby import Standby


@pytest.fixture
def primary(request: pytest.FixtureRequest) -> Iterator[LocalPostgres]:
    with LocalPostgres(request.param, {"synchronous_standby_names": ""}) as server:
        yield server


def streaming(rig: Rig) -> None:
    rig.capture()
    rig.consume()
    write(rig, 1)
    rig.conn.execute(PRICE)
    rig.backfill()
    rig.drain()


def insert_lsn(rig: Rig) -> str:
    row = rig.conn.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    return str(row[0])


def fail_over(rig: Rig, primary: LocalPostgres, standby: Standby) -> World:
    """The primary dies under the service; the standby takes over, and everybody goes there."""
    primary.kill()
    rig.stop()
    rig.conn.close()
    standby.promote()
    rig.dsn = standby.dsn_of("postgres")
    rig.conn = connect(rig.dsn, "test")
    return world_of(rig, rig.folder.parent)


@pytest.mark.parametrize("primary", [15, 18], indirect=True, ids=["pg15", "pg18"])
def test_c3_a_promoted_standby_without_the_slot_is_a_gap(
    primary: LocalPostgres, plan_name: str, tmp_path: Path
) -> None:
    """The standby has every transaction, and the slot stayed with the old primary."""
    with prepared(Rig(primary.dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path)) as rig:
        streaming(rig)
        rig.stop()
        # As slots are made by installations before 17, and by hand.
        rig.conn.execute("SELECT pg_drop_replication_slot(%s)", (rig.plan.slot,))
        row = rig.conn.execute(
            "SELECT lsn::text FROM pg_create_logical_replication_slot(%s, 'pgoutput')", (rig.plan.slot,)
        ).fetchone()
        assert row is not None
        rig.conn.execute("UPDATE cutover.plan SET consistent_point = %s, confirmed_lsn = %s", (row[0], row[0]))
        with Standby(primary) as standby:
            rig.capture()
            rig.consume()
            write(rig, 2)
            standby.wait_for_replay(insert_lsn(rig))
            world = fail_over(rig, primary, standby)
            write(rig, 3)
            cure = world.named()
            assert cure == "cutover heal"
            world.refused(["capture"])
            world.healed(cure)


@pytest.mark.parametrize("primary", [18], indirect=True, ids=["pg18"])
def test_c3_a_failover_slot_survives_a_promotion(primary: LocalPostgres, plan_name: str, tmp_path: Path) -> None:
    """The slot that prepare makes is on the standby too: the stream goes on there, and nothing needs healing."""
    with prepared(Rig(primary.dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path)) as rig:
        streaming(rig)
        with Standby(primary) as standby:
            standby.wait_for_slot(rig.plan.slot)
            write(rig, 2)
            standby.wait_for_replay(insert_lsn(rig))
            world = fail_over(rig, primary, standby)
            write(rig, 3)
            rig.capture()
            rig.consume()
            rig.drain()
            assert rig.differences() == {}
            assert rig.conn.execute("SELECT gap FROM cutover.plan").fetchone() == (None,)
            world.cli.eventually("reconcile")
            assert rig.stop() == []


@pytest.mark.parametrize("primary", [18], indirect=True, ids=["pg18"])
def test_c3_a_standby_that_lacked_the_last_transactions_is_a_gap(
    primary: LocalPostgres, plan_name: str, tmp_path: Path
) -> None:
    """It has the slot, and the log has commits that never were on this server."""
    with prepared(Rig(primary.dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path)) as rig:
        streaming(rig)
        with Standby(primary) as standby:
            standby.wait_for_slot(rig.plan.slot)
            standby.wait_for_replay(insert_lsn(rig))
            standby.cut()
            write(rig, 2)
            rig.drain()
            world = fail_over(rig, primary, standby)
            write(rig, 3)
            (error,) = rig.ended(rig.capture())
            assert isinstance(error, Gap)
            assert "set back" in str(error)
            rig.stop()
            world.healed(world.named())
