"""A facade that somebody dropped is named, with the command that puts it back on the side that it was on."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.acceptance.command import Cli
from tests.acceptance.test_heal import ONE, execute


def lost(tour: Cli) -> list[Any]:
    problems = tour.run("doctor", "--json", code=5).document["problems"]
    return [each for each in problems if "facade" in each["what"]]


@ONE
def test_a_dropped_facade_is_named_and_prepare_puts_it_back(tour: Cli, dsn: str, plan_name: str) -> None:
    tour.run("prepare", "--set-identity")
    execute(dsn, f"DROP VIEW cutover.map_{plan_name}_product CASCADE")
    (problem,) = lost(tour)
    assert problem["what"] == 'the facade of product, "Lager".product_current, is not there'
    assert problem["cure"] == "cutover prepare product"
    assert 'facade "Lager".product_current is not there' in tour.run("status").out
    assert "cutover prepare product" in tour.run("flip", "product", "--to", "legacy", code=5).said
    tour.run("prepare", "product")
    assert lost(tour) == []
    assert "is not there" not in tour.run("status").out
    assert read(dsn) == (1000,)

    execute(dsn, "UPDATE cutover.move SET side = 'consolidated', percent = 100")  # the target is empty
    execute(dsn, 'DROP VIEW "Lager".product_current')
    assert len(lost(tour)) == 1
    tour.run("prepare", "product")
    assert read(dsn) == (0,)  # it is on the side where it was


@ONE
def test_reads_from_a_side_that_nobody_feeds_are_told_of(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    execute(dsn, "UPDATE cutover.move SET side = 'consolidated', percent = 100")
    problems = tour.run("doctor", "--json", code=5).document["problems"]
    (stale,) = [each for each in problems if "keeps it current" in each["what"]]
    assert stale["cure"] == "cutover run"
    assert "cutover flip product --to legacy" in stale["hint"]


@ONE
def test_a_changed_mapping_asks_for_another_backfill_in_these_words(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    assert "never backfilled" in tour.run("doctor", code=5).out
    tour.run("backfill")
    mapping = tour.folder / "plan" / "product.sql"
    mapping.write_text(mapping.read_text().replace('a."Bezeichnung" AS title', 'upper(a."Bezeichnung") AS title'))
    tour.run("prepare")
    said = tour.run("doctor", code=5).out
    assert "product has to be backfilled again" in said
    assert "its mapping has changed" in said
    assert "never backfilled" not in said
    assert "to do again" in tour.run("status").out


def read(dsn: str) -> tuple[object, ...] | None:
    with psycopg.connect(dsn) as conn:
        return conn.execute(b'SELECT count(*) FROM "Lager".product_current').fetchone()
