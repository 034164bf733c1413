"""Prepare: everything a move needs, idempotent, online, resumable."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutover.flip import flip
from cutover.interrupted import Interrupted
from cutover.views import mapping_untouched
from sql.errors import Refused
from sql.names import Name
from tests.integration.prepared import Prepared, small_world
from tests.integration.small_plan import FACADE, PART, PRICE


@pytest.fixture
def world(dsn: str, plan_name: str, tmp_path: Path) -> Iterator[Prepared]:
    with small_world(dsn, plan_name, tmp_path) as world:
        yield world


def test_prepare_makes_all_and_a_second_call_nothing(world: Prepared) -> None:
    first = world.prepare()
    assert first.gap is None
    assert any("REPLICA IDENTITY" in step for step in first.steps)
    assert f"view {FACADE.sql}" in first.steps
    assert f"slot cutover_{world.plan.name}" in first.steps
    assert world.value(f"SELECT count(*) FROM {FACADE.sql}") == 100
    assert world.value("SELECT count(*) FROM cutover.position") == 4
    assert world.prepare().steps == []
    assert world.value("SELECT count(*) FROM pg_replication_slots WHERE slot_name = %s", (world.plan.slot,)) == 1


def test_c4_without_leave_prepare_refuses_with_the_exact_statements_and_writes_go_on(world: Prepared) -> None:
    with pytest.raises(Refused) as refused:
        world.prepare(set_identity=False)
    statements = [line.strip() for line in str(refused.value).splitlines() if line.strip().endswith(";")]
    assert any("CREATE UNIQUE INDEX CONCURRENTLY" in statement for statement in statements)
    world.conn.execute(f"UPDATE {PRICE.sql} SET note = %s", ("still writable",))
    assert world.value("SELECT count(*) FROM pg_publication") == 0
    for statement in statements:
        world.conn.execute(statement.rstrip(";").encode(), prepare=False)
    world.prepare(set_identity=False)
    world.conn.execute(f'UPDATE {PRICE.sql} SET "Währung" = "Währung" + 1')
    world.conn.execute(f"DELETE FROM {PRICE.sql} WHERE note IS NULL OR id < 10")


def test_c11_publication_sends_mapped_columns_and_the_identity_only(world: Prepared) -> None:
    world.prepare()
    lists: dict[str, list[str]] = dict(
        world.conn.execute(
            "SELECT tablename::text, attnames::text[] FROM pg_publication_tables WHERE pubname = %s",
            (world.plan.publication,),
        ).fetchall()
    )
    assert lists["Teil Preis"] == ["id", "Teil", "Währung", "note"]
    assert lists["Teil"] == ["id", "name", "version"]
    # ext may be NULL, so only FULL carries it, and FULL forbids a column list: capture strips.
    assert lists["Verkauf"] == ["id", "ext", "gross", "buyer_email"]


@pytest.mark.parametrize("point", ["_refuse_to_leave", "_publication"])
def test_an_interrupted_prepare_says_what_it_has_done(
    world: Prepared, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"cutover.prepare._Call.{point}", interrupt)
        with pytest.raises(Interrupted) as told:
            world.prepare()
    said = str(told.value)
    if point == "_publication":
        assert said.startswith("interrupted, with ")
        assert f"\n  view {FACADE.sql}" in said
        assert "the same command goes on" in said
        assert f"view {FACADE.sql}" not in world.prepare().steps
    else:
        assert said == "interrupted: nothing was changed"
        assert world.value("SELECT to_regnamespace('cutover') IS NULL") is True


def test_l3_another_number_of_partitions_is_refused(world: Prepared) -> None:
    world.prepare()
    moves = tuple(dataclasses.replace(move, partitions=3) for move in world.plan.moves)
    world.plan = dataclasses.replace(world.plan, moves=moves)
    with pytest.raises(Refused, match="2 partitions"):
        world.prepare()


def test_a_slot_of_somebody_else_is_refused(world: Prepared) -> None:
    world.conn.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (world.plan.slot,))
    with pytest.raises(Refused, match="does not know the plan"):
        world.prepare()


@pytest.mark.parametrize(("table", "percent"), [(PRICE, 0), (PART, 100)], ids=["source", "target"])
def test_c10_a_view_goes_on_reading_a_table_that_was_renamed_until_prepare(
    world: Prepared, table: Name, percent: int
) -> None:
    """Another one took its name: nothing in the view's text tells. Read by it, both sides would be called equal."""
    world.prepare()
    if percent:
        world.open_gate()
        flip(world.dsn, world.plan, "part", "consolidated")
    gone = Name(table.schema, "gone")
    for statement in (
        f'ALTER TABLE {table.sql} RENAME TO "gone"',
        f"CREATE TABLE {table.sql} (LIKE {gone.sql} INCLUDING ALL)",
        f"INSERT INTO {table.sql} OVERRIDING SYSTEM VALUE SELECT * FROM {gone.sql}",
        f"UPDATE {table.sql} SET note = 'new'",
    ):
        world.conn.execute(statement.encode())
    note = f"SELECT DISTINCT note FROM {FACADE.sql}"
    assert world.value(note) != "new"
    assert not mapping_untouched(world.conn, world.plan.move("part"))
    world.plan = world.small.compile(world.conn)
    world.prepare()
    assert world.value(note) == "new"
    assert mapping_untouched(world.conn, world.plan.move("part"))
    assert world.prepare().steps == []
