"""A masked column's values are nowhere: terminal, JSON, HTML, history, dead letters, control schema, standard error."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from tests.acceptance.command import Cli

BOTH = pytest.mark.parametrize(
    ("server", "log_address"), [("pg15", "sqlite"), ("pg18", "kafka")], indirect=True, ids=["pg15-sqlite", "pg18-kafka"]
)
ONE = pytest.mark.parametrize(("server", "log_address"), [("pg15", "sqlite")], indirect=True, ids=["pg15-sqlite"])
SECRETS = ("geheim", "verraten")
DAMAGE = """
UPDATE "Lager".product SET title = 'verraten 8' WHERE sku = 'A-8';
UPDATE "Lager".product SET title = title || '  ', places = 'verraten 9' WHERE sku = 'A-9';
DELETE FROM "Lager".product WHERE sku = 'A-10';
INSERT INTO "Lager".product (tenant, sku, title, quantity) VALUES ('nord', 'ghost', 'verraten', 0);
INSERT INTO cutover.dead_letter (plan, move, key, partition, "offset", sqlstate, message)
SELECT plan, move, ARRAY['nord', 'A-8'], 0, 1, '22003', 'numeric field overflow' FROM cutover.move;
"""
INVARIANT = """
[[moves.product.invariants]]
name = "the last title"
legacy = 'SELECT max("Bezeichnung") FROM "Lager"."Artikel"'
consolidated = 'SELECT max(title) FROM "Lager".product'
"""


def masked(tour: Cli, columns: str) -> None:
    plan = tour.folder / "plan" / "plan.toml"
    plan.write_text(plan.read_text().replace("\nkey ", f"\nmask    = {columns}\nkey ") + INVARIANT)


@BOTH
def test_a_masked_value_is_nowhere_and_its_difference_is_told(tour: Cli, dsn: str, tmp_path: Path) -> None:
    masked(tour, '["title", "places"]')
    page = tmp_path / "report.html"
    said: list[str] = []
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("""UPDATE "Lager"."Artikel" SET "Bezeichnung" = 'geheim ' || "Nr" """)
        tour.run("prepare", "--set-identity")
        with tour.start("run") as service:
            service.wait_for("capturing")
            tour.run("backfill")
            tour.eventually("reconcile")
            conn.execute("""UPDATE "Lager"."Artikel" SET "Bezeichnung" = 'geheim neu' WHERE "Nr" = 'A-8'""")
            conn.execute("SELECT cutover.wait_for(pg_current_wal_insert_lsn())")
            conn.execute(DAMAGE.encode())
            dry = tour.run("reconcile", "--repair", "--dry-run", "--json", "--html", str(page), code=4)
            texts = [
                tour.run("reconcile", "--repair", "--dry-run", code=4),
                tour.run("history", "product", "nord", "A-8"),
            ]
            texts += [tour.run("history", "product", "nord", "A-8", "--json"), tour.run("dead-letters", "show", "1")]
            texts += [tour.run("reconcile", "product", "--key", "nord,A-8", "--verbose", code=None)]
            said += [ran.out + ran.err for ran in (dry, *texts)] + [page.read_text()]
            assert service.stop() == 0
        said += [path.read_text() for path in tmp_path.glob("run-*.log")]
        tables = conn.execute(
            "SELECT format('SELECT t::text FROM %s t', oid::regclass) FROM pg_class"
            " WHERE relnamespace = 'cutover'::regnamespace AND relkind = 'r'"
        ).fetchall()
        said += [row for (query,) in tables for (row,) in conn.execute(query).fetchall()]
    assert len(said) > 10
    for secret in SECRETS:
        assert not [text for text in said if secret in text]

    (move,) = dry.document["moves"]
    cells = {tuple(each["key"]): each["cells"] for each in move["differences"]}
    assert move["masked_columns"] == ["places", "title"]
    assert cells["nord", "A-9"]["title"] == {
        "legacy": "***",
        "consolidated": "***",
        "masked": "only blanks at the ends",
    }
    assert cells["nord", "A-9"]["places"]["masked"] == "NULL against a value"
    assert cells["nord", "A-8"]["title"]["masked"] == "different values of equal length"
    assert cells["nord", "A-10"]["title"] == {"legacy": "***", "consolidated": None, "masked": "one side has no row"}
    assert "only blanks at the ends" in said[1]
    assert "only blanks at the ends" in page.read_text()
    last = next(each for each in move["invariants"] if each["name"] == "the last title")
    assert (last["legacy"], last["consolidated"], last["holds"], last["masked"]) == ("***", "***", False, True)
    versions = tour.run("history", "product", "nord", "A-8", "--json").document["versions"]
    update = next(each for each in versions if each["operation"] == "update")
    assert {"column": "Bezeichnung", "value": "***", "masked": True}.items() <= next(
        each for each in update["values"] if each["column"] == "Bezeichnung"
    ).items()


@ONE
def test_a_mask_that_hides_nothing_is_refused(tour: Cli) -> None:
    masked(tour, '["titel"]')
    assert 'plan.toml:7: mask: "Lager".product has no column titel' in (said := tour.run("prepare", code=2).said)
    assert "did you mean title?" in said


@ONE
def test_a_key_cannot_be_masked(tour: Cli) -> None:
    masked(tour, '["sku"]')
    assert "cannot be masked" in tour.run("prepare", code=2).said
