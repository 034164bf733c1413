"""A plan's folder: what is read, and how a slip is named with file, line and the nearest word."""

from __future__ import annotations

from pathlib import Path

import pytest

from cutover.plan import load_plan, shipped
from sql.errors import PlanError
from sql.names import Name

PLAN = """\
name = "small"

[moves.price]
target = '"Lager"."Preis"'
mapping = "price.sql"
key = ["land", '"Art"']
rows = "add"
existing = "keep"
facade = '"Lager"."Preis jetzt"'
partitions = 8

[moves.price.refresh]
every = "2min"
keys = "due.sql"

[moves.price.waive]
'"Lager"."Alt"."Währung"' = "always EUR"
"x.y.z" = "not needed"

[moves.price.sources]
"x.y" = ["a", "b"]
"x.z" = "static"

[[moves.price.invariants]]
name = "count"
legacy = '''
[not.a.header]
SELECT count(*) FROM x.y'''
consolidated = "SELECT count(*) FROM x.p"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plan.toml").write_text(PLAN, encoding="utf-8")
    (tmp_path / "price.sql").write_text("SELECT 1", encoding="utf-8")
    (tmp_path / "due.sql").write_text("SELECT :since, :until", encoding="utf-8")
    return tmp_path


def test_everything_is_read(folder: Path) -> None:
    plan = load_plan(str(folder))
    (move,) = plan.moves
    assert (plan.name, move.name, move.target, move.key) == ("small", "price", Name("Lager", "Preis"), ("land", "Art"))
    assert (move.rows, move.existing, move.partitions) == ("add", "keep", 8)
    assert move.facade == Name("Lager", "Preis jetzt")
    assert move.refresh is not None
    assert move.refresh.every == 120.0
    assert move.waive == {(Name("Lager", "Alt"), "Währung"): "always EUR", (Name("x", "y"), "z"): "not needed"}
    assert move.sources == {Name("x", "y"): ("a", "b"), Name("x", "z"): None}
    assert [it.name for it in move.invariants] == ["count"]
    assert plan.files == {"price.sql": "SELECT 1", "due.sql": "SELECT :since, :until"}


def test_lines_are_known(folder: Path) -> None:
    (move,) = load_plan(str(folder)).moves
    assert move.line("key") == 6
    assert move.line("waive", "x.y.z") == 18
    assert move.line("sources") == 20
    assert move.line("invariants", "0", "consolidated") == 29
    assert move.line("nothing", "here") == 3


def test_the_digest_covers_every_file_that_is_used_and_no_other(folder: Path) -> None:
    before = load_plan(str(folder)).digest
    (folder / "unused.sql").write_text("SELECT 2", encoding="utf-8")
    assert load_plan(str(folder)).digest == before
    (folder / "due.sql").write_text("SELECT :until, :since", encoding="utf-8")
    assert load_plan(str(folder)).digest != before


def test_a_shipped_plan_is_found_by_name() -> None:
    assert "soleflipper" in shipped()
    assert load_plan("soleflipper").name == "soleflipper"


SLIPS = [
    ('mapping = "price.sql"', 'maping = "price.sql"', 5, "did you mean mapping?"),
    ('"price.sql"', '"prize.sql"', 5, "did you mean price.sql?"),
    ('"price.sql"', '"../price.sql"', 5, "no file"),
    ('rows = "add"', 'rows = "ad"', 7, "did you mean add?"),
    ('every = "2min"', 'every = "soon"', 13, "expected a duration"),
    ('every = "2min"', 'every = "0s"', 13, "expected a duration"),
    ('\'"Lager"."Preis"\'', "'Preis'", 4, "expected schema.table"),
    ("partitions = 8", "partitions = 0", 10, "greater than or equal to 1"),
    ("partitions = 8", 'partitions = "8"', 10, "valid integer"),
    ('"x.y.z" = "not', '"x.y" = "not', 18, "expected schema.table.column"),
    ('["a", "b"]', '["a"]', 21, "the key has 2 columns"),
    ('name = "small"', 'name = "Small Plan"', 1, "lower-case letters"),
    ('name = "small"', 'nam = "small"', 1, "name"),
    ("[moves.price.refresh]", "[moves.price.refreshh]", 12, "did you mean refresh?"),
    ('existing = "keep"', "existing = keep", 8, "line 8"),
    ('\'"Lager"."Preis jetzt"\'', '\'"Lager"."Preis"\'', 9, "own name"),
    ('rows = "add"', 'rows = "all"', 8, "existing"),
]


@pytest.mark.parametrize(("was", "slip", "line", "says"), SLIPS, ids=[f"{it[2]}-{it[3]}" for it in SLIPS])
def test_a_slip_is_named_with_file_line_and_the_nearest_word(
    folder: Path, was: str, slip: str, line: int, says: str
) -> None:
    assert was in PLAN
    (folder / "plan.toml").write_text(PLAN.replace(was, slip, 1), encoding="utf-8")
    with pytest.raises(PlanError) as error:
        load_plan(str(folder))
    assert (error.value.file, error.value.line) == ("plan.toml", line)
    assert says in str(error.value)


def test_a_missing_key_is_named(folder: Path) -> None:
    (folder / "plan.toml").write_text(PLAN.replace('rows = "add"\n', "", 1), encoding="utf-8")
    with pytest.raises(PlanError, match=r"plan.toml:3: rows is missing in \[moves.price\]"):
        load_plan(str(folder))


def test_a_missing_name_is_missing_before_the_tables(folder: Path) -> None:
    (folder / "plan.toml").write_text(PLAN.replace('name = "small"\n', "", 1), encoding="utf-8")
    with pytest.raises(PlanError, match=r"name is missing before the first \[table\]"):
        load_plan(str(folder))


def test_no_such_plan_names_the_nearest() -> None:
    with pytest.raises(PlanError, match="did you mean soleflipper"):
        load_plan("soleflippr")


def test_a_word_without_quotes_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text('name = "small"\n\n[moves.m]\nrows = all\n')
    with pytest.raises(PlanError, match=r"plan\.toml:4: Invalid value") as caught:
        load_plan(str(tmp_path))
    assert 'rows = "all"' in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("right", "wrong", "written"),
    [
        ("""'"Art"'""", """'Kunden Nr'""", """'"Kunden Nr"'"""),
        ("""'"Art"'""", """'Kunden.Nr'""", """'"Kunden.Nr"'"""),
        ("""'"Lager"."Preis jetzt"'""", """'lager.Preis jetzt'""", """'lager."Preis jetzt"'"""),
    ],
)
def test_a_name_that_lacks_its_quotes_is_shown_with_them(folder: Path, right: str, wrong: str, written: str) -> None:
    text = PLAN.replace(right, wrong)
    (folder / "plan.toml").write_text(text, encoding="utf-8")
    with pytest.raises(PlanError) as refused:
        load_plan(str(folder))
    line = next(at for at, line in enumerate(text.splitlines(), 1) if wrong in line)
    assert str(refused.value).startswith(f"plan.toml:{line}: moves.price.")
    assert (refused.value.hint or "").endswith(written)
    (folder / "plan.toml").write_text(PLAN.replace(right, written), encoding="utf-8")
    load_plan(str(folder))
