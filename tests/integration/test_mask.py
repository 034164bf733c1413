"""How two masked values differ in kind is told, by every kind, and nothing of the values themselves."""

from __future__ import annotations

import pytest

from sql.mask import hides
from sql.model import Invariant
from tests.integration.arena import arena

LEGACY = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.a (id int PRIMARY KEY, name text, price numeric, note json);
CREATE TABLE new.t (id int PRIMARY KEY, name text, price numeric, note json);
"""
MAPPING = "SELECT a.id, a.name, a.price, a.note FROM old.a"
NAMES = {
    1: ("secret", None, "a value against NULL"),
    2: (None, "secret", "NULL against a value"),
    3: ("secret", "", "a value against the empty text"),
    4: ("", "secret", "the empty text against a value"),
    5: ("secret", " secret ", "only blanks at the ends"),
    6: ("secret", "SeCret", "only capital and small letters"),
    7: ("secret", "hidden", "different values of equal length"),
    8: ("secret", "secret!", "different values of different length"),
    9: ("", None, "a value against NULL"),
}


def test_every_kind_of_difference_is_told_without_a_value(dsn: str) -> None:
    with arena(dsn, LEGACY, MAPPING) as it:
        it.change(mask=frozenset({"name", "price", "note"}))
        for key, (legacy, consolidated, _) in NAMES.items():
            it.run("INSERT INTO old.a (id, name) VALUES (%s, %s)", key, legacy)
            it.run("INSERT INTO new.t (id, name) VALUES (%s, %s)", key, consolidated)
        it.run("INSERT INTO old.a (id, price, note) VALUES (10, 1.0, '{\"a\": 1}')")
        it.run("INSERT INTO new.t (id, price, note) VALUES (10, 1.00, '{\"a\":1}')")
        report = it.reconcile()
        told = {int(each.key[0]): each.cells for each in report.differences}
        assert {key: told[key]["name"].masked for key in NAMES} == {key: kind for key, (_, _, kind) in NAMES.items()}
        assert told[10]["price"].masked == "the same number, written otherwise"
        assert told[10]["note"].masked == "different values of different length"
        assert "secret" not in report.model_dump_json().lower()
        assert {cell.legacy for cells in told.values() for cell in cells.values()} == {None, "***"}


@pytest.mark.parametrize(
    ("consolidated", "hidden"),
    [
        ("SELECT count(*) FROM new.t", False),
        ("SELECT sum(price) FROM new.t", False),
        ("SELECT max(name) FROM new.t", True),
        ("SELECT t.* FROM new.t", True),
        ("SELECT to_jsonb(x) FROM new.t x", True),
        ("SELECT count(*) FROM new.t WHERE (SELECT a.title FROM old.b a LIMIT 1) = 'x'", True),
    ],
)
@pytest.mark.parametrize("server", ["pg18"], indirect=True)
def test_an_invariant_that_could_show_a_masked_value_is_masked(dsn: str, consolidated: str, hidden: bool) -> None:
    mapping = "SELECT a.id, b.title AS name, a.price, a.note FROM old.a JOIN old.b ON b.id = a.id"
    with arena(dsn, LEGACY + "CREATE TABLE old.b (id int PRIMARY KEY, title text);", mapping) as it:
        it.change(mask=frozenset({"name"}))
        assert hides(it.move, Invariant("i", "SELECT 1", consolidated)) is hidden
