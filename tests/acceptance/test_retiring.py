"""docs/retiring.md, run as it stands there, leaves nothing behind: above all no slot, which would fill the disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from cdc.log import open_log
from tests.acceptance.command import Cli
from tests.acceptance.conftest import tour_on

ROOT = str(Path(__file__).parents[2])
PAGE = (Path(__file__).parents[2] / "docs" / "retiring.md").read_text()
ONE = pytest.mark.parametrize("server", ["pg18"], indirect=True)


def blocks(kind: str, plan: str) -> list[str]:
    """The page's code of one kind, for a plan of another name."""
    found = re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)
    return [
        re.sub(r"(?<=cutover_)lager|(?<=cutover\.)lager|(?<=map_)lager|(?<=owned_)lager|(?<=')lager(?=')", plan, text)
        for text in found
    ]


def run(conn: psycopg.Connection[tuple[object, ...]], block: str) -> list[tuple[object, ...]]:
    """The statements of a block one by one, as psql would; the rows of all of them."""
    rows: list[tuple[object, ...]] = []
    for statement in re.sub(r"--[^\n]*", "", block).split(";"):
        if statement.strip():
            cursor = conn.execute(statement.encode(), prepare=False)
            rows += cursor.fetchall() if cursor.description else []
    return rows


@ONE
def test_the_page_leaves_nothing_behind(tmp_path: Path, dsn: str, plan_name: str) -> None:
    log = tmp_path / ".cutover"
    log.mkdir()
    tour: Cli = tour_on(tmp_path, dsn, f"sqlite:///{log}/log.db", plan_name)
    tour.run("prepare", "--set-identity", "--roles")
    with tour.start("run") as service:
        service.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile")
        tour.eventually("flip", "product", "--to", "consolidated")
        assert service.stop() == 0

    pages = blocks("sql", plan_name)
    with psycopg.connect(dsn, autocommit=True) as conn:
        left = pages.pop()
        assert {kind for kind, _ in run(conn, left)} == {"slot", "publication", "schema", "role", "identity"}
        for block in pages:
            rows = run(conn, block)
            if "other_plans" in block:
                assert rows == [(0,)]
            if "ILIKE '%identity%'" in block:
                assert [str(step)[:13] for _, step in rows] == ["CREATE UNIQUE", 'ALTER TABLE "']
        (topic,) = blocks("python", plan_name)
        subprocess.run([sys.executable, "-c", topic], cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": ROOT})
        assert open_log(f"sqlite:///{log}/log.db").topic_identity(f"cutover.{plan_name}.product") is None
        for block in blocks("sh", plan_name):
            subprocess.run(["sh", "-ec", block], cwd=tmp_path, check=True)
        assert run(conn, left) == []
        assert not log.exists()
        # The application's tables are as they were, the target has its rows, and writes go on.
        assert conn.execute('SELECT count(*) FROM "Lager".product').fetchone() == (1000,)
        conn.execute("""DELETE FROM "Lager"."Bestand" WHERE "ArtikelNr" = 'A-1'""")
        names = "SELECT count(*) FROM pg_class WHERE relname LIKE '%cutover%' OR relname LIKE 'product_current'"
        assert conn.execute(names).fetchone() == (0,)
        triggers = conn.execute("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").fetchone()
        assert triggers == (0,)
