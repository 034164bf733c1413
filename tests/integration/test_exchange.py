"""Unique values that keys take from one another: swaps and chains, in one batch and over several partitions (A6)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from consumers.converge import Batch, Converger, Result
from consumers.positions import Advance
from consumers.worker import Worker
from tests.integration.arena import Arena, arena
from tests.integration.rig import Rig

DDL = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.t (id int PRIMARY KEY, code text, qty int);
CREATE TABLE new.t (id int PRIMARY KEY, code text {unique}, qty int);
INSERT INTO old.t SELECT n, 'c' || n, n FROM generate_series(1, 9) n;
INSERT INTO new.t TABLE old.t;
"""
MAPPING = "SELECT t.id, t.code, t.qty FROM old.t"
KINDS = {
    "plain": "UNIQUE",
    "immediate": "NOT NULL UNIQUE DEFERRABLE",
    "deferred": "NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED",
    "expression": ", EXCLUDE USING btree (lower(code) WITH =)",
}
KIND = pytest.mark.parametrize("unique", KINDS.values(), ids=KINDS.keys())
NOT_NULL = "NOT NULL UNIQUE"
LETTER = """
INSERT INTO cutover.dead_letter (plan, move, key, partition, "offset", sqlstate, message)
VALUES (%s, %s, %s::text[], 0, 0, '23505', 'taken')
"""
SWAP = "UPDATE old.t SET code = CASE id WHEN 1 THEN 'c2' WHEN 2 THEN 'c1' END, qty = 0 WHERE id IN (1, 2)"
CHAIN = "UPDATE old.t SET code = 'c' || id + 1, qty = 0 WHERE id BETWEEN 5 AND 9"  # 5 takes what 6 has, and so on


@pytest.fixture
def unique() -> str:
    return NOT_NULL


@pytest.fixture
def stage(dsn: str, unique: str) -> Iterator[Arena]:
    with arena(dsn, DDL.format(unique=unique), MAPPING) as it:
        yield it


class Hand:
    """A worker's session, a batch at a time: odd keys are of partition 1, even ones of 0."""

    def __init__(self, stage: Arena) -> None:
        self.stage, self.converger, self.offset = stage, Converger(stage.conn, stage.move, "test"), 0

    def apply(self, *keys: int) -> Result:
        """One batch of these keys; none: what a watermark is."""
        self.offset += 1
        partitions = {key % 2 for key in keys} or {0, 1}
        return self.converger.apply(
            Batch(
                self.stage.move,
                {(str(key),): (key % 2, self.offset) for key in keys},
                {"old.t"},
                [],
                dict.fromkeys(partitions),
                {at: Advance(self.offset, 0, 0, None) for at in partitions},
            )
        )

    def rested(self) -> None:
        """The pause between attempts is over."""
        self.converger._exchange._ended = -1000.0

    def open(self) -> list[int]:
        """The keys of open letters."""
        rows = self.stage.run("SELECT key[1]::int FROM cutover.dead_letter WHERE state = 'open' ORDER BY 1")
        return [key for (key,) in rows]

    def differing(self) -> list[int]:
        rows = self.stage.run("SELECT id FROM (TABLE old.t EXCEPT TABLE new.t) d ORDER BY id")
        return [key for (key,) in rows]


@pytest.fixture
def hand(stage: Arena) -> Hand:
    return Hand(stage)


@KIND
def test_in_one_batch(stage: Arena, hand: Hand) -> None:
    stage.run(SWAP)
    stage.run(CHAIN)
    done = hand.apply(*range(1, 10))
    assert (done.letters, done.updated, hand.open(), hand.differing()) == ([], 7, [], [])


@KIND
@pytest.mark.parametrize("order", [(1, 2), (2, 1)], ids=["forwards", "backwards"])
def test_each_in_a_batch_of_its_own(stage: Arena, hand: Hand, order: Sequence[int]) -> None:
    """The first of the two cannot be applied and is a letter, until the other partition has come as far."""
    stage.run(SWAP)
    first, second = order
    assert [letter.key for letter in hand.apply(first).letters] == [(str(first),)]
    hand.rested()
    assert (hand.apply(second).letters, hand.open(), hand.differing()) == ([], [], [])


@KIND
def test_a_chain_over_two_partitions(stage: Arena, hand: Hand) -> None:
    """Even keys wait for odd ones and the reverse; what nobody waits for any more comes with the next watermark."""
    stage.run(CHAIN)
    hand.apply(6, 8)
    hand.rested()
    hand.apply(5, 7, 9)
    hand.rested()
    hand.apply()
    assert (hand.open(), hand.differing()) == ([], [])


@pytest.mark.parametrize("unique", ["UNIQUE"])
def test_letters_that_have_no_key_of_the_move_are_left_alone(stage: Arena, hand: Hand) -> None:
    """Of an earlier key, or entered by hand: beside those that can be applied now."""
    stage.run(SWAP)
    for key in ("{1,x}", "{{1},{2}}", "{NULL}", "{}"):
        stage.conn.execute(LETTER, (stage.move.plan, stage.move.name, key))
    hand.apply(1)
    hand.rested()
    hand.apply(2)
    left = stage.run("SELECT key::text FROM cutover.dead_letter WHERE state = 'open' ORDER BY id")
    assert (left, hand.differing()) == ([("{1,x}",), ("{{1},{2}}",), ("{NULL}",), ("{}",)], [])


@KIND
def test_what_is_wrong_for_good(stage: Arena, hand: Hand, unique: str) -> None:
    """Two rows with one code, and one that wants what the first of them does not give up. They hold up no other where
    rows can give their values up; where that is NOT NULL, the others wait until it is mended."""
    stage.run(SWAP)
    stage.run("UPDATE old.t SET code = 'c4', qty = 0 WHERE id = 3")
    stage.run("UPDATE old.t SET code = 'c3', qty = 0 WHERE id = 5")
    for key in (1, 3, 5):
        hand.apply(key)
    hand.rested()
    hand.apply(2)
    held = [1, 2, 3, 5] if "NOT NULL" in unique else [3, 5]
    assert (hand.open(), hand.differing()) == (held, held)
    stage.run("UPDATE old.t SET code = 'c0' WHERE id = 4")  # mended at the source: its own change is all that comes
    hand.rested()
    hand.apply(4)
    hand.rested()
    hand.apply()
    assert (hand.open(), hand.differing()) == ([], [])


@pytest.mark.parametrize("keys", [(3, 7), (7, 3)], ids=["forwards", "backwards"])
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "two batches"])
def test_a_row_that_goes_leaves_its_value_to_one_that_comes(
    stage: Arena, hand: Hand, keys: tuple[int, int], together: bool
) -> None:
    """Also where it may not be NULL, and comes before the other in the order of keys, or after it."""
    gone, come = keys
    stage.run("DELETE FROM new.t WHERE id = %s", come)
    stage.run("DELETE FROM old.t WHERE id = %s", gone)
    stage.run("UPDATE old.t SET code = %s WHERE id = %s", f"c{gone}", come)
    if together:
        assert hand.apply(gone, come).changed == 2
    else:
        hand.apply(come)
        hand.rested()
        hand.apply(gone)
        hand.rested()
        hand.apply()
    assert (hand.open(), hand.differing()) == ([], [])


def test_a_swap_that_the_constraint_does_not_allow(stage: Arena, hand: Hand) -> None:
    """NOT NULL and not deferrable: PostgreSQL itself cannot do it. Open letters that say so; once the constraint is
    deferrable, a retry of either mends both. A chain has an order in which it can be done."""
    stage.run(SWAP)
    stage.run(CHAIN)
    hand.apply(*range(1, 10))
    assert (hand.open(), hand.differing()) == ([1, 2], [1, 2])
    messages = stage.run("SELECT DISTINCT message FROM cutover.dead_letter WHERE state = 'open'")
    assert messages == [('duplicate key value violates unique constraint "t_code_key" (constraint t_code_key)',)]
    stage.run("ALTER TABLE new.t DROP CONSTRAINT t_code_key, ADD UNIQUE (code) DEFERRABLE")
    hand.rested()
    hand.apply(1)
    assert (hand.open(), hand.differing()) == ([], [])


@pytest.mark.parametrize("unique", ["UNIQUE CHECK (code <> '' AND code IS NOT NULL)"])
def test_a_column_that_may_not_be_given_up(stage: Arena, hand: Hand) -> None:
    """A CHECK forbids what a NULL would do: every other key is applied all the same."""
    stage.run(SWAP)
    stage.run("UPDATE old.t SET qty = -1 WHERE id = 4")
    hand.apply(*range(1, 10))
    assert (hand.open(), hand.differing()) == ([1, 2], [1, 2])


@pytest.mark.parametrize("unique", ["UNIQUE"])
def test_a_column_that_others_refer_to_is_never_given_up(stage: Arena, hand: Hand) -> None:
    """ON UPDATE CASCADE would empty the other table's column with it, for good."""
    stage.run("CREATE TABLE new.other (code text REFERENCES new.t (code) ON UPDATE CASCADE)")
    stage.run("INSERT INTO new.other VALUES ('c1')")
    stage.run(SWAP)
    hand.apply(1, 2)
    assert hand.open() == [1, 2]
    assert stage.run("TABLE new.other") == [("c1",)]


PLAN = """
name = "{name}"
[moves.part]
target     = "new.t"
mapping    = "part.sql"
key        = ["id"]
rows       = "existing"
partitions = 4
"""
STREAMED = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.t (id int PRIMARY KEY, code text UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE new.t (id int PRIMARY KEY, code text {unique}, mine text DEFAULT 'm');
INSERT INTO old.t SELECT n, 'c' || n FROM generate_series(1, 24) n;
INSERT INTO new.t TABLE old.t;
"""
BOTH = pytest.mark.parametrize(
    ("server", "log_address", "unique"),
    [("pg15", "kafka", "UNIQUE"), ("pg18", "sqlite", "NOT NULL UNIQUE DEFERRABLE")],
    indirect=["server", "log_address"],
    ids=["pg15-kafka", "pg18-sqlite"],
)


@BOTH
def test_two_workers_share_the_keys_that_swap(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path, unique: str
) -> None:
    """Random permutations, one a transaction: at the end the target is the mapping, and no letter is open."""
    mapping = "SELECT n.id, o.code FROM new.t n LEFT JOIN old.t o ON o.id = n.id"
    rig = Rig(
        dsn, plan_name, log_address, tmp_path, STREAMED.format(unique=unique), {"plan.toml": PLAN, "part.sql": mapping}
    )
    try:
        rig.prepare()
        rig.capture()
        for name in ("one", "two"):
            worker = Worker(rig.dsn, rig.plan, rig.open_log(), rig.compile)
            worker.name = name
            rig.start(worker.run)
        rig.wait_until("SELECT count(DISTINCT worker) = 2 FROM cutover.position WHERE plan = %s", (plan_name,))
        dice = random.Random(4)
        for _ in range(60):
            some = dice.sample(range(1, 25), dice.choice((2, 3, 8)))
            rig.conn.execute(
                "UPDATE old.t t SET code = o.code FROM unnest(%s::int[], %s::int[]) p (id, other)"
                " JOIN old.t o ON o.id = p.other WHERE t.id = p.id",
                (some, [*some[1:], some[0]]),
            )
        rig.drain()
        query = "SELECT NOT EXISTS (SELECT FROM cutover.dead_letter WHERE plan = %s AND state = 'open')"
        rig.wait_until(query, (plan_name,), 60)
        assert rig.differences() == {}
        assert rig.stop() == []
    finally:
        rig.close()
