"""Progress belongs to a slot, not to its name: every way to lose it is a gap."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc.gap import mark_gap
from cdc.slot import check_slot, recreate_slot
from sql.connection import connect
from sql.errors import Refused
from tests.integration.prepared import Prepared, small_world
from tests.integration.small_plan import PART
from tests.services.postgres import PostgresServer


@pytest.fixture
def world(dsn: str, plan_name: str, tmp_path: Path) -> Iterator[Prepared]:
    with small_world(dsn, plan_name, tmp_path) as world:
        world.prepare()
        yield world


def _write(world: Prepared) -> None:
    world.conn.execute(f"UPDATE {PART.sql} SET version = version + 1")


def test_a_slot_that_is_ours_has_no_gap(world: Prepared) -> None:
    _write(world)
    status = check_slot(world.conn, world.plan)
    assert status.gap is None
    assert not status.active
    assert status.lag_bytes is not None
    assert status.lag_bytes > 0


def test_c2_a_recreated_slot_of_the_same_name_is_a_gap(world: Prepared) -> None:
    world.conn.execute("SELECT pg_drop_replication_slot(%s)", (world.plan.slot,))
    missing = check_slot(world.conn, world.plan).gap
    assert missing is not None
    assert "does not exist" in missing
    _write(world)
    world.conn.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (world.plan.slot,))
    recreated = check_slot(world.conn, world.plan).gap
    assert recreated is not None
    assert "re-created" in recreated


def test_c2_a_slot_that_somebody_advanced_is_a_gap(world: Prepared) -> None:
    _write(world)
    world.conn.execute("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", (world.plan.slot,))
    gap = check_slot(world.conn, world.plan).gap
    assert gap is not None


def test_c3_another_server_is_a_gap(world: Prepared) -> None:
    world.conn.execute("UPDATE cutover.plan SET system_id = '42'")
    gap = check_slot(world.conn, world.plan).gap
    assert gap is not None
    assert "another server" in gap


def test_prepare_reports_a_gap_and_does_not_hide_it(world: Prepared) -> None:
    world.conn.execute("SELECT pg_drop_replication_slot(%s)", (world.plan.slot,))
    report = world.prepare()
    assert report.gap is not None
    assert world.value("SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", (world.plan.slot,)) == 0
    recreate_slot(world.conn, world.plan)
    assert check_slot(world.conn, world.plan).gap is None
    assert world.value("SELECT gap FROM cutover.plan") is not None  # only heal takes it away


def test_the_first_reason_of_a_gap_stays(world: Prepared) -> None:
    mark_gap(world.conn, world.plan, "first")
    mark_gap(world.conn, world.plan, "second")
    assert world.value("SELECT gap FROM cutover.plan") == "first"
    assert world.value("SELECT count(*) FROM cutover.event WHERE what = 'gap'") == 1


def test_a_slot_in_another_database_is_not_touched(world: Prepared, server: PostgresServer) -> None:
    world.conn.execute("SELECT pg_drop_replication_slot(%s)", (world.plan.slot,))
    with connect(server.dsn, "other") as other:
        other.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (world.plan.slot,))
        try:
            with pytest.raises(Refused, match="belongs to"):
                recreate_slot(world.conn, world.plan)
        finally:
            other.execute("SELECT pg_drop_replication_slot(%s)", (world.plan.slot,))


def test_c3_an_invalidated_slot_is_a_gap(own_server: PostgresServer, plan_name: str, tmp_path: Path) -> None:
    with small_world(own_server.dsn, plan_name, tmp_path) as world:
        world.prepare()
        for statement in (
            "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'",
            "ALTER SYSTEM SET min_wal_size = '32MB'",
            "ALTER SYSTEM SET max_wal_size = '32MB'",
            "SELECT pg_reload_conf()",
            "CREATE TABLE noise AS SELECT 0 AS n",
        ):
            world.conn.execute(statement.encode())
        for _ in range(20):
            world.conn.execute("INSERT INTO noise SELECT generate_series(1, 100000)")
            world.conn.execute("SELECT pg_switch_wal()")
            world.conn.execute("CHECKPOINT")
            status = check_slot(world.conn, world.plan)
            if status.gap is not None:
                break
        assert status.gap is not None
        assert "invalidated" in status.gap
        assert status.wal_status == "lost"
