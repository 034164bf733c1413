"""`cutover replay` and `cutover history`, as operators run them."""

from __future__ import annotations

import psycopg
import pytest

from cdc.log import open_log
from tests.acceptance.command import Cli

BOTH = pytest.mark.parametrize(
    ("server", "log_address"), [("pg18", "sqlite"), ("pg15", "kafka")], indirect=True, ids=["pg18-sqlite", "pg15-kafka"]
)
KILLED = -9


@BOTH
def test_replay_killed_at_each_point_goes_on_and_mends_what_was_damaged(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service, psycopg.connect(dsn, autocommit=True) as conn:
        service.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile")
        dry = tour.run("replay", "product", "--from-start", "--dry-run", "--json").document
        assert (dry["dry_run"], dry["keys"], dry["records"] > 0, dry["bytes"] > 0) == (True, 1000, True, True)

        conn.execute("""UPDATE "Lager".product SET price = -1 WHERE sku LIKE 'A-1%'""")
        conn.execute("""DELETE FROM "Lager".product WHERE sku LIKE 'A-2%'""")
        damaged = conn.execute("""SELECT count(*) FROM "Lager".product WHERE price = -1""").fetchone()
        assert damaged is not None
        assert tour.run("reconcile", "--json", code=4).document["verdict"] == "drift"
        for point in ("replay.before-commit", "replay.after-commit"):
            tour.run("replay", "product", "--from-start", code=KILLED, CUTOVER_FAULT=point)
        done = tour.run("replay", "product", "--from-start", "--json").document
        assert (done["finished"], done["resumed"]) == (True, True)
        assert done["changed"] >= damaged[0]
        assert tour.run("reconcile", "--json").document["verdict"] == "match"
        again = tour.run("replay", "product", "--from-start", "--json").document
        assert (again["finished"], again["changed"], again["resumed"]) == (True, 0, False)
        assert service.stop() == 0


@pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
def test_replay_of_a_part_of_the_log_mends_that_part(tour: Cli, dsn: str) -> None:
    """From where to where by offset, LSN and time; only some keys; first said, and then done."""
    tour.run("prepare", "--set-identity")
    with psycopg.connect(dsn, autocommit=True) as conn:

        def now() -> tuple[str, str]:
            row = conn.execute("SELECT pg_current_wal_insert_lsn()::text, clock_timestamp()::text").fetchone()
            assert row is not None
            conn.execute("SELECT cutover.wait_for(%s)", (row[0],))
            return row

        with tour.start("run") as service:
            service.wait_for("capturing")
            lsn, _ = now()
            conn.execute("""UPDATE "Lager"."Preis" SET "Betrag" = "Betrag" + 1 WHERE "ArtikelNr" LIKE 'A-1_'""")
            between, _ = now()
            conn.execute("""UPDATE "Lager"."Preis" SET "Betrag" = "Betrag" + 1 WHERE "ArtikelNr" LIKE 'A-2_'""")
            now()
            assert service.stop() == 0

        def damaged() -> int:
            row = conn.execute("""SELECT count(*) FROM "Lager".product WHERE price = -1""").fetchone()
            assert row is not None
            return int(row[0])

        conn.execute("""UPDATE "Lager".product SET price = -1""")
        assert damaged() == 20  # no backfill: only these rows are there
        ends = [
            each["end"]
            for each in tour.run("replay", "product", "--from-start", "--dry-run", "--json").document["partitions"]
        ]
        nothing = ("--from-start", *(part for at in range(4) for part in ("--to-offset", f"{at}:0")))
        for arguments, keys in (
            (nothing, 0),
            (("--from-start", "--to-offset", f"0:{ends[0]}"), None),
            (("--from-lsn", lsn, "--to-lsn", between, "--key", "nord,A-11"), 1),
            (("--from-time", "2020-01-01", "--to-time", "2020-01-02"), 0),
            (("--from-start",), 20),
        ):
            dry = tour.run("replay", "product", *arguments, "--dry-run", "--json").document
            assert keys is None or dry["keys"] == keys, arguments
            assert damaged() == 20
        file = tour.folder / "keys"
        file.write_text("nord,A-11\nnord,A-12\nnord,A-21\n")
        done = tour.run(
            "replay", "product", "--from-start", "--to-lsn", between, "--keys", str(file), "--json"
        ).document
        assert done["changed"] in (2, 3)  # a record may reach beyond the LSN, never fall short of it
        assert damaged() == 20 - done["changed"]
        only = tour.run("replay", "product", "--from-start", "--to-offset", f"0:{ends[0]}", "--json").document
        assert only["finished"]
        assert {each["partition"] for each in only["partitions"]} == {0}
        left = damaged()
        assert tour.run("replay", "product", "--from-start", "--json").document["changed"] == left
        assert damaged() == 0


@BOTH
def test_l2_a_replay_of_another_topic_is_refused_before_it_says_anything(tour: Cli, log_address: str) -> None:
    """Its offsets are others. The dry run says so too."""
    tour.run("prepare", "--set-identity")
    log = open_log(log_address)
    topic = f"cutover.{tour.run('status', '--json').document['plan']}.product"
    log.delete_topic(topic)
    log.ensure_topic(topic, 4)
    log.close()
    for more in ((), ("--dry-run",)):
        refused = tour.run("replay", "product", "--from-start", *more, code=5)
        assert "is not the one that prepare made" in refused.said
        assert "cutover heal" in refused.said


@BOTH
def test_history_shows_every_version_of_a_key(tour: Cli, dsn: str) -> None:
    """C7: a long value that an update left alone is shown as unchanged, never as NULL."""
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service, psycopg.connect(dsn, autocommit=True) as conn:
        service.wait_for("capturing")
        conn.execute("""ALTER TABLE "Lager"."Artikel" ALTER "Bezeichnung" SET STORAGE EXTERNAL""")
        conn.execute("""INSERT INTO "Lager"."Artikel" VALUES ('süd', 'X', repeat('lang ', 3000))""")
        conn.execute("""INSERT INTO "Lager"."Preis" VALUES ('süd', 'X', 'EUR', 1.5)""")
        conn.execute("""UPDATE "Lager"."Preis" SET "Betrag" = 2.5 WHERE "ArtikelNr" = 'X'""")
        conn.execute("""UPDATE "Lager"."Artikel" SET mandant = mandant WHERE "Nr" = 'X'""")
        conn.execute("""DELETE FROM "Lager"."Preis" WHERE "ArtikelNr" = 'X'""")
        conn.execute("SELECT cutover.wait_for(pg_current_wal_insert_lsn())")
        tour.run("backfill")
        conn.execute("SELECT cutover.wait_for(pg_current_wal_insert_lsn())")
        versions = tour.run("history", "product", "süd", "X", "--json").document["versions"]
        told = [(each["source"], each["operation"]) for each in versions]
        assert told == [
            ('"Lager"."Artikel"', "insert"),
            ('"Lager"."Preis"', "insert"),
            ('"Lager"."Preis"', "update"),
            ('"Lager"."Artikel"', "update"),
            ('"Lager"."Preis"', "delete"),
            (None, "touch"),
        ]
        values = [{each["column"]: each for each in version["values"]} for version in versions]
        assert (values[1]["Betrag"]["value"], values[2]["Betrag"]["value"]) == ("1.50", "2.50")
        assert values[2]["Betrag"]["changed"] is True
        assert values[2]["Währung"]["changed"] is False
        long = values[3]["Bezeichnung"]
        assert (long["unchanged"], long["changed"], len(long["value"])) == (True, False, 15000)
        assert all(version["lsn"] and version["xid"] for version in versions[:-1])
        shown = tour.run("history", "product", "süd", "X").out
        assert "(unchanged)" in shown
        assert '* "Betrag": 2.50' in shown
        assert tour.run("history", "product", "nobody", "Y", "--json").document["versions"] == []
        assert "2 parts" in tour.run("history", "product", "X", code=2).said
        assert service.stop() == 0


@BOTH
def test_what_is_asked_for_wrongly_is_said_with_its_cure(tour: Cli) -> None:
    tour.run("prepare", "--set-identity")
    for arguments, said in (
        ((), "--from-start"),
        (("--from-start", "--from-time", "2026-01-01"), "from where?"),
        (("--from-lsn", "x"), "not an LSN"),
        (("--from-time", "yesterday"), "not a time"),
        (("--from-offset", "1"), "not PARTITION:OFFSET"),
        (("--from-start", "--to-offset", "0:0", "--to-offset", "0:1"), "named twice"),
        (("--from-start", "--to-offset", "0:999999"), "is not in the log"),
        (("--from-start", "--keys", "no-such-file"), "one key a line"),
        (("--from-offset", "0:99999999"), "is not in the log"),
        (("--from-start", "--key", "a,b,c"), "2 parts"),
    ):
        assert said in tour.run("replay", "product", *arguments, code=2).said
