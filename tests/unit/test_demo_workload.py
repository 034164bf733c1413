"""A workload is read as declared, and the copy of a plan bears its new name everywhere."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from cutover.demo.stage import copy_plan
from cutover.demo.workload import load_workload, parameters
from cutover.plan import load_plan, plan_folder
from sql.errors import PlanError, UsageError

SHIPPED = plan_folder("soleflipper")

SMALL = """
seed = "sql.soleflipper.seed:install"
[pools.item]
move = "one"
kinds = ["item"]
keys = "keys.sql"
rows = "keys.sql"
verify = "keys.sql"
[transactions]
"write.sql" = { pool = "item", weight = 2 }
[probe]
pool = "item"
write = "write.sql"
read = "keys.sql"
[plant]
drift = { file = "write.sql", pool = "item" }
loss = { file = "write.sql", pool = "item" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "workload").mkdir()
    (tmp_path / "workload" / "workload.toml").write_text(SMALL)
    (tmp_path / "workload" / "keys.sql").write_text("SELECT 1")
    (tmp_path / "workload" / "write.sql").write_text("SELECT 1;")
    return tmp_path


def test_words_become_parameters_and_casts_and_percent_signs_stay() -> None:
    assert parameters("SELECT :key::uuid, :keys, 5 % 2, x::rows FROM t WHERE a = :other") == (
        "SELECT %(key)s::uuid, %(keys)s, 5 %% 2, x::rows FROM t WHERE a = %(other)s"
    )


def test_savepoints_and_rollbacks_are_known(folder: Path) -> None:
    (folder / "workload" / "write.sql").write_text(
        "-- why; really\nUPDATE t SET a = ';' WHERE b = :other;\n-- now\nSAVEPOINT s;\nDELETE FROM t;\n"
        "rollback to savepoint s;\nROLLBACK;\n"
    )
    (transaction,) = load_workload(folder).transactions
    assert [each.mark for each in transaction.statements] == [None, "SAVEPOINT", None, "ROLLBACK TO", "ROLLBACK"]
    assert transaction.uses_other
    assert not transaction.commits


def test_every_file_of_the_shipped_workload_is_used() -> None:
    text = SHIPPED.joinpath("workload", "workload.toml").read_text()
    assert tomllib.loads(text)
    files = [entry.name for entry in SHIPPED.joinpath("workload").iterdir() if entry.name.endswith(".sql")]
    assert [name for name in files if f'"{name}"' not in text] == []


def test_the_shipped_workload_writes_every_source_of_every_move() -> None:
    workload = load_workload(SHIPPED)
    moves = {spec.name for spec in load_plan("soleflipper").moves}
    assert {pool.move for pool in workload.pools.values()} == moves
    text = " ".join(statement.text for each in workload.transactions for statement in each.statements)
    for table in ("stock", "stock_financial", "stock_lifecycle", "stock_metrics", "stock_reservation"):
        for verb in ("INSERT INTO", "UPDATE", "DELETE FROM"):
            assert f"{verb} inventory.{table} " in text, f"nothing does {verb} {table}"
    for verb in ("INSERT INTO", "UPDATE", "DELETE FROM"):
        assert f"{verb} financial.transaction " in text


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('pool = "item", weight', 'pool = "itme", weight', "itme"),
        ("weight = 2", "weight = 0", "weight"),
        ('seed = "sql', 'sead = "sql', "sead"),
        ("seed:install", "seed:instal", "instal"),
        ('write = "write.sql"', 'write = "wrote.sql"', "wrote.sql"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, before: str, after: str, says: str) -> None:
    (folder / "workload" / "workload.toml").write_text(SMALL.replace(before, after, 1))
    with pytest.raises(PlanError, match=says):
        load_workload(folder)


def test_a_plan_without_a_workload_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no workload"):
        load_workload(tmp_path)


def test_a_copy_of_the_shipped_plan_bears_its_new_name_everywhere(tmp_path: Path) -> None:
    copy_plan(SHIPPED, tmp_path / "copy", "soleflipper", "soleflipper_x1")
    copy = load_plan(str(tmp_path / "copy"))
    assert copy.name == "soleflipper_x1"
    assert [spec.name for spec in copy.moves] == [spec.name for spec in load_plan("soleflipper").moves]
    text = "".join(path.read_text() for path in (tmp_path / "copy").rglob("*") if path.suffix in (".sql", ".toml"))
    assert "cutover.map_soleflipper_x1_order" in text
    assert "map_soleflipper_order" not in text
    assert "owned_soleflipper_order" not in text
    assert load_workload(tmp_path / "copy").transactions == load_workload(SHIPPED).transactions
