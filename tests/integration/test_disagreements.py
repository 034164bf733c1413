"""Disagreements by themselves: under both rules, with masks and composite keys, and what a decision is still about."""

from __future__ import annotations

import io
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from reconcile.diff import Comparison
from reconcile.disagreements import Accepted, _take, write_disagreements
from reconcile.review import Review, read_review
from reconcile.scope import Selection
from reconcile.terminal import render
from sql.errors import UsageError
from tests.integration.arena import MOVE, Arena, arena

LEGACY = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.a (k uuid, n int, v text, email text, PRIMARY KEY (k, n));
CREATE TABLE new.t (k uuid, n int, v text, email text, more text, PRIMARY KEY (k, n));
INSERT INTO old.a SELECT '00000000-0000-0000-0000-000000000001', n, 'v' || n, 'secret' FROM generate_series(1, 2000) n;
INSERT INTO new.t SELECT k, n, CASE WHEN n <= 5 THEN 'other' ELSE v END, email FROM old.a WHERE n <= 1500;
"""
MAPPING = "SELECT a.k, a.n, a.v, a.email FROM old.a"
UUID = "00000000-0000-0000-0000-000000000001"
pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True)


@pytest.fixture(params=["report", "keep"])
def it(dsn: str, request: pytest.FixtureRequest) -> Iterator[Arena]:
    with arena(dsn, LEGACY, MAPPING, key=("k", "n"), rows="add", existing=request.param) as it:
        it.drain()
        yield it


def take(it: Arena, file: Path, **decisions: str) -> Accepted:
    """What the command does, but for the touches: these the test makes itself."""
    review: Review = read_review(file)
    wanted = [
        each.model_copy(update={"decision": decisions[f"n{each.key[1]}"]})
        for each in review.disagreement
        if f"n{each.key[1]}" in decisions
    ]
    ((nonce,),) = it.run("SELECT nonce FROM cutover.review WHERE id = %s", review.review)
    done = Accepted()
    _take(Comparison(it.conn, it.move), nonce, review.review, wanted, done)
    return done


def numbers(keys: object) -> list[str]:
    return [key[1] for key in keys]  # type: ignore[attr-defined]


def test_what_is_listed_is_what_differs_of_others(it: Arena, tmp_path: Path) -> None:
    it.run("UPDATE new.t SET v = 'mine and wrong' WHERE n = 1800")  # the move's own: drift, and no disagreement
    it.run("UPDATE new.t SET more = 'nobody compares this' WHERE n = 900")
    file = tmp_path / "review.toml"
    assert write_disagreements(it.dsn, it.move, file) == 5
    found = tomllib.loads(file.read_text())["disagreement"]
    assert [each["key"] for each in found] == [[UUID, str(n)] for n in (1, 2, 3, 4, 5)]
    assert [path.name for path in tmp_path.iterdir()] == ["review.toml"]


def test_a_decision_holds_for_the_values_that_were_seen(it: Arena, tmp_path: Path) -> None:
    file = tmp_path / "review.toml"
    write_disagreements(it.dsn, it.move, file)
    it.run("UPDATE new.t SET more = 'x' WHERE n = 1")  # not a value that was compared
    it.run("UPDATE old.a SET v = 'changed' WHERE n = 2")
    it.run("DELETE FROM new.t WHERE n = 3")
    it.run("UPDATE new.t SET v = 'v4' WHERE n = 4")
    done = take(it, file, n1="legacy", n2="legacy", n3="legacy", n4="consolidated", n5="consolidated")
    assert (numbers(done.adopted), numbers(done.kept)) == (["1"], ["5"])
    assert {key[1]: why for key, why in done.refused.items()} == {
        "2": "a side has changed since it was listed",
        "3": "there is no row on the consolidated side any more",
        "4": "both sides are equal now",
    }
    it.drain()
    assert it.run("SELECT v FROM new.t WHERE n IN (1, 2, 5) ORDER BY n") == [("v1",), ("other",), ("other",)]
    again = take(it, file, n1="legacy", n5="consolidated")
    assert {key[1]: why for key, why in again.refused.items()} == {"1": "both sides are equal now"}
    left = tmp_path / "left.toml"
    assert write_disagreements(it.dsn, it.move, left) == 1  # only the second one: the fifth is decided
    it.run("UPDATE new.t SET v = 'again' WHERE n = 1")
    assert "belongs to the move" in next(iter(take(it, file, n1="legacy").refused.values()))


@pytest.mark.parametrize("it", ["report"], indirect=True)
def test_what_was_accepted_is_no_drift_until_a_side_changes(it: Arena, tmp_path: Path) -> None:
    file = tmp_path / "review.toml"
    write_disagreements(it.dsn, it.move, file)
    assert (before := it.reconcile()).rows.drift == before.conflicts == 5
    take(it, file, **{f"n{number}": "consolidated" for number in range(1, 6)})
    report = it.reconcile()
    assert (report.verdict, report.rows.accepted, report.rows.match, report.differences) == ("match", 5, 2000, [])
    look = it.reconcile(only={MOVE: Selection(columns=("v",))})
    assert (look.verdict, look.rows.accepted) == ("match", 5)
    it.run("UPDATE new.t SET email = 'a column that this look leaves out' WHERE n = 1")
    look = it.reconcile(only={MOVE: Selection(columns=("v",))})
    assert (look.verdict, look.rows.accepted, look.rows.drift) == ("drift", 4, 1)


@pytest.mark.parametrize("it", ["report"], indirect=True)
def test_what_the_plan_keeps_by_now_is_not_said_to_have_become_equal(it: Arena) -> None:
    """`existing = "keep"` ends a difference that is still there; one that has become equal is gone, and told."""
    assert it.reconcile().rows.drift == 5
    it.run("UPDATE new.t SET v = 'v3' WHERE n = 3")
    it.change(existing="keep")
    report = it.reconcile()
    assert (report.verdict, report.rows.kept) == ("match", 4)
    assert ([each.key[1] for each in report.gone], report.gone_now, report.gone_in_all) == (["3"], 1, 1)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render(report))
    assert "gone: 1 key that differed before, equal now" in (said := console.export_text())
    assert "kept: 4 rows differ and stay as they are, by the plan's rule" in said
    assert it.reconcile().gone_in_all == 1


def test_a_masked_value_is_not_in_the_file_nor_to_be_guessed_from_it(it: Arena, tmp_path: Path) -> None:
    it.change(mask=frozenset({"email"}))
    it.run("UPDATE new.t SET email = 'guess me', v = 'v' || n WHERE n = 1")
    first, second = tmp_path / "1.toml", tmp_path / "2.toml"
    for file in (first, second):
        assert write_disagreements(it.dsn, it.move, file) == 5
        assert "secret" not in file.read_text()
        assert "guess me" not in file.read_text()
        assert '"email" = "***"  # masked: different values of different length' in file.read_text()
    seen = [[each["seen"] for each in tomllib.loads(file.read_text())["disagreement"]] for file in (first, second)]
    assert not set(seen[0]) & set(seen[1])  # the same rows: a digest of their values alone could be tried out


def test_a_decided_file_is_not_written_over(it: Arena, tmp_path: Path) -> None:
    file = tmp_path / "review.toml"
    write_disagreements(it.dsn, it.move, file)
    with pytest.raises(UsageError, match="is there"):
        write_disagreements(it.dsn, it.move, file)
    with pytest.raises(UsageError, match="cannot be written"):
        write_disagreements(it.dsn, it.move, tmp_path / "nowhere" / "x.toml")
