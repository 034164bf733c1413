"""The facade that readers have is the one that the move's row tells of, whoever changed either while another waited."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import cutover.prepare
import cutover.views
from cutover.doctor import _facades
from cutover.facade import facade_columns, replace
from cutover.flip import flip, flip_back
from cutover.flip_report import FlipReport
from cutover.gate import GateClosed
from cutover.views import ViewsReport, install_views
from sql.connection import Connection, connect
from sql.errors import Refused
from sql.facade import facade_of
from sql.model import Move
from tests.integration.background import Background
from tests.integration.prepared import Prepared, small_world
from tests.integration.small_plan import FACADE, PART
from tests.integration.test_flip import wait_until_looking

PRICE_OF = f"SELECT price FROM {FACADE.sql} WHERE id = 'p000001'"  # NULL on the consolidated side: nothing has streamed


@pytest.fixture
def world(dsn: str, plan_name: str, tmp_path: Path) -> Iterator[Prepared]:
    with small_world(dsn, plan_name, tmp_path) as world:
        world.prepare()
        world.open_gate()
        flip(world.dsn, world.plan, "part", "consolidated")
        yield world


def forget(world: Prepared) -> None:
    """As after an upgrade: prepare makes the facade again."""
    world.conn.execute("UPDATE cutover.move SET facade_forms = NULL")


def put(world: Prepared, percent: int) -> None:
    """The facade alone on another side: what a prepare of an older version left behind when a flip came first."""
    part = world.plan.move("part")
    with world.conn.transaction():
        replace(world.conn, part.plan, "part", PART.sql, facade_of(part, facade_columns(world.conn, part)), percent)


def standing(world: Prepared) -> tuple[object, object]:
    """Percent by the row, and the side by what a reader sees."""
    percent = world.value("SELECT percent FROM cutover.move WHERE move = 'part'")
    return percent, "legacy" if world.value(PRICE_OF) is not None else "consolidated"


def test_a_flip_that_comes_while_prepare_waits_is_not_undone(world: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    forget(world)

    def late(conn: Connection, move: Move, lock_timeout_ms: int) -> ViewsReport:
        if move.name == "part":
            flip(world.dsn, world.plan, "part", "legacy")
        return install_views(conn, move, lock_timeout_ms)

    monkeypatch.setattr(cutover.prepare, "install_views", late)
    world.prepare()
    assert standing(world) == (0, "legacy")
    monkeypatch.undo()
    assert world.prepare().steps == []


def test_a_flip_that_comes_while_prepare_waits_for_the_lock_is_not_undone(world: Prepared) -> None:
    """A long reader keeps prepare from the facade; the row is flipped, and the view is made as the row is by then."""
    forget(world)
    with connect(world.dsn, "long") as long, long.transaction():
        long.execute(PRICE_OF)
        preparing = Background(world.prepare)
        wait_until_looking(world, "cutover prepare")
        world.conn.execute("UPDATE cutover.move SET side = 'legacy', percent = 0 WHERE move = 'part'")
    assert preparing.join() is None
    assert standing(world) == (0, "legacy")


def test_no_flip_comes_between_the_row_and_the_view(world: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    """What prepare has read of the row holds until its view is there: a flip writes the row first."""
    forget(world)
    kept: list[str] = []

    def read(conn: Connection, move: Move) -> int:
        percent = of_the_row(conn, move)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            world.conn.execute("SELECT FROM cutover.move WHERE move = %s FOR NO KEY UPDATE NOWAIT", (move.name,))
        kept.append(move.name)
        return percent

    of_the_row = cutover.views._percent
    monkeypatch.setattr(cutover.views, "_percent", read)
    world.prepare()
    assert kept == ["part", "order"]


def test_a_changed_mapping_is_refused_when_a_flip_comes_while_prepare_waits(world: Prepared) -> None:
    flip(world.dsn, world.plan, "part", "legacy")
    world.conn.execute(f"COMMENT ON VIEW {world.plan.move('part').view.sql} IS 'cutover: mapping of another day'")
    with connect(world.dsn, "long") as long, long.transaction():
        long.execute(PRICE_OF)
        preparing = Background(world.prepare)
        wait_until_looking(world, "cutover prepare")
        world.conn.execute("UPDATE cutover.move SET side = 'consolidated', percent = 100 WHERE move = 'part'")
    refused = preparing.join()
    assert isinstance(refused, Refused)
    assert "has changed while 100 %" in str(refused)


def test_a_way_back_is_gone_behind_a_flip_that_came_first(world: Prepared) -> None:
    """It is always open, and who goes it at night does not want to be told to try again."""
    with connect(world.dsn, "long") as long, long.transaction():
        long.execute(PRICE_OF)
        reports: list[FlipReport | None] = []
        flipping = Background(lambda: reports.append(flip_back(world.dsn, world.plan.name, "part", "legacy")))
        wait_until_looking(world)
        world.conn.execute("UPDATE cutover.move SET side = 'legacy', percent = 50 WHERE move = 'part'")
    assert flipping.join() is None
    assert [(each.before_percent, each.percent) for each in reports if each] == [(50, 0)]
    assert world.value("SELECT percent FROM cutover.move WHERE move = 'part'") == 0
    assert world.value(PRICE_OF) is not None


def test_a_flip_does_not_put_back_a_facade_that_prepare_made_while_it_waited(world: Prepared) -> None:
    with connect(world.dsn, "long") as long, long.transaction():
        long.execute(PRICE_OF)
        flipping = Background(lambda: flip(world.dsn, world.plan, "part", "legacy"))
        wait_until_looking(world)
        forms = world.value("SELECT facade_forms FROM cutover.move WHERE move = 'part'")
        assert isinstance(forms, dict)
        changed = json.dumps(forms | {"legacy": forms["legacy"] + " WHERE true"})
        world.conn.execute("UPDATE cutover.move SET facade_forms = %s WHERE move = 'part'", (changed,))
    refused = flipping.join()
    assert isinstance(refused, Refused)
    assert "came first" in str(refused)
    assert standing(world) == (100, "consolidated")


def test_the_way_back_puts_a_facade_right_that_is_not_as_its_row(world: Prepared) -> None:
    flip(world.dsn, world.plan, "part", "legacy")
    put(world, 100)
    assert standing(world) == (0, "consolidated")
    (problem,) = _facades(world.conn, world.plan.name)
    assert (problem.severity, problem.cure) == ("broken", "cutover prepare part")
    assert flip_back(world.dsn, world.plan.name, "part", "legacy", dry_run=True) is not None
    assert standing(world) == (0, "consolidated")
    report = flip(world.dsn, world.plan, "part", "legacy")
    assert (report.mends, len(report.steps)) == (True, 1)
    assert standing(world) == (0, "legacy")
    assert list(_facades(world.conn, world.plan.name)) == []
    assert flip(world.dsn, world.plan, "part", "legacy").steps == ()


def test_prepare_puts_a_facade_right_that_is_not_as_its_row(world: Prepared) -> None:
    put(world, 0)
    assert world.prepare().steps == [f"view {FACADE.sql}"]
    assert standing(world) == (100, "consolidated")
    assert world.prepare().steps == []


def test_the_gate_is_asked_where_more_would_read_the_consolidated_side_than_do(world: Prepared) -> None:
    """Whatever the row says: readers are on the legacy side."""
    put(world, 0)
    world.conn.execute("DELETE FROM cutover.reconcile_run")
    with pytest.raises(GateClosed):
        flip(world.dsn, world.plan, "part", "consolidated")
    assert standing(world) == (100, "legacy")
    world.open_gate()
    assert flip(world.dsn, world.plan, "part", "consolidated").mends
    assert standing(world) == (100, "consolidated")


def test_a_target_without_a_mapped_column_is_refused_in_words(world: Prepared) -> None:
    flip(world.dsn, world.plan, "part", "legacy")
    world.conn.execute(f"ALTER TABLE {PART.sql} RENAME COLUMN note TO remark")
    with pytest.raises(Refused, match="lacks the column note"):
        flip(world.dsn, world.plan, "part", "consolidated")
