"""The letters of a batch's keys: found among ten thousand others, and closed when their keys are applied."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from consumers import dead_letters
from consumers.converge import Batch, Converger
from consumers.dead_letters import Key
from sql.files import load
from sql.render import array_literal
from tests.integration.arena import MOVE, PLAN, Arena, arena

DDL = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.t (a text, b text, v int, PRIMARY KEY (a, b));
CREATE TABLE new.t (a text, b text, v int, PRIMARY KEY (a, b));
"""
MAPPING = "SELECT t.a, t.b, t.v FROM old.t"
ODD: list[Key] = [('q"uo', "te"), ("back\\slash", "{}"), ("NULL", ""), ("a,b", " "), ("\U0001f980", "ü")]
MANY: list[Key] = [(f"k{n}", "x") for n in range(dead_letters._FEW + 1)]
LETTER = """
INSERT INTO cutover.dead_letter (plan, move, key, partition, "offset", sqlstate, message, state)
VALUES (%s, %s, %s, 0, 0, '22001', 'too long', %s)
"""


@pytest.fixture
def stage(dsn: str) -> Iterator[Arena]:
    with arena(dsn, DDL, MAPPING, key=("a", "b"), partitions=1) as it:
        it.run(
            'INSERT INTO cutover.dead_letter (plan, move, key, partition, "offset", sqlstate, message)'
            f" SELECT '{PLAN}', '{MOVE}', ARRAY['other', n::text], 0, 0, '22001', 'too long' FROM generate_series(1, 10000) n"
        )
        it.run("ANALYZE cutover.dead_letter")
        yield it


@pytest.mark.parametrize("beside", [[], MANY], ids=["few", "many"])
def test_the_letters_of_a_batch_are_closed_and_no_others(stage: Arena, beside: list[Key]) -> None:
    """A6: open and discarded ones; of a batch with few keys and with many, whatever is in their texts. The column that
    the letter left behind is made right, although the batch tells of none."""
    states = ["open", "discarded", "resolved", "open", "discarded"]
    for key, state in zip(ODD, states, strict=True):
        stage.conn.execute(LETTER, (PLAN, MOVE, list(key), state))
    keys = [*ODD[:4], *beside]
    stage.conn.cursor().executemany("INSERT INTO old.t VALUES (%s, %s, 1)", keys)
    worker = Converger(stage.conn, stage.move, "test")
    done = worker.apply(Batch(stage.move, dict.fromkeys(keys, (0, 0)), {"no.such"}, [], {0: None}, {}))
    assert (done.inserted, done.letters) == (len(keys), [])
    found = stage.run("SELECT state, count(*) FROM cutover.dead_letter GROUP BY state ORDER BY state")
    assert found == [("discarded", 1), ("open", 10_000), ("resolved", 4)]


def test_few_keys_do_not_pay_for_the_letters_of_others(stage: Arena) -> None:
    """The look goes by the keys, through the index, however many letters there are."""
    stage.run("SET plan_cache_mode = force_generic_plan")
    query = "EXPLAIN " + load("consume/waiting_letters_of")
    keys = [array_literal(key) for key in ODD]
    rows = stage.conn.execute(query.encode(), (keys, PLAN, MOVE), prepare=True).fetchall()
    plan = "\n".join(row[0] for row in rows)
    assert "dead_letter_unresolved" in plan
    assert "hash_array_extended(key" in plan.split("Index Cond")[1].split("Filter")[0]
