"""Partitions of a source that come, go or are emptied by themselves: the target follows, or the move says why not."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers import worker
from cutover.doctor import examine
from cutover.prepare import prepare
from cutover.settings import Settings
from reconcile.run import reconcile
from sql.connection import connect
from sql.errors import Refused
from tests.integration.rig import Rig, prepared
from tests.integration.test_gaps import heal

pytestmark = pytest.mark.parametrize(
    ("server", "log_address"),
    [("pg15", "sqlite"), ("pg18", "sqlite")],
    indirect=True,
    ids=["pg15-sqlite", "pg18-sqlite"],
)

SCHEMA = """
CREATE SCHEMA p;
CREATE TABLE p.fact (item int, region int, price int, PRIMARY KEY (item, region)) PARTITION BY LIST (region);
CREATE TABLE p.fact1 PARTITION OF p.fact FOR VALUES IN (1);
CREATE TABLE p.fact2 PARTITION OF p.fact FOR VALUES IN (2);
CREATE TABLE p.fact3 PARTITION OF p.fact FOR VALUES IN (3) PARTITION BY HASH (item);
CREATE TABLE p.fact3a PARTITION OF p.fact3 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE p.fact3b PARTITION OF p.fact3 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE p.spare (item int NOT NULL, region int NOT NULL, price int, PRIMARY KEY (item, region));
CREATE TABLE p.now (item int PRIMARY KEY, total bigint, regions bigint);
CREATE TABLE p.label (item int PRIMARY KEY, label text);
CREATE TABLE p.label_now (item int PRIMARY KEY, label text);
INSERT INTO p.fact SELECT n, r, n * r FROM generate_series(1, 200) n, generate_series(1, 3) r;
INSERT INTO p.spare SELECT n, 4, n FROM generate_series(100, 300) n;
"""
FILES = {
    "plan.toml": """
name = "{name}"

[moves.sum]
target  = "p.now"
mapping = "sum.sql"
key     = ["item"]
rows    = "all"

[moves.label]
target  = "p.label_now"
mapping = "label.sql"
key     = ["item"]
rows    = "all"
""",
    "label.sql": "SELECT item, label FROM p.label",
    "sum.sql": "SELECT f.item, sum(f.price) AS total, count(DISTINCT f.region) AS regions FROM p.fact f GROUP BY f.item",
}
CHANGES = {
    "truncate": "TRUNCATE p.fact2",
    "truncate-below": "TRUNCATE p.fact3b",
    "attach": "ALTER TABLE p.fact ATTACH PARTITION p.spare FOR VALUES IN (4)",
    "detach": "ALTER TABLE p.fact DETACH PARTITION p.fact2; DELETE FROM p.fact2",
    "detach-concurrently": "ALTER TABLE p.fact DETACH PARTITION p.fact2 CONCURRENTLY",
    "detach-below": "ALTER TABLE p.fact3 DETACH PARTITION p.fact3a",
    "detach-all-below": "ALTER TABLE p.fact DETACH PARTITION p.fact3",
    "drop": "DROP TABLE p.fact2",
    "drop-below": "DROP TABLE p.fact3a",
    "away-and-back": "ALTER TABLE p.fact DETACH PARTITION p.fact2; UPDATE p.fact2 SET price = -1;"
    " ALTER TABLE p.fact ATTACH PARTITION p.fact2 FOR VALUES IN (2)",
    "away-and-back-above": "ALTER TABLE p.fact DETACH PARTITION p.fact3; UPDATE p.fact3 SET price = -1;"
    " ALTER TABLE p.fact ATTACH PARTITION p.fact3 FOR VALUES IN (3)",
    "exchange": "BEGIN; ALTER TABLE p.fact DETACH PARTITION p.fact2; DELETE FROM p.spare WHERE item < 150;"
    " UPDATE p.spare SET region = 2; ALTER TABLE p.fact ATTACH PARTITION p.spare FOR VALUES IN (2); COMMIT",
}


@pytest.fixture
def rig(dsn: str, plan_name: str, log_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(worker, "WATCH", 0.1)
    with prepared(Rig(dsn, plan_name, log_address, tmp_path, SCHEMA, FILES)) as rig:
        rig.capture()
        rig.consume()
        rig.backfill()
        rig.drain()
        yield rig


def change(rig: Rig, statements: str) -> None:
    """Each in a transaction of its own, as DETACH CONCURRENTLY wants it."""
    for statement in statements.split("; "):
        rig.conn.execute(statement.encode(), prepare=False)


def write(rig: Rig, stop: threading.Event) -> None:
    """An application that goes on with what region 1 has, and looks at nothing else."""
    dice = random.Random(7)
    with connect(rig.dsn, "writer") as conn:
        while not stop.is_set():
            row = (dice.randrange(1, 400), dice.randrange(1000))
            conn.execute(
                "INSERT INTO p.fact VALUES (%s, 1, %s) ON CONFLICT (item, region) DO UPDATE SET price = excluded.price",
                row,
            )
            conn.execute("DELETE FROM p.fact WHERE item = %s AND region = 1", (dice.randrange(1, 400),))


def settled(rig: Rig) -> None:
    """What hangs below the source is marked, and every key touched since is applied."""
    rig.wait_until(
        "SELECT m.partition_mark = cutover.partition_mark(ARRAY['p.fact'::regclass::oid]) AND b.finished_at IS NOT NULL"
        " FROM cutover.move m JOIN cutover.backfill b USING (plan, move) WHERE move = 'sum'"
    )
    rig.drain()


@pytest.mark.parametrize(
    "how", ["truncate", "attach", "detach-concurrently", "detach-all-below", "drop", "away-and-back-above", "exchange"]
)
def test_c8_a_partition_that_changes_while_the_stream_runs(rig: Rig, how: str) -> None:
    writer = rig.start(lambda stop: write(rig, stop))
    change(rig, CHANGES[how])
    assert rig.difference("sum") != []
    settled(rig)
    assert rig.stop(writer) == []
    rig.drain()
    assert rig.differences() == {}
    assert rig.stop() == []


@pytest.mark.parametrize("how", ["truncate-below", "detach", "detach-below", "drop-below", "away-and-back"])
def test_c8_a_partition_that_changed_while_nothing_ran(rig: Rig, how: str) -> None:
    """Doctor says so until it is mended; the plan may even be prepared again meanwhile."""
    assert rig.stop() == []
    change(rig, CHANGES[how])
    rig.prepare()
    settings = Settings(dsn=rig.dsn, log=rig.address, plan=str(rig.folder))
    assert any("partitions of a source" in each.what for each in examine(settings))
    rig.capture()
    rig.consume()
    settled(rig)
    assert rig.differences() == {}
    assert not any("partition" in each.what and "source" in each.what for each in examine(settings))


def test_c8_an_empty_partition_that_comes_costs_nothing(rig: Rig) -> None:
    """As every month: it is noted, and no key is touched again."""
    rig.conn.execute("CREATE TABLE p.fact9 PARTITION OF p.fact FOR VALUES IN (9)")
    settled(rig)
    assert rig.conn.execute("SELECT count(*) FROM cutover.event WHERE what = 'partitions-changed'").fetchone() == (0,)
    rig.conn.execute("INSERT INTO p.fact SELECT n, 9, n FROM generate_series(1, 500) n")
    rig.drain()
    assert rig.differences() == {}


HIDING = {
    "unlogged": ("ALTER TABLE p.fact2 SET UNLOGGED", "ALTER TABLE p.fact2 SET LOGGED", "is unlogged"),
    "identity": (
        "ALTER TABLE p.fact2 REPLICA IDENTITY NOTHING",
        "ALTER TABLE p.fact2 REPLICA IDENTITY DEFAULT",
        "has no replica identity",
    ),
    "inherited": (
        "CREATE TABLE p.child () INHERITS (p.label)",
        "ALTER TABLE p.child NO INHERIT p.label",
        "is a child by inheritance",
    ),
}


@pytest.mark.parametrize("how", HIDING)
def test_c10_what_hides_its_changes_below_a_source_halts_the_move(rig: Rig, how: str) -> None:
    """What is written to it is nowhere in the stream; healed, once it is mended."""
    hide, mend, says = HIDING[how]
    move = "label" if how == "inherited" else "sum"
    rig.conn.execute(hide.encode())
    rig.wait_until("SELECT halted IS NOT NULL FROM cutover.move WHERE move = %s", (move,))
    assert says in str(rig.conn.execute("SELECT halted FROM cutover.move WHERE move = %s", (move,)).fetchone())
    with pytest.raises(Refused):
        prepare(rig.dsn, rig.compile(), rig.log, rig.compile)
    rig.conn.execute("UPDATE p.fact SET price = price + 1 WHERE region = 1")
    rig.conn.execute(mend.encode())
    heal(rig)
    settled(rig)
    assert rig.differences() == {}


def test_what_a_consumer_is_about_to_follow_is_no_drift(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys of a partition that was emptied differ at once, and nothing in the stream will mend that."""
    assert rig.stop() == []
    monkeypatch.setattr(worker, "WATCH", 1_000_000_000.0)  # it never looks
    rig.capture()
    rig.consume()
    assert reconcile(rig.dsn, rig.plan, ["sum"]).verdict == "match"
    change(rig, CHANGES["truncate"])
    (move,) = reconcile(rig.dsn, rig.plan, ["sum"], timeout=2).moves
    assert move.verdict == "lag"
    assert {each.reason for each in move.differences} == {
        "partitions of a source came, went or were emptied: the consumers are about to touch every key"
    }
