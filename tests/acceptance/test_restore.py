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
        tour.start("consume", "--sessions", "1") as consume,
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
        said = tour.run("restore", '"Lager"."Preis"', "--at", row[1].replace(" ", "T"), "--into", '"Lager"."Preis"').out
        assert f'rows of "Lager"."Preis" as of {row[1][:19].replace(" ", "T")}+00:00 in' in said
        assert (
            "has rows" in tour.run("restore", '"Lager"."Preis"', "--at", row[0], "--into", "public.copy", code=5).said
        )
        assert "not an LSN" in tour.run("restore", '"Lager"."Preis"', "--at", "x/y", "--into", "public.z", code=2).said
        assert capture.stop() == 0


COLUMNS = 'mandant, "ArtikelNr", "Währung", "Betrag"'
HARM = (
    """UPDATE "Lager"."Preis" SET "Betrag" = 0 WHERE "ArtikelNr" LIKE 'A-1%'""",
    """DELETE FROM "Lager"."Preis" WHERE "ArtikelNr" LIKE 'A-2%'""",
    # In mid-stream a column that nobody reads comes, is written, and goes.
    """ALTER TABLE "Lager"."Preis" ADD COLUMN "Rabatt" int DEFAULT 5""",
    """UPDATE "Lager"."Preis" SET "Betrag" = "Betrag" + 1, "Rabatt" = 7 WHERE "ArtikelNr" LIKE 'A-3%'""",
    """ALTER TABLE "Lager"."Preis" DROP COLUMN "Rabatt" """,
    """INSERT INTO "Lager"."Preis" SELECT mandant, "Nr", 'EUR', 1 FROM "Lager"."Artikel" WHERE "Nr" LIKE 'A-2%'""",
    'TRUNCATE "Lager"."Preis"',
    """INSERT INTO "Lager"."Preis" VALUES ('nord', 'A-1', 'EUR', 9.99)""",
)


@pytest.mark.parametrize("server", ["pg15", "pg18"], indirect=True)
@pytest.mark.parametrize("log_address", ["sqlite"], indirect=True)
def test_a_source_is_rebuilt_as_it_was_before_each_harm(tour: Cli, dsn: str) -> None:
    """Between any two transactions: a wrong UPDATE, a wrong DELETE, changes of its shape, a TRUNCATE that halts the
    move. The LSN is the one that history shows of the harm itself."""
    with_rows(tour)
    tour.run("prepare", "--set-identity")
    with (
        tour.start("capture") as capture,
        tour.start("consume", "--sessions", "1") as consume,
        psycopg.connect(dsn, autocommit=True) as conn,
    ):
        capture.wait_for("capturing")
        consume.wait_for("has 4 partitions")
        tour.run("backfill")
        moments = []
        for number, statement in enumerate(HARM):
            conn.execute(f'CREATE TABLE copy{number} AS SELECT {COLUMNS} FROM "Lager"."Preis"'.encode())
            row = conn.execute("SELECT pg_current_wal_insert_lsn()::text, clock_timestamp()::text").fetchone()
            assert row is not None
            moments.append(row)
            conn.execute(statement.encode())
        capture.wait_for("was truncated")
        for number, row in enumerate(moments):
            moment, into = row[number % 2], f"public.back{number}"
            done = tour.run("restore", '"Lager"."Preis"', "--at", moment, "--into", into, "--json").document
            assert done["certain"], (number, done)
            for left, right in ((f"copy{number}", into), (into, f"copy{number}")):
                query = (
                    f"SELECT count(*) FROM (SELECT {COLUMNS} FROM {left} EXCEPT ALL SELECT {COLUMNS} FROM {right}) d"
                )
                assert conn.execute(query.encode()).fetchone() == (0,), (number, done)
        versions = tour.run("history", "product", "nord", "A-1", "--json").document["versions"]
        (truncation,) = [each["lsn"] for each in versions if each["operation"] == "truncate"]
        done = tour.run("restore", '"Lager"."Preis"', "--at", truncation, "--into", "public.before", "--json").document
        assert done["rows"] == count(conn, "copy6")
        # What came after a TRUNCATE is all there is, whether it was healed or not.
        assert tour.run("heal", "--json").document["halts"].keys() == {"product"}
        tour.eventually("reconcile")
        row = conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        assert row is not None
        done = tour.run("restore", '"Lager"."Preis"', "--at", row[0], "--into", "public.after", "--json").document
        assert (done["rows"], done["certain"]) == (1, True)
        assert capture.stop() == 0


@pytest.mark.parametrize("server", ["pg15", "pg18"], indirect=True)
@pytest.mark.parametrize("log_address", ["sqlite"], indirect=True)
def test_c7_what_the_log_does_not_have_is_named(tour: Cli, dsn: str) -> None:
    """A long value that an update left alone is in no record until a backfill has read it: NULL, counted, exit 3."""
    with_rows(tour)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("""ALTER TABLE "Lager"."Artikel" ALTER "Bezeichnung" SET STORAGE EXTERNAL""")
        conn.execute("""INSERT INTO "Lager"."Artikel" VALUES ('süd', 'X', repeat('lang ', 3000))""")
        tour.run("prepare", "--set-identity")
        with tour.start("capture") as capture:
            capture.wait_for("capturing")
            conn.execute("""UPDATE "Lager"."Artikel" SET mandant = 'west' WHERE "Nr" = 'X'""")
            row = conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
            assert row is not None
            nothing = ("restore", '"Lager"."Bestand"', "--at", row[0], "--into", "public.nothing", "--json")
            none = tour.run(*nothing, code=3).document  # no row of it in the log says nothing of its columns
            assert (none["rows"], none["there"], none["not_in_log"]) == (0, False, [])
            for number, code in enumerate((3, 0)):
                row = conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
                assert row is not None
                into = f"public.back{number}"
                arguments = ("restore", '"Lager"."Artikel"', "--at", row[0], "--into", into)
                ran = tour.run(*arguments, code=code)
                found = conn.execute(
                    f"""SELECT length("Bezeichnung") FROM {into} WHERE "Nr" = 'X'""".encode()
                ).fetchone()
                if code:
                    assert '1 long value of "Bezeichnung" is NULL here' in " ".join(ran.out.split())
                    assert "no backfill of product" in " ".join(ran.out.split())
                    assert found == (None,)
                else:
                    assert found == (15000,)
                tour.run("backfill")
            assert capture.stop() == 0


def count(conn: psycopg.Connection, table: str) -> int:
    row = conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])
