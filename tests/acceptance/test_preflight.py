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
