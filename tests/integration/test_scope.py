"""A closer look: some columns, a condition, a sample. Each finds what it looks at, and none is ever the proof."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from cutover.gate import gate
from cutover.selection import read_draw
from reconcile.diff import Comparison
from reconcile.document import MoveReport
from reconcile.pace import Pace
from reconcile.sample import Drawing
from reconcile.scope import Draw, Selection, words
from sql.errors import UsageError
from sql.predicate import read_predicate
from tests.integration.arena import MOVE, Arena, arena

LEGACY = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.a (id int PRIMARY KEY, name text, "Preis" numeric(10,2), email text);
CREATE TABLE new.t (id int PRIMARY KEY, name text, "Preis" numeric(10,2), email text, "none of ours" int);
INSERT INTO old.a SELECT n, 'name ' || n, n * 1.5, 'x' FROM generate_series(1, 1000) n;
"""
MAPPING = 'SELECT a.id, a.name, a."Preis", a.email FROM old.a'
ONE = pytest.mark.parametrize("server", ["pg18"], indirect=True)


@pytest.fixture
def it(dsn: str) -> Iterator[Arena]:
    with arena(dsn, LEGACY, MAPPING) as it:
        it.drain()
        yield it


def look(it: Arena, selection: Selection, **options: Any) -> MoveReport:
    return it.reconcile(only={MOVE: selection}, **options)


def where(it: Arena, text: str) -> Selection:
    return Selection(where=read_predicate(it.conn, it.move, text))


def test_only_these_columns_are_compared_and_it_is_not_the_proof(it: Arena) -> None:
    it.run("UPDATE new.t SET name = 'other' WHERE id <= 10")
    it.run("DELETE FROM new.t WHERE id = 20")
    report = look(it, Selection(columns=("Preis",)))
    assert (report.verdict, report.kinds["missing"], report.kinds["differs"]) == ("drift", 1, 0)
    assert (report.exact, report.scope.columns, report.compared_columns) == (False, ["Preis"], ["Preis"])
    assert look(it, Selection(columns=("name",))).rows.drift == 11
    it.run('INSERT INTO new.t SELECT id, name, "Preis", email FROM old.a WHERE id = 20')
    equal = look(it, Selection(columns=("Preis",)))
    assert (equal.verdict, equal.sentence) == (
        "match", "m: all 1,000 keys are equal in the chosen columns on both sides.",
    )  # fmt: skip


def test_a_key_counts_when_either_side_satisfies_the_condition(it: Arena) -> None:
    """What was moved across the condition by mistake is what one looks for: it must not vanish on one side."""
    it.run('UPDATE new.t SET "Preis" = -1 WHERE id = 7')  # only the target satisfies it
    it.run('UPDATE new.t SET "Preis" = 1 WHERE id = 1000')  # only the mapping does
    it.run("DELETE FROM new.t WHERE id = 999")
    it.run("UPDATE new.t SET name = 'unseen' WHERE id = 500")  # neither does
    for chunk_rows in (1, 300, 5000):
        report = look(it, where(it, '"Preis" < 0 OR "Preis" > 1495 -- a remark'), chunk_rows=chunk_rows)
        assert {each.key[0] for each in report.differences} == {"7", "999", "1000"}
        assert (report.rows.compared, report.rows.legacy, report.rows.consolidated) == (5, 5, 4)
        assert not report.exact
        assert report.scope.where == '"Preis" < 0 OR "Preis" > 1495 -- a remark'


@ONE
def test_a_condition_has_percent_signs_keys_and_non_ascii_text(it: Arena) -> None:
    it.run("UPDATE old.a SET name = 'Größe 100%' WHERE id = 3")
    it.drain()
    report = look(it, where(it, "'Größe' <> name AND name LIKE '%100\\%' AND id BETWEEN 1 AND 10"))
    assert (report.verdict, report.rows.compared) == ("match", 1)


@ONE
@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("preis > 1", "1:1", 'did you mean "Preis"?'),
        ("id > 1 AND\n  nam = 'x'", "2:3", "did you mean name?"),
        ("id IN (SELECT 1)", "1:4", "a sub-query"),
        ("id > $1", "1:6", "no parameters"),
        ("r.id > 1", "1:1", "without their table"),
        ("id > 1) OR (true", "", "expression"),
        ("id > 1) UNION SELECT (1", "1:1", "more than one expression"),
        ("true) FROM old.a WHERE (true", "1:7", "syntax error"),
        ("true; DELETE FROM new.t WHERE (true", "1:5", "syntax error"),
        ("id >", "1:5", "syntax error"),
        ("id", "1:1", "boolean"),
        ("id > 1 AND random() < 0.5", "1:12", "volatile"),
        ("id > 1 AND nextval('x') > 0", "1:12", "volatile"),
        ("count(*) > 1", "1:1", "aggregate"),
        ("generate_series(1, id) > 1", "1:1", "set-returning"),
        ("id > 1 AND nofunction(id)", "1:12", "does not exist"),
        ("id = 'x'", "1:6", "invalid input"),
        ("email = 'somebody'", "1:1", "masked"),
        ("\"none of ours\" = 1", "1:1", "has no column"),
    ],
)  # fmt: skip
def test_what_is_not_one_condition_is_refused_with_its_place(it: Arena, text: str, place: str, said: str) -> None:
    it.change(mask=frozenset({"email"}))
    if text == "id > 1) OR (true":  # one expression after all, and a harmless one
        assert read_predicate(it.conn, it.move, text).sql == "r.id > 1) OR (true"
        return
    with pytest.raises(UsageError) as refused:
        read_predicate(it.conn, it.move, text)
    assert f"--where {place}:" in str(refused.value)
    assert said in str(refused.value)
    assert it.run("SELECT count(*) FROM new.t") == [(1000,)]


def test_a_sample_is_repeatable_and_draws_from_both_sides(it: Arena) -> None:
    it.run("DELETE FROM new.t WHERE id > 500")
    it.run("INSERT INTO new.t (id, name) SELECT n, 'only here' FROM generate_series(2001, 2500) n")
    drawn = []
    for chunk_rows in (7, 400, 5000):
        report = look(it, Selection(draw=Draw(fraction=0.2, seed=11)), chunk_rows=chunk_rows)
        assert report.scope.sample is not None
        drawn.append((report.rows.compared, sorted(tuple(each.key) for each in report.differences)))
        assert report.scope.sample.keys == 1500
    assert drawn[0] == drawn[1] == drawn[2]
    assert 200 <= drawn[0][0] <= 400
    assert {int(key) > 2000 for (key,) in drawn[0][1]} == {True, False}
    other = look(it, Selection(draw=Draw(fraction=0.2, seed=12)))
    assert sorted(tuple(each.key) for each in other.differences) != drawn[0][1]


def test_a_number_of_keys_is_drawn_exactly_and_says_what_it_proves(it: Arena) -> None:
    report = look(it, Selection(draw=Draw(number=300, seed=5)), chunk_rows=50)
    assert (report.verdict, report.rows.compared, report.exact) == ("match", 300, False)
    sample = report.scope.sample
    assert sample is not None
    assert (sample.keys, sample.drawn, sample.differ, sample.fewer_than) == (1000, 300, 0, 10)
    assert report.sentence.endswith("With 95% confidence fewer than 10 of all 1,000 keys differ.")
    assert "--sample 300 --seed 5" in words(report.scope)
    it.run("UPDATE new.t SET name = ''")
    worse = look(it, Selection(draw=Draw(number=300, seed=5)))
    assert (worse.verdict, worse.rows.drift) == ("drift", 300)
    few = look(it, Selection(draw=Draw(number=5000, seed=5)))
    assert (few.rows.compared, few.exact) == (1000, False)


@ONE
def test_a_sample_draws_without_favour(it: Arena) -> None:
    """Over 200 seeds of one key in ten, each tenth of the range is drawn as often as the others (within 5 sigma)."""
    comparison = Comparison(it.conn, it.move)
    counts = Counter[int]()
    for seed in range(200):
        drawing = Drawing(comparison, Draw(fraction=0.1, seed=seed), Pace(5000))
        counts.update((int(key) - 1) // 100 for batch in drawing.batches() for (key,) in batch)
    assert all(abs(counts[tenth] - 2000) < 5 * (20_000 * 0.1 * 0.9) ** 0.5 for tenth in range(10)), counts


@ONE
def test_a_sample_of_an_add_move_leaves_the_rows_of_others_alone(dsn: str) -> None:
    with arena(dsn, LEGACY, MAPPING, rows="add") as it:
        it.run("INSERT INTO new.t (id) SELECT n FROM generate_series(5001, 6000) n")
        it.drain()
        report = look(it, Selection(draw=Draw(fraction=0.5, seed=1)))
        assert report.scope.sample is not None
        assert (report.verdict, report.scope.sample.keys) == ("match", 1000)


@ONE
def test_the_gate_knows_a_sample_from_a_proof(it: Arena) -> None:
    def said() -> str:
        return next(
            check.why for check in gate(it.conn, it.plan, it.move, "consolidated") if check.check == "reconciled"
        )

    assert said().startswith("never reconciled")
    look(it, Selection(draw=Draw(number=300, seed=5)))
    assert said().startswith("the last reconciliation was a sample only")
    look(it, Selection(columns=("Preis",)))
    assert said().startswith("the last reconciliation was of some columns only")
    look(it, where(it, "id > 5"))
    assert said().startswith("the last reconciliation was of some keys only")
    it.reconcile()
    assert said().startswith("match at")
    look(it, Selection(draw=Draw(number=300, seed=5)))
    assert said().startswith("match at")  # it undoes nothing either
    it.run("UPDATE new.t SET name = ''")
    look(it, Selection(draw=Draw(number=300, seed=5)))
    assert said().startswith("the last reconciliation said drift")


@pytest.mark.parametrize("text", ["0", "1.5", "-1", "101%", "many", "2000000"])
def test_a_sample_of_nothing_or_of_too_much_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--sample"):
        read_draw(text, None)


def test_a_share_a_percentage_and_a_number_are_told_apart() -> None:
    found = [read_draw(text, 1) for text in ("0.01", "1%", "100%", "1", "1000")]
    assert [(draw.fraction, draw.number) for draw in found] == [
        (0.01, None), (0.01, None), (1.0, None), (None, 1), (None, 1000),
    ]  # fmt: skip
