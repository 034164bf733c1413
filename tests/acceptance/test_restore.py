"""`cutover restore`, as an operator runs it when a source is gone."""

from __future__ import annotations

import psycopg
import pytest

from tests.acceptance.command import Cli
from tests.acceptance.conftest import with_rows

BOTH = pytest.mark.parametrize(
    ("server", "log_address"), [("pg15", "sqlite"), ("pg18", "kafka")], indirect=True, ids=["pg15-sqlite", "pg18-kafka"]
)


@BOTH
def test_a_dropped_source_is_rebuilt_as_of_a_moment_between_two_transactions(tour: Cli, dsn: str) -> None:
    """Equal to a copy taken then. The plan cannot even be compiled any more, for the table is gone: consumers end, and
    capture, in a process of its own, goes on."""
    with_rows(tour)
    tour.run("prepare", "--set-identity")
    with (
        tour.start("capture") as capture,
        tour.start("consume") as consume,
        psycopg.connect(dsn, autocommit=True) as conn,
    ):
        capture.wait_for("capturing")
        consume.wait_for("has 4 partitions")
        tour.run("backfill")
        read = tour.run("history", "product", "nord", "A-2", "--json").document["versions"]
        assert [(each["source"], each["operation"]) for each in read] == [
            ('"Lager"."Artikel"', "read"),
            ('"Lager"."Preis"', "read"),
            ('"Lager"."Bestand"', "read"),
            ('"Lager"."Bestand"', "read"),
        ]
        conn.execute("""UPDATE "Lager"."Preis" SET "Betrag" = "Betrag" + 1 WHERE "ArtikelNr" LIKE 'A-1%'""")
        conn.execute("""DELETE FROM "Lager"."Preis" WHERE "ArtikelNr" LIKE 'A-2%'""")
        conn.execute("""CREATE TABLE copy AS TABLE "Lager"."Preis" """)
        row = conn.execute("SELECT pg_current_wal_insert_lsn()::text, clock_timestamp()::text").fetchone()
        assert row is not None
        conn.execute("""UPDATE "Lager"."Preis" SET "Betrag" = 0""")
        conn.execute("""DELETE FROM "Lager"."Preis" WHERE "Währung" = 'CHF'""")
        conn.execute("""DROP TABLE "Lager"."Preis" CASCADE""")
        for number, moment in enumerate(row):
            into = f"public.back{number}"
            done = tour.run("restore", '"Lager"."Preis"', "--at", moment, "--into", into, "--json").document
            assert (done["certain"], done["complete"], done["reached"], done["not_in_log"]) == (True, True, True, [])
            for left, right in (("copy", into), (into, "copy")):
                query = f"SELECT count(*) FROM (TABLE {left} EXCEPT ALL TABLE {right}) d"
                assert conn.execute(query.encode()).fetchone() == (0,)
            assert conn.execute(f"SELECT count(*) FROM {into}".encode()).fetchone() == (done["rows"],)
        assert "rows of" in tour.run("restore", '"Lager"."Preis"', "--at", row[0], "--into", '"Lager"."Preis"').out
        assert (
            "has rows" in tour.run("restore", '"Lager"."Preis"', "--at", row[0], "--into", "public.copy", code=5).said
        )
        assert "not an LSN" in tour.run("restore", '"Lager"."Preis"', "--at", "x/y", "--into", "public.z", code=2).said
        assert capture.stop() == 0
