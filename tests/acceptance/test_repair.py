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
        assert sorted(detail["named"]) == [["nord", "A-7"], ["nord", "A-8"], ["nord", "A-9"], ["nord", "ghost"]]
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


@BOTH
def test_a_closer_look_at_some_keys_is_never_called_exact(tour: Cli, dsn: str) -> None:
    """Nor does it open the gate, or close one that a whole proof has opened; drift that it finds closes it."""
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service, psycopg.connect(dsn, autocommit=True) as conn:
        service.wait_for("capturing")
        tour.run("backfill")
        look = tour.eventually("reconcile", "product", "--key", "nord,A-7", "--key", "nord,nobody", "--json").document
        (move,) = look["moves"]
        assert (move["exact"], move["rows"]["compared"], move["invariants"]) == (False, 1, [])
        assert "the chosen key is equal" in move["sentence"]
        lately = tour.run("reconcile", "--since", "1h", "--json").document["moves"][0]
        assert (lately["exact"], lately["rows"]["compared"]) == (False, 1000)  # every key there is, and yet a part
        assert "of some keys only" in tour.run("flip", "product", "--to", "consolidated", "--json", code=5).out
        runs = conn.execute("SELECT DISTINCT exact FROM cutover.reconcile_run WHERE verdict = 'match'").fetchall()
        assert runs == [(False,)]
        tour.eventually("reconcile")
        tour.run("reconcile", "product", "--key", "nord,A-7")
        tour.eventually("flip", "product", "--to", "consolidated")

        moment = conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        assert moment is not None
        conn.execute("""UPDATE "Lager"."Preis" SET "Betrag" = 3 WHERE "ArtikelNr" IN ('A-20', 'A-21')""")
        conn.execute("SELECT cutover.wait_for(pg_current_wal_insert_lsn())")
        lately = tour.run("reconcile", "product", "--since", moment[0], "--json").document["moves"][0]
        assert 2 <= lately["rows"]["compared"] < 1000
        assert tour.run("reconcile", "--since", "1h", "--json").document["moves"][0]["rows"]["compared"] == 1000
        conn.execute("""UPDATE "Lager".product SET price = -3 WHERE sku = 'A-21'""")
        assert tour.run("reconcile", "product", "--key", "nord,A-20", "--json").document["verdict"] == "match"
        assert tour.run("reconcile", "--since", "1h", "--json", code=4).document["verdict"] == "drift"
        keys = tour.folder / "keys.csv"
        keys.write_text('nord,A-20\nnord,"A-21"\nnord,nobody\n')
        given = tour.run("reconcile", "product", "--keys", str(keys), "--key", "nord,A-22", "--json", code=4).document
        assert given["moves"][0]["rows"]["compared"] == 3
        for part, code, compared in (
            (("--columns", "title,places"), 0, 1000),
            (("--where", "price = -3"), 4, 1),
            (("--where", "sku = 'A-20'", "--columns", "title"), 0, 1),
            (("--sample", "50", "--seed", "3"), 0, 50),
        ):
            (move,) = tour.run("reconcile", "product", *part, "--json", code=code).document["moves"]
            assert (move["exact"], move["rows"]["compared"]) == (False, compared)
        said = tour.run("reconcile", "--sample", "50", "--seed", "3").out
        assert "--sample 50 --seed 3" in said
        assert "With 95% confidence fewer than" in said
        tour.run("flip", "product", "--to", "legacy")
        assert "drift" in tour.run("flip", "product", "--to", "consolidated", "--json", code=5).out
        assert service.stop() == 0


@ONE
def test_keys_that_make_no_sense_are_said(tour: Cli) -> None:
    tour.run("prepare", "--set-identity")
    for arguments in (
        ("--key", "A-7"), ("--since", "yesterday"), ("--key", "nord,A-7", "--since", "1h"), ("--keys", "nowhere.csv"),
        ("--columns", "titel"), ("--columns", "sku"), ("--where", "titel = 'x'"), ("--sample", "0"), ("--seed", "1"),
        ("--sample", "9", "--where", "true"), ("--watch", "--sample", "9"),
    ):  # fmt: skip
        assert "--" in tour.run("reconcile", "product", *arguments, code=2).said


@ONE
def test_a_column_is_named_as_reports_print_it_or_as_in_sql(tour: Cli) -> None:
    """A shell takes quotes off, and a suggestion is what works when it is pasted."""
    for file in ("product.sql", "product.ddl.sql"):
        path = tour.folder / "plan" / file
        path.write_text(path.read_text().replace("AS title", 'AS "Titel"').replace("title    text", '"Titel" text'))
    tour.run("prepare", "--set-identity")
    for given in ("Titel,price", '"Titel"'):
        (move,) = tour.run("reconcile", "product", "--columns", given, "--json", "--timeout", "0.1", code=3).document[
            "moves"
        ]
        assert move["scope"]["columns"][0] == "Titel"
    refused = tour.run("reconcile", "product", "--columns", "titel", code=2)
    assert "did you mean --columns Titel?" in refused.said
