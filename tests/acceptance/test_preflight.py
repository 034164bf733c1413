"""What `plan --check` refuses is what `prepare` would: with file, line and cure, before anything is changed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from cutover.embedded import ThrowawayPostgres
from tests.acceptance.command import Cli
from tests.acceptance.conftest import tour_on

ROOT = Path(__file__).parents[2]
ONE = pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])


@ONE
def test_a_schema_that_is_not_there(tour: Cli, dsn: str) -> None:
    for file in ("product.ddl.sql", "plan.toml"):
        path = tour.folder / "plan" / file
        text = path.read_text().replace('"Lager".product_current', '"Front".product_current')
        path.write_text(text.replace('"Lager".product', '"Neu".product'))
    lines = (tour.folder / "plan" / "plan.toml").read_text().splitlines()
    places = {("product.ddl.sql", 1), ("plan.toml", [line[:6] for line in lines].index("facade") + 1)}
    checked = tour.run("plan", "--check", "--json", code=5).document
    found = [each for each in checked["findings"] if each["code"] == "missing-schema"]
    assert {(each["file"], each["line"]) for each in found} == places
    assert all("CREATE SCHEMA IF NOT EXISTS" in each["hint"] for each in found)
    refused = tour.run("prepare", "--set-identity", code=5)
    assert all(f"{file}:{line}: " in refused.said for file, line in places)
    assert 'CREATE SCHEMA IF NOT EXISTS "Neu"' in refused.said
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute('CREATE SCHEMA "Neu"; CREATE SCHEMA "Front"')
        tour.run("prepare", "--set-identity")
        assert conn.execute("""SELECT to_regclass('"Front".product_current') IS NOT NULL""").fetchone() == (True,)


@ONE
def test_what_may_not_change_once_it_is_prepared(tour: Cli) -> None:
    tour.run("prepare", "--set-identity")
    path = tour.folder / "plan" / "plan.toml"
    path.write_text(path.read_text().replace("\nkey ", "\npartitions = 8\nkey "))
    checked = tour.run("plan", "--check", "--json", code=5).document
    (found,) = [each for each in checked["findings"] if each["severity"] == "block"]
    assert (found["code"], found["move"], found["file"]) == ("prepared", "product", "plan.toml")
    assert found["line"] == path.read_text().splitlines().index("partitions = 8") + 1
    assert found["hint"] == "partitions = 4"
    assert found["message"] in tour.run("prepare", code=5).said
    path.write_text(path.read_text().replace("partitions = 8", "partitions = 4"))
    tour.run("plan", "--check")
    path.write_text(path.read_text().replace("partitions = 4", "").replace('"Lager".product\'', '"Lager".other\''))
    ddl = tour.folder / "plan" / "product.ddl.sql"
    ddl.write_text(ddl.read_text().replace('"Lager".product', '"Lager".other'))
    assert "was prepared for" in tour.run("plan", "--check", code=5).out


@ONE
def test_l3_the_columns_of_a_key_and_their_order_stay(tour: Cli, dsn: str) -> None:
    """The keys in the log would be those of other rows: changes that are not applied yet would be lost."""
    tour.run("prepare", "--set-identity")
    path = tour.folder / "plan" / "plan.toml"
    path.write_text(path.read_text().replace('["tenant", "sku"]', '["sku", "tenant"]'))
    checked = tour.run("plan", "--check", "--json", code=5).document
    (found,) = [each for each in checked["findings"] if each["severity"] == "block"]
    assert (found["code"], found["file"]) == ("prepared", "plan.toml")
    assert found["line"] == path.read_text().splitlines().index('key     = ["sku", "tenant"]') + 1
    assert found["hint"] == 'key = ["tenant","sku"], or a new move'
    ddl = tour.folder / "plan" / "product.ddl.sql"
    ddl.write_text(ddl.read_text() + '\nALTER TABLE "Lager".product ADD COLUMN IF NOT EXISTS more int;\n')
    assert found["message"] in tour.run("prepare", code=5).said
    with psycopg.connect(dsn) as conn:  # nothing was changed
        assert conn.execute("SELECT count(*) FROM pg_attribute WHERE attname = 'more'").fetchone() == (0,)


@ONE
def test_a_target_has_one_plan(tour: Cli, dsn: str) -> None:
    """A plan that was given another name would write beside itself, and each undo what the other does."""
    tour.run("prepare", "--set-identity")
    path = tour.folder / "plan" / "plan.toml"
    text = path.read_text()
    path.write_text(text.replace('name = "', 'name = "new_').replace("product_current", "product_now"))
    assert path.read_text() != text
    checked = tour.run("plan", "--check", "--json", code=5).document
    (found,) = [each for each in checked["findings"] if each["severity"] == "block"]
    assert "is the target of product of the plan" in found["message"]
    assert found["line"] == [line.split(" ")[0] for line in text.splitlines()].index("target") + 1
    assert found["message"] in tour.run("prepare", code=5).said
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("UPDATE cutover.move SET state = 'left'")
    tour.run("prepare")


@ONE
def test_a_column_that_the_rows_could_not_fill(tour: Cli, dsn: str) -> None:
    """prepare would run into it only once everything before it is done (SQLSTATE 23502)."""
    path = tour.folder / "plan" / "product.ddl.sql"
    path.write_text(
        path.read_text()
        + '\nALTER TABLE "Lager".product\n  ADD COLUMN neu int NOT NULL,\n  ADD COLUMN alt int NOT NULL DEFAULT 1;\n'
    )
    mapping = tour.folder / "plan" / "product.sql"
    mapping.write_text(mapping.read_text().replace("b.places\n", "b.places, 1 AS neu, 2 AS alt\n"))
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(path.read_text().split(";")[0].encode())
        assert '"Lager".product.neu' not in tour.run("plan", "--json").out  # without rows there is nothing to fill
        conn.execute("""INSERT INTO "Lager".product VALUES ('nord', 'x', 'x', 1, 'EUR', 1, 'x')""")
        checked = tour.run("plan", "--check", "--json", code=5).document
        (found,) = [each for each in checked["findings"] if each["code"] == "ddl"]
        line = path.read_text().splitlines().index("  ADD COLUMN neu int NOT NULL,") + 1
        assert (found["severity"], found["file"], found["line"]) == ("block", "product.ddl.sql", line)
        assert found["message"] == '"Lager".product.neu is NOT NULL, without a default, and the table has rows'
        assert found["hint"] == "give neu a DEFAULT, or leave NOT NULL out"
        refused = tour.run("prepare", "--set-identity", code=5)
        assert f"product.ddl.sql:{line}: " in refused.said
        path.write_text(path.read_text().replace("neu int NOT NULL", "neu int"))
        tour.run("prepare", "--set-identity")
    checked = tour.run("plan", "--check", "--json").document
    shown = tour.run("plan").out
    assert shown.splitlines()[-1] == f"nothing blocks, {len(checked['findings'])} to know of"  # warnings and the rest


def test_a_server_whose_wal_cannot_be_decoded(tmp_path: Path, plan_name: str) -> None:
    with ThrowawayPostgres(settings={"wal_level": "replica"}) as server:
        tour = tour_on(tmp_path, server.dsn, f"sqlite:///{tmp_path / 'log.db'}", plan_name)
        checked = tour.run("plan", "--check", "--json", code=5).document
        (found,) = [each for each in checked["findings"] if each["code"] == "server"]
        assert (found["severity"], "wal_level is replica" in found["message"]) == ("block", True)
        assert "ALTER SYSTEM SET wal_level = logical" in found["hint"]
        assert "wal_level is replica" in tour.run("prepare", "--set-identity", code=5).said


def test_the_tour_needs_no_server_of_ones_own() -> None:
    """What the README says: the first line that it prints is for a shell, and nothing of it stays."""
    arguments = [sys.executable, "-m", "cutover.throwaway"]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        try:
            script = f"{line} createdb shop && psql shop -Atc 'SHOW wal_level' && echo \"$PGHOST\""
            done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60)
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0
    level, folder = done.stdout.splitlines()
    assert (level, done.stderr) == ("logical", "")
    assert not Path(folder).exists()
