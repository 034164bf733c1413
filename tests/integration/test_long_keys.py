"""Keys longer than an index takes (2,704 bytes): a letter, a difference or a decision about one is written all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from consumers.converge import Batch, Converger
from tests.integration.arena import arena
from tests.integration.rig import shop

ONE = pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
PG18 = pytest.mark.parametrize("server", ["pg18"], indirect=True)
# Long enough for the target's key, which has nothing else in its index, and for no index that has more.
LONG = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.a (k text PRIMARY KEY, v numeric); CREATE TABLE new.t (k text PRIMARY KEY, v numeric(3,1));
INSERT INTO old.a SELECT left(string_agg(md5(random()::text), ''), 2680), 1 FROM generate_series(1, 100);
INSERT INTO new.t SELECT k, 2 FROM old.a;
"""


@ONE
def test_a6_a_key_that_no_index_takes_is_a_dead_letter(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    """One poison row, whose letter could not be written, stopped all moves."""
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        rig.conn.execute("DROP INDEX shop.payment_ref_idx")
        rig.consume()
        rig.capture()
        rig.drain()
        rig.conn.execute(
            "INSERT INTO shop.payment (ref, amount)"
            " SELECT string_agg(md5(random()::text), ''), 1 FROM generate_series(1, 120)"
        )
        rig.conn.execute("INSERT INTO shop.payment (ref, amount) VALUES ('good', 1)")
        rig.drain()
        letters = rig.conn.execute("SELECT length(key[1]), state, sqlstate FROM cutover.dead_letter").fetchall()
        assert letters == [(3840, "open", "54000")]
        assert rig.conn.execute('SELECT ref FROM shop."order"').fetchall() == [("good",)]
        rig.conn.execute("DELETE FROM shop.payment WHERE length(ref) > 100")
        rig.drain()
        assert rig.differences() == {}
        assert rig.conn.execute("SELECT state FROM cutover.dead_letter").fetchall() == [("resolved",)]


@PG18
def test_a6_a_letter_about_a_long_key_is_written(dsn: str) -> None:
    with arena(dsn, LONG, "SELECT k, v FROM old.a", key=("k",), partitions=1) as it:
        it.run("UPDATE old.a SET v = 1000000")
        key = (str(it.run("SELECT k FROM old.a")[0][0]),)
        batch = Batch(it.move, {key: (0, 0)}, {"old.a"}, [], {0: None}, {})
        (letter,) = Converger(it.conn, it.move, "test").apply(batch).letters
        assert letter.sqlstate == "22003"
        assert it.run("SELECT key[1], attempts FROM cutover.dead_letter") == [(key[0], 1)]
        Converger(it.conn, it.move, "test").apply(batch)
        assert it.run("SELECT key[1], attempts FROM cutover.dead_letter") == [(key[0], 2)]


@PG18
def test_r1_a_difference_of_a_long_key_is_recorded(dsn: str) -> None:
    with arena(dsn, LONG, "SELECT k, v FROM old.a", key=("k",)) as it:
        for _ in range(2):
            assert it.reconcile(progress=lambda _: it.advance()).verdict == "drift"
            assert it.run("SELECT count(*) FROM cutover.difference WHERE gone_at IS NULL") == [(1,)]
        it.run("UPDATE new.t SET v = 1")
        assert it.reconcile(progress=lambda _: it.advance()).verdict == "match"
        assert it.run("SELECT count(*) FROM cutover.difference WHERE gone_at IS NULL") == [(0,)]
