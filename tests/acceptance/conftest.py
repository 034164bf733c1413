"""The tour's plan in a database of its own: another schema than the shipped plan's, a key of two texts, quoted names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.command import Cli

TOUR = Path(__file__).parents[2] / "docs" / "tour"


@pytest.fixture
def bare(tmp_path: Path, request: pytest.FixtureRequest) -> Cli:
    """The command without any setting. A module's HATCHED = False has it started as users start it."""
    return Cli(tmp_path, hatched=getattr(request.module, "HATCHED", True))


@pytest.fixture
def tour(bare: Cli, dsn: str, log_address: str, plan_name: str) -> Cli:
    """The command on the tour's legacy database, with its plan under a name of its own."""
    return replace(tour_on(bare.folder, dsn, log_address, plan_name), hatched=bare.hatched)


def with_rows(tour: Cli) -> None:
    """Let the tour's backfill put the rows into the log."""
    file = tour.folder / "plan" / "plan.toml"
    file.write_text(file.read_text().replace("\nkey ", '\nbackfill = "rows"\nkey '))


def tour_on(folder: Path, dsn: str, log: str, name: str) -> Cli:
    """Install the tour's legacy database, and its plan under this name in `folder`."""
    plan = folder / "plan"
    plan.mkdir()
    for file in (TOUR / "plan").iterdir():
        text = file.read_text().replace('name = "lager"', f'name = "{name}"')
        (plan / file.name).write_text(text)
    with psycopg.connect(dsn) as conn:
        conn.execute((TOUR / "legacy.sql").read_text().encode())
    # Without the continuous pass: these tests count the runs that they ask for, and a gate opens by those alone.
    quiet = {"CUTOVER_RECONCILE_SHARE": "0"}
    return Cli(folder, {"CUTOVER_DSN": dsn, "CUTOVER_LOG": log, "CUTOVER_PLAN": str(plan), **quiet})
