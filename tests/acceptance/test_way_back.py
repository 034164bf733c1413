"""The way back stands open, and the way forward does not, when the plan's files or the target are not as prepared."""

from __future__ import annotations

import psycopg
import pytest

from tests.acceptance.command import Cli

ONE = pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])


@ONE
def test_flip_back_although_the_plan_was_edited(tour: Cli) -> None:
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service:
        service.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile")
        tour.eventually("flip", "product", "--to", "consolidated")
        for file in (tour.folder / "plan").glob("*.sql"):
            file.write_text(file.read_text() + "\n-- edited\n")
        assert "has changed" in tour.run("flip", "product", "--to", "consolidated", code=5).said
        assert tour.run("flip", "product", "--to", "legacy", "--json").document["to"] == "legacy"
        assert tour.run("status", "--json").document["moves"][0]["side"] == "legacy"


@ONE
def test_a_target_that_is_gone_is_named_and_what_was_proven_is_void(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service:
        service.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile")
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute('DROP TABLE "Lager".product CASCADE')
        cures = {each["cure"] for each in tour.run("doctor", "--json", code=5).document["problems"]}
        assert "cutover prepare\ncutover backfill product" in cures
        for command in (("reconcile",), ("flip", "product", "--to", "consolidated")):
            assert "is not there" in tour.run(*command, code=5).said
        tour.run("prepare", "--set-identity")
        assert "gate" in tour.run("flip", "product", "--to", "consolidated", code=5).said
        tour.run("backfill", code=None)
        tour.run("heal")
        tour.eventually("reconcile")
        tour.eventually("flip", "product", "--to", "consolidated")
