"""`reconcile --repair`: what drifted is touched, the stream mends it, and the second comparison decides."""

from __future__ import annotations

import psycopg
import pytest

from tests.acceptance.command import Cli

BOTH = pytest.mark.parametrize(
    ("server", "log_address"), [("pg18", "sqlite"), ("pg15", "kafka")], indirect=True, ids=["pg18-sqlite", "pg15-kafka"]
)
ONE = pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
DAMAGE = """
UPDATE "Lager".product SET price = -1 WHERE sku IN ('A-7', 'A-8');
DELETE FROM "Lager".product WHERE sku = 'A-9';
INSERT INTO "Lager".product (tenant, sku, title, quantity) VALUES ('nord', 'ghost', '', 0);
"""


@BOTH
def test_what_drifted_is_mended_by_the_stream(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service, psycopg.connect(dsn, autocommit=True) as conn:
        service.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile")
        conn.execute(DAMAGE.encode())
        dry = tour.run("reconcile", "--repair", "--dry-run", "--json", code=4).document
        assert dry["dry_run"] == {"product": 4}
        assert dry["moves"][0]["kinds"] == {"missing": 1, "extra": 1, "differs": 2}
        mended = tour.run("reconcile", "--repair", "--json").document
        assert (mended["repaired"], mended["verdict"]) == ({"product": 4}, "match")
        (detail,) = conn.execute("SELECT detail FROM cutover.event WHERE what = 'repair'").fetchone() or ({},)
        assert detail["keys"] == 4
        assert ["nord", "ghost"] in detail["first"]
        assert tour.run("reconcile", "--repair", "--json").document["repaired"] == {}
        assert service.stop() == 0


@ONE
def test_what_is_not_proven_is_not_touched(tour: Cli, dsn: str) -> None:
    """Without a stream nobody can tell lag from drift: exit 3, and nothing is done."""
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service:
        service.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile")
        assert service.stop() == 0
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(DAMAGE.encode())
        refused = tour.run("reconcile", "--repair", "--timeout", "1", "--json", code=3).document
        assert (refused["repaired"], refused["verdict"]) == ({}, "unresolved")
        assert conn.execute("SELECT count(*) FROM cutover.event WHERE what = 'repair'").fetchone() == (0,)


@ONE
def test_a_dry_run_of_nothing_is_a_slip(tour: Cli) -> None:
    assert "--repair" in tour.run("reconcile", "--dry-run", code=2).said
