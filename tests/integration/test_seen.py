"""Differences have a history: seen first, seen last, gone; whatever kind of run looked, and whichever ran beside it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from reconcile.document import MoveReport
from reconcile.scope import Draw, Selection
from sql.files import migrations
from tests.integration.arena import MOVE, Arena, arena

LEGACY = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.a (id int PRIMARY KEY, name text, note text);
CREATE TABLE new.t (id int PRIMARY KEY, name text, note text);
INSERT INTO old.a SELECT n, 'name ' || n, 'n' FROM generate_series(1, 100) n;
"""
pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True)


@pytest.fixture
def it(dsn: str) -> Iterator[Arena]:
    with arena(dsn, LEGACY, "SELECT a.id, a.name, a.note FROM old.a") as it:
        it.drain()
        it.run("UPDATE new.t SET name = 'other' WHERE id IN (1, 2, 3)")
        yield it


def standing(it: Arena) -> set[str]:
    return {key[0] for (key,) in it.run("SELECT key FROM cutover.difference WHERE gone_at IS NULL")}


def part(it: Arena, **selection: object) -> MoveReport:
    return it.reconcile(only={MOVE: Selection(**selection)})  # type: ignore[arg-type]


def test_seen_first_seen_last_gone_and_back(it: Arena) -> None:
    first, second = it.reconcile(), it.reconcile()
    assert {each.first_seen for each in second.differences} == {first.started_at}
    assert {each.last_seen for each in second.differences} == {second.started_at}
    it.converge("1", "2")
    third = it.reconcile()
    assert {each.key[0] for each in third.differences} == {"3"}
    assert {(gone.key[0], gone.kind, gone.verdict) for gone in third.gone} == {
        ("1", "differs", "drift"), ("2", "differs", "drift"),
    }  # fmt: skip
    (gone, _) = third.gone
    assert (gone.first_seen, gone.last_seen, gone.gone_at) == (first.started_at, second.started_at, third.started_at)
    it.run("DELETE FROM new.t WHERE id = 1")
    fourth = it.reconcile()
    back = next(each for each in fourth.differences if each.key == ["1"])
    assert (back.first_seen, back.kind, fourth.gone_in_all) == (fourth.started_at, "missing", 2)
    (stored,) = it.run("SELECT document FROM cutover.reconcile_run ORDER BY id DESC LIMIT 1")
    assert [each["key"] for each in stored[0]["gone"]] == [each.key for each in fourth.gone]


def test_only_a_run_that_compared_a_key_whole_can_tell_that_it_is_gone(it: Arena) -> None:
    it.reconcile()
    it.converge("1", "2", "3")
    part(it, columns=("note",))
    part(it, columns=("note",), keys=[("1",)])
    part(it, draw=Draw(number=100))
    assert it.reconcile(listed=0, record=False).gone == []
    assert standing(it) == {"1", "2", "3"}
    assert [gone.key for gone in part(it, keys=[("1",), ("50",)]).gone] == [["1"]]
    assert standing(it) == {"2", "3"}
    it.reconcile()
    assert standing(it) == set()


def test_a_list_that_was_cut_tells_nothing_of_what_it_leaves_out(it: Arena) -> None:
    it.reconcile()
    it.reconcile(listed=1)
    assert standing(it) == {"1", "2", "3"}


def test_what_another_run_has_seen_since_is_not_gone(it: Arena) -> None:
    it.reconcile()
    it.converge("1", "2", "3")
    it.run("UPDATE cutover.difference SET last_seen = now() + interval '1 hour' WHERE key = '{2}'")
    it.reconcile()
    assert standing(it) == {"2"}


def test_what_is_long_gone_is_forgotten(it: Arena) -> None:
    it.reconcile()
    it.converge("1", "2", "3")
    assert it.reconcile().gone_in_all == 3
    it.run("UPDATE cutover.difference SET gone_at = gone_at - %s WHERE key <> '{3}'", timedelta(days=91))
    assert (it.reconcile().gone_in_all, it.run("SELECT count(*) FROM cutover.difference")) == (1, [(1,)])


def test_what_was_seen_before_there_was_a_history_is_in_it(it: Arena) -> None:
    first = it.reconcile()
    it.converge("1")
    second = it.reconcile()
    it.run("DROP TABLE cutover.difference, cutover.proof, cutover.accepted, cutover.review")
    it.conn.execute(dict(migrations())[4].encode(), prepare=False)
    assert it.run("SELECT key, kind, first_seen, last_seen FROM cutover.difference ORDER BY key") == [
        ([key], "differs", first.started_at, second.started_at) for key in ("2", "3")
    ]
