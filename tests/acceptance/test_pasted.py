"""The doctor's cures, pasted: what stands still is healed by them, and none is offered that is refused."""

from __future__ import annotations

import shlex
from typing import Any

import psycopg
import pytest

from tests.acceptance.command import Cli
from tests.acceptance.test_heal import ONE, execute, streaming


def problems(tour: Cli) -> list[Any]:
    found: list[Any] = tour.run("doctor", "--json", code=5).document["problems"]
    return found


@ONE
def test_c8_reads_from_a_halted_side_are_mended_by_the_first_cure_that_is_printed(tour: Cli, dsn: str) -> None:
    """`cutover run` runs already; what mends it is heal."""
    with streaming(tour) as service:
        tour.run("flip", "product", "--to", "consolidated")
        execute(dsn, 'TRUNCATE "Lager"."Bestand"')
        service.wait_for("was truncated")
        assert {each["cure"] for each in problems(tour)} == {"cutover heal product"}
        tour.run(*shlex.split(problems(tour)[0]["cure"])[1:])
        tour.eventually("reconcile")
        tour.eventually("doctor")


@ONE
def test_c4_a_dropped_primary_key_is_not_answered_by_a_command_that_is_refused(tour: Cli, dsn: str) -> None:
    """Without the key the source is one-to-many, so `prepare --set-identity` is refused: the key is what helps."""
    tour.run("prepare", "--set-identity")
    execute(dsn, 'ALTER TABLE "Lager"."Preis" DROP CONSTRAINT "Preis_pkey"')
    change = """UPDATE "Lager"."Preis" SET "Betrag" = 1 WHERE "ArtikelNr" = 'A-9'"""
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        execute(dsn, change)
    found = problems(tour)
    (identity,) = [each for each in found if "replica-identity" in each["why"]]
    assert "--set-identity" not in identity["cure"]
    assert "blocking" in tour.run("prepare", "--set-identity", code=5).said
    assert "make its primary key again" in identity["hint"]
    execute(dsn, 'ALTER TABLE "Lager"."Preis" ADD PRIMARY KEY (mandant, "ArtikelNr")')
    execute(dsn, change)
    assert "replica-identity" not in str(problems(tour))
