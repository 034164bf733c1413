"""What doctor says of moves beside what the processes tell: of none that is recorded, of one that stands still and is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cutover.doctor import examine
from cutover.prepare import prepare
from cutover.service import open_moves
from cutover.settings import Settings
from sql.errors import Refused
from tests.integration.rig import Rig, shop

pytestmark = pytest.mark.parametrize(
    ("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"]
)


@pytest.fixture
def rig(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> Iterator[Rig]:
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        yield rig


def settings_of(rig: Rig) -> Settings:
    return Settings(dsn=rig.dsn, log=rig.address, plan=str(rig.folder))


def of_move(rig: Rig, move: str) -> dict[str, tuple[str, str]]:
    return {each.what: (each.severity, each.cure) for each in examine(settings_of(rig)) if each.move == move}


def test_moves_of_which_nothing_is_recorded(rig: Rig) -> None:
    """One of several may not be prepared yet; without any, nothing is captured at all."""
    rig.conn.execute("DELETE FROM cutover.move WHERE move = 'item'")
    assert of_move(rig, "item") == {"item is not prepared": ("note", "cutover prepare item")}
    rig.conn.execute("DELETE FROM cutover.move")
    assert of_move(rig, "ledger") == {"ledger is not prepared": ("broken", "cutover prepare ledger")}
    with pytest.raises(Refused, match="no move of plan"):
        open_moves(settings_of(rig), None)


def test_a_move_that_stands_still_and_is_read(rig: Rig) -> None:
    stale = "item is read from the consolidated side, and nothing keeps it current"
    rig.capture()
    rig.consume()
    rig.backfill()
    rig.drain()
    rig.conn.execute("UPDATE cutover.move SET side = 'consolidated', percent = 100 WHERE move = 'item'")
    assert stale not in of_move(rig, "item")
    rig.conn.execute("UPDATE cutover.move SET halted = 'its source was truncated' WHERE move = 'item'")
    found = of_move(rig, "item")
    assert {"item is halted", stale} <= found.keys()
    assert found[stale] == ("broken", "cutover heal item")


def test_prepare_says_that_it_has_taken_a_changed_plan(rig: Rig) -> None:
    """Where nothing else was to be done for it."""
    file = rig.folder / "plan.toml"
    file.write_text(file.read_text().replace("[moves.item]", "# said otherwise\n[moves.item]"))
    mapping = next(rig.folder.glob("*.sql"))
    mapping.write_text(mapping.read_text() + "-- said otherwise\n")
    steps = prepare(rig.dsn, rig.compile(), rig.log, rig.compile).steps
    assert [step.partition(" (")[0] for step in steps] == ["record the plan as its files are now"]
    assert prepare(rig.dsn, rig.compile(), rig.log, rig.compile).steps == []
