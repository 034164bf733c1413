"""Changes that would pass by unseen: a publication altered by somebody else, a plan that changes under the stream."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import cutover.prepare
from cdc import capture
from consumers import worker
from consumers.backfill import backfill
from cutover.doctor import examine
from cutover.problem import exit_code
from cutover.settings import Settings
from sql.errors import Gap, Refused
from tests.integration.rig import ITEM, Rig, prepared, shop
from tests.integration.test_gaps import heal, recorded_gap, write
from tests.services.topics import forget

pytestmark = pytest.mark.parametrize(
    ("server", "log_address"),
    [("pg15", "sqlite"), ("pg18", "sqlite")],
    indirect=True,
    ids=["pg15-sqlite", "pg18-sqlite"],
)


@pytest.fixture
def rig(dsn: str, plan_name: str, log_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(capture, "WATCH", 0.1)
    monkeypatch.setattr(worker, "WATCH", 0.1)
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        rig.capture()
        rig.consume()
        write(rig, 1)
        rig.backfill()
        rig.drain()
        yield rig


HIDDEN = {
    "dropped": ("DROP TABLE shop.item_cost", "ADD TABLE shop.item_cost"),
    "inserts-alone": ("SET (publish = 'insert')", "SET (publish = 'insert, update, delete, truncate')"),
    "filtered": ("SET TABLE shop.item_cost WHERE (cost < 0)", None),
}


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
@pytest.mark.parametrize("how", HIDDEN)
def test_c10_a_publication_that_somebody_altered_is_a_gap(rig: Rig, how: str, running: bool) -> None:
    """Put back or not, while capture runs or not: what it hid meanwhile is missing."""
    if not running:
        rig.stop()
    hide, show = HIDDEN[how]
    publication = f"ALTER PUBLICATION {rig.plan.publication}"
    rig.conn.execute(f"{publication} {hide}".encode())
    rig.conn.execute("UPDATE shop.item_cost SET cost = 5")
    if show:
        rig.conn.execute(f"{publication} {show}".encode())
    assert exit_code(examine(Settings(dsn=rig.dsn, log=rig.address, plan=str(rig.folder)))) == 5
    if running:
        rig.wait_until("SELECT gap IS NOT NULL FROM cutover.plan", timeout=60)
        rig.stop()
    else:
        (error,) = rig.ended(rig.capture())
        assert isinstance(error, Gap)
        rig.stop()
    assert "altered by somebody else" in recorded_gap(rig)
    rig.prepare()
    heal(rig)
    rig.capture()
    rig.consume()
    write(rig, 7)
    rig.drain()
    assert rig.differences() == {}


def test_c10_prepare_itself_finds_a_publication_that_was_altered(rig: Rig) -> None:
    rig.stop()
    rig.conn.execute(f"ALTER PUBLICATION {rig.plan.publication} DROP TABLE shop.item_cost".encode())
    rig.conn.execute("UPDATE shop.item_cost SET cost = 5")
    rig.prepare()
    assert "altered by somebody else" in recorded_gap(rig)


NOTES = ITEM.replace("s.state, h.held, s.note", "s.state, h.held, n.note").replace(
    "  LEFT JOIN LATERAL", "  LEFT JOIN shop.item_note n ON n.item_id = i.id\n  LEFT JOIN LATERAL"
)


def test_c10_a_source_that_is_added_loses_nothing_before_the_plan_is_recorded(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backfill of the old plan ends while the new source is published already, and changes."""
    rig.conn.execute("CREATE TABLE shop.item_note (item_id uuid PRIMARY KEY, note text)")
    rig.conn.execute("INSERT INTO shop.item_note SELECT id, 'old' FROM shop.item")
    toml = rig.folder / "plan.toml"
    toml.write_text(
        toml.read_text().replace("[moves.item.waive]", '[moves.item.waive]\n"shop.item_state.note" = "moved"')
    )
    (rig.folder / "item.sql").write_text(NOTES)
    old = rig.plan
    done: list[str] = []

    def reached(point: str) -> None:
        published = "SELECT count(*) FROM pg_publication_tables WHERE tablename = 'item_note'"
        if done or rig.conn.execute(published).fetchone() == (0,):
            return
        done.append(point)
        backfill(rig.dsn, old, old.move("item"), rig.open_log(), threading.Event())
        rig.conn.execute("UPDATE shop.item_note SET note = 'new'")
        rig.conn.execute("SELECT pg_logical_emit_message(true, 'test', repeat('x', 3000000))")

    monkeypatch.setattr(cutover.prepare, "reached", reached)
    rig.prepare()
    assert done
    assert rig.conn.execute("SELECT FROM cutover.backfill WHERE move = 'item'").fetchone() is None
    rig.backfill("item")
    rig.drain()
    assert rig.differences() == {}
    assert rig.conn.execute("SELECT gap FROM cutover.plan").fetchone() == (None,)


def test_a_move_that_leaves_the_plan_and_comes_back(rig: Rig) -> None:
    """Nobody waits for it meanwhile, and its log has no hole when it is back."""
    rig.stop()
    toml = rig.folder / "plan.toml"
    text = toml.read_text()
    toml.write_text(text[: text.index("[moves.price]")])
    rig.prepare()
    running = [rig.capture(), rig.consume()]
    write(rig, 2)
    rig.conn.execute("SELECT cutover.wait_for(pg_current_wal_insert_lsn(), %s)", (rig.name,))
    rig.conn.execute("SELECT pg_logical_emit_message(true, 'test', repeat('x', 3000000))")
    write(rig, 3)
    rig.conn.execute("SELECT cutover.wait_for(pg_current_wal_insert_lsn(), %s)", (rig.name,))
    assert rig.stop(*running) == []
    for partition, end in enumerate(rig.log.end_offsets(f"cutover.{rig.name}.price")):
        forget(rig.log, f"cutover.{rig.name}.price", partition, end)  # retention goes on without it
    whys = [each.what for each in examine(Settings(dsn=rig.dsn, log=rig.address, plan=str(rig.folder)))]
    assert not any("gap" in what or "outside" in what for what in whys)
    assert rig.conn.execute("SELECT gap FROM cutover.plan").fetchone() == (None,)
    toml.write_text(text)
    rig.prepare()
    assert rig.conn.execute("SELECT FROM cutover.backfill WHERE move = 'price'").fetchone() is None
    rig.capture()
    rig.consume()
    write(rig, 4)
    rig.backfill("price")
    rig.drain()
    assert rig.conn.execute("SELECT gap FROM cutover.plan").fetchone() == (None,)
    assert rig.differences() == {}


TWO = {
    "plan.toml": """
name = "{name}"

[moves.one]
target  = "x.one"
mapping = "one.sql"
key     = ["id"]
rows    = "all"

[moves.two]
target  = "x.two"
mapping = "two.sql"
key     = ["id"]
rows    = "all"
""",
    "one.sql": "SELECT s.id, s.amount FROM x.source s",
    "two.sql": "SELECT s.id, s.amount * 2 AS amount FROM x.source s",
}
TWO_TABLES = """
CREATE SCHEMA x;
CREATE TABLE x.source (id int PRIMARY KEY, amount int);
CREATE TABLE x.one (id int PRIMARY KEY, amount int);
CREATE TABLE x.two (id int PRIMARY KEY, amount int);
INSERT INTO x.source SELECT n, n FROM generate_series(1, 200) n;
"""


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_a_move_comes_back_whose_sources_another_move_kept_published(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path, running: bool
) -> None:
    """No source is added to the publication with it, and what was written meanwhile is in no record of its topic."""
    with prepared(Rig(dsn, plan_name, log_address, tmp_path, TWO_TABLES, TWO)) as rig:
        streams = [rig.capture(), rig.consume()]
        rig.backfill()
        rig.drain()
        toml = rig.folder / "plan.toml"
        text = toml.read_text()
        toml.write_text(text[: text.index("[moves.two]")])
        rig.prepare()
        rig.conn.execute("DELETE FROM x.source WHERE id % 3 = 0")
        rig.conn.execute("UPDATE x.source SET amount = amount + 1 WHERE id % 3 = 1")
        rig.conn.execute("SELECT cutover.wait_for(pg_current_wal_insert_lsn(), %s)", (rig.name,))
        if not running:
            assert rig.stop(*streams) == []
        toml.write_text(text)
        rig.prepare()
        assert len(rig.difference("two")) > 100
        assert rig.conn.execute("SELECT FROM cutover.backfill WHERE move = 'two'").fetchone() is None
        if not running:
            rig.capture()
            rig.consume()
        rig.backfill("two")
        rig.drain()
        assert rig.conn.execute("SELECT gap FROM cutover.plan").fetchone() == (None,)
        assert rig.differences() == {}


class Killed(Exception):
    """Where prepare ends."""


def test_c10_a_publication_that_was_altered_while_prepare_lay_killed_is_a_gap(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """… and put back. Prepare was killed between its change and the record of it: what it made is known all the same."""
    rig.stop()
    toml = rig.folder / "plan.toml"
    text = toml.read_text()
    toml.write_text(text[: text.index("[moves.price]")])

    def reached(point: str) -> None:
        if rig.conn.execute("SELECT publication_mark IS NULL FROM cutover.plan").fetchone() == (True,):
            raise Killed

    monkeypatch.setattr(cutover.prepare, "reached", reached)
    with pytest.raises(Killed):
        rig.prepare()
    monkeypatch.undo()
    hide, show = HIDDEN["dropped"]
    publication = f"ALTER PUBLICATION cutover_{rig.name}"
    rig.conn.execute(f"{publication} {hide}".encode())
    rig.conn.execute("UPDATE shop.item_cost SET cost = 8")
    rig.conn.execute(f"{publication} {show}".encode())
    rig.prepare()
    assert "altered by somebody else" in recorded_gap(rig)
    heal(rig)
    rig.capture()
    rig.consume()
    rig.drain()
    assert rig.differences() == {}


def test_a_prepare_that_was_killed_goes_on_without_a_gap(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own changes, half of them made, are nobody else's."""
    rig.stop()
    toml = rig.folder / "plan.toml"
    text = toml.read_text()
    toml.write_text(text[: text.index("[moves.price]")])
    for last in range(1, 30):
        steps = iter(range(last))

        def reached(point: str, steps: Iterator[int] = steps) -> None:
            if next(steps, None) is None:
                raise Killed

        monkeypatch.setattr(cutover.prepare, "reached", reached)
        try:
            rig.prepare()
        except Killed:
            continue
        break
    else:
        raise AssertionError("prepare has more steps than that")
    assert rig.conn.execute("SELECT gap FROM cutover.plan").fetchone() == (None,)


def test_heal_waits_for_a_prepare_that_was_killed_at_the_publication(rig: Rig) -> None:
    """The publication still hides changes: what was healed before it is mended would go stale unseen (C10)."""
    rig.stop()
    rig.conn.execute(f"ALTER PUBLICATION {rig.plan.publication} SET (publish = 'insert')".encode())
    # As prepare leaves it, killed between finding that and mending it.
    rig.conn.execute("UPDATE cutover.plan SET publication_mark = NULL, gap = 'altered', gap_since = now()")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        heal(rig)
    assert refused.value.returncode == 5
    assert recorded_gap(rig) == "altered"
    rig.conn.execute("UPDATE shop.item_cost SET cost = 9")
    rig.prepare()
    heal(rig)
    rig.capture()
    rig.consume()
    rig.drain()
    assert rig.differences() == {}


def test_a_slip_of_the_log_does_not_heal(rig: Rig, tmp_path: Path) -> None:
    """Another log is not made the plan's while its own is there."""
    from cdc.log import open_log
    from cutover.heal import heal as heal_plan

    other = open_log(f"sqlite:///{tmp_path / 'other.db'}")
    with pytest.raises(Refused, match="has its log"):
        heal_plan(rig.conn, rig.plan, [], other, lambda move: True, threading.Event())
    other.close()
