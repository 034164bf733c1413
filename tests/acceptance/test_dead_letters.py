"""Dead letters: one poison row halts nobody, is never green, and goes when it is mended or discarded."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.acceptance.command import Cli

BOTH = pytest.mark.parametrize(
    ("server", "log_address"), [("pg15", "kafka"), ("pg18", "sqlite")], indirect=True, ids=["pg15-kafka", "pg18-sqlite"]
)


@BOTH
def test_from_poison_to_mended(tour: Cli, dsn: str) -> None:
    """A6, A11: the key and the reason are kept, the value is not; the other keys go on."""
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service, psycopg.connect(dsn, autocommit=True) as conn:
        service.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile")
        conn.execute("""ALTER TABLE "Lager".product ADD CONSTRAINT affordable CHECK (price < 5000)""")
        conn.execute("""UPDATE "Lager"."Preis" SET "Betrag" = 7654.25 WHERE "ArtikelNr" IN ('A-8', 'A-9', 'A-10')""")
        conn.execute("""UPDATE "Lager"."Preis" SET "Betrag" = 3 WHERE "ArtikelNr" = 'A-11'""")
        service.wait_for("dead letters")

        found = tour.run("dead-letters", "list", "--json")
        letters = {tuple(each["key"]): each for each in found.document["dead_letters"]}
        assert letters.keys() == {("nord", "A-8"), ("nord", "A-9"), ("nord", "A-10")}
        letter = letters["nord", "A-8"]
        assert (letter["sqlstate"], letter["state"], letter["move"]) == ("23514", "open", "product")
        assert "affordable" in letter["message"]
        assert "7654" not in found.out
        (cause,) = found.document["causes"]
        assert (cause["keys"], cause["sqlstate"], len(cause["examples"])) == (3, "23514", 3)
        assert tour.run("dead-letters", "list").out.count("23514") == 1
        assert tour.run("dead-letters", "list", "--each").out.count("23514") == 3
        shown = tour.run("dead-letters", "show", str(letter["id"]), "--json").document
        assert [each["operation"] for each in shown["history"]] == ["touch", "update"]
        assert (shown["history"][-1]["partition"], shown["history"][-1]["offset"]) == (
            letter["partition"],
            letter["offset"],
        )
        said = tour.run("dead-letters", "show", str(letter["id"])).out
        assert "key         nord,A-8\n" in said
        assert "None" not in said
        again = tour.run("dead-letters", "retry", str(letter["id"]), "--json").document  # it fails as before
        assert again["retried"] == [letter["id"]]
        while (tried := tour.run("dead-letters", "show", str(letter["id"]), "--json").document)["attempts"] == 1:
            assert service.process.poll() is None
        assert (tried["first_seen"], tried["state"]) == (letter["first_seen"], "open")
        assert tour.run("status", "--json").document["moves"][0]["dead_letters"] == 3
        assert "dead letters" in tour.run("doctor", code=5).out
        gate = tour.run("flip", "product", "--to", "consolidated", "--json", code=5).document["gate"]
        assert "dead letters" in [check["check"] for check in gate if not check["ok"]]
        price = conn.execute("""SELECT price FROM "Lager".product WHERE sku = 'A-11'""").fetchone()
        assert price is not None
        assert str(price[0]) == "3.00"

        conn.execute("""UPDATE "Lager"."Preis" SET "Betrag" = 5 WHERE "ArtikelNr" = 'A-9'""")  # mended at the source
        conn.execute("""ALTER TABLE "Lager".product DROP CONSTRAINT affordable""")  # mended at the target
        assert tour.run("dead-letters", "retry", str(letter["id"]), "--json").document["retried"] == [letter["id"]]
        tour.run("dead-letters", "retry", "--all")
        tour.eventually("reconcile")
        assert tour.run("dead-letters", "list", "--json").document["dead_letters"] == []
        every = tour.run("dead-letters", "list", "--all", "--json").document["dead_letters"]
        assert [each["state"] for each in every] == ["resolved"] * 3


def _causes(tour: Cli) -> dict[str, int]:
    """The keys by state, each with one cause."""
    causes = tour.run("dead-letters", "list", "--all", "--json").document["causes"]
    assert len({cause["state"] for cause in causes}) == len(causes)
    return {cause["state"]: cause["keys"] for cause in causes}


@BOTH
def test_a_discarded_letter_keeps_its_reason(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service, psycopg.connect(dsn, autocommit=True) as conn:
        service.wait_for("capturing")
        conn.execute("""ALTER TABLE "Lager".product ADD CONSTRAINT affordable CHECK (price < 1000)""")
        tour.run("backfill")
        dear = conn.execute("""SELECT count(*) FROM "Lager"."Preis" WHERE "Betrag" >= 1000""").fetchone()
        found: list[dict[str, Any]] = []
        while len(found) != (dear or (0,))[0]:
            assert service.process.poll() is None
            found = tour.run("dead-letters", "list", "--move", "product", "--json").document["dead_letters"]
        numbers = [str(each["id"]) for each in found]
        assert "--reason" in tour.run("dead-letters", "discard", *numbers, code=2).err
        assert "no dead letter 999999" in tour.run("dead-letters", "show", "999999", code=2).said
        assert f"no dead letter {1 << 63}" in tour.run("dead-letters", "retry", str(1 << 63), code=2).said
        gone = tour.run("dead-letters", "discard", *numbers, "--reason", "too dear", "--json").document
        assert sorted(map(str, gone["discarded"])) == sorted(numbers)
        shown = tour.run("dead-letters", "show", numbers[0], "--json").document
        assert (shown["state"], shown["reason"]) == ("discarded", "too dear")
        conn.execute("""UPDATE "Lager"."Preis" SET "Betrag" = 999 WHERE "ArtikelNr" = %s""", (found[0]["key"][1],))
        conn.execute("""UPDATE "Lager"."Preis" SET "Betrag" = 1001 WHERE "ArtikelNr" = 'A-1'""")
        while len(causes := _causes(tour)) < 3:
            assert service.process.poll() is None
        assert causes == {"open": 1, "resolved": 1, "discarded": len(numbers) - 1}
        words = tour.run("dead-letters", "list", "--all").out.split()
        assert sorted(word for word in words if word in causes) == sorted(causes)


@pytest.mark.parametrize(("server", "log_address"), [("pg15", "sqlite")], indirect=True, ids=["pg15-sqlite"])
def test_a6_a_discarded_key_is_accepted_by_name_until_a_side_changes(tour: Cli, dsn: str) -> None:
    """R4: it is never counted as equal, and never hidden; with it the gate opens, after a change it is drift again."""
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service, psycopg.connect(dsn, autocommit=True) as conn:
        service.wait_for("capturing")
        conn.execute("""ALTER TABLE "Lager".product ADD CONSTRAINT few CHECK (quantity < 32)""")
        tour.run("backfill")
        tour.eventually("reconcile", code=3)  # dead letters are unresolved
        found = tour.run("dead-letters", "list", "--json").document["dead_letters"]
        numbers = [str(each["id"]) for each in found]
        keys = {tuple(each["key"]) for each in found}
        assert len(keys) > 20
        said = tour.run("dead-letters", "discard", *numbers, "--reason", "too many").out
        assert f"{len(keys)} keys accepted" in said
        tour.eventually("reconcile")
        (move,) = tour.run("reconcile", "--json").document["moves"]
        assert (move["verdict"], move["rows"]["accepted"]) == ("match", len(keys))
        assert {tuple(each["key"]) for each in move["accepted"]} == keys
        assert {each["reason"] for each in move["accepted"]} == {"too many"}
        assert all(invariant["holds"] for invariant in move["invariants"])  # they are taken as if they had arrived
        said = tour.run("reconcile").out
        assert f"accepted: {len(keys)} keys differ" in said
        assert "too many" in said
        gate = tour.eventually("flip", "product", "--to", "consolidated", "--dry-run", "--json").document["gate"]
        (proven,) = [check["why"] for check in gate if check["check"] == "reconciled"]
        assert f"{len(keys)} keys differ" in proven
        assert f"{len(keys)} keys differ" in tour.run("status").out
        note, nobody_proves = tour.run("doctor", "--json").document["problems"]
        assert nobody_proves["what"] == "nobody proves"  # as these tests have it
        assert (note["severity"], note["what"]) == ("note", f"product: {len(keys)} keys differ and stay as they are")

        assert tour.run("reconcile", "--repair", "--json").document["repaired"] == {}
        assert tour.run("dead-letters", "list", "--json").document["dead_letters"] == []  # no circle
        conn.execute("INSERT INTO \"Lager\".product VALUES ('nord', %s, '', 0, NULL, 0, NULL)", (found[0]["key"][1],))
        (move,) = tour.run("reconcile", "--json", code=4).document["moves"]
        assert [each["key"] for each in move["differences"]] == [found[0]["key"]]
        assert move["rows"]["accepted"] == len(keys) - 1
        tour.run(
            "dead-letters", "discard", numbers[0], "--reason", "this too"
        )  # the decision is about what is there now
        tour.run("reconcile")
        tour.run("dead-letters", "retry", "--all")

        conn.execute("""ALTER TABLE "Lager".product DROP CONSTRAINT few""")
        tour.run("heal", "product")
        conn.execute(
            """UPDATE "Lager"."Artikel" SET "Bezeichnung" = 'x' WHERE "Nr" = ANY (%s)""", ([key[1] for key in keys],)
        )
        (move,) = tour.eventually("reconcile", "--json").document["moves"]
        while move["rows"]["accepted"]:
            (move,) = tour.eventually("reconcile", "--json").document["moves"]
        assert move["verdict"] == "match"


@pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
def test_a_resolved_letter_cannot_be_discarded(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service, psycopg.connect(dsn, autocommit=True) as conn:
        service.wait_for("capturing")
        conn.execute("""ALTER TABLE "Lager".product ADD CONSTRAINT affordable CHECK (price < 1100)""")
        tour.run("backfill")
        service.wait_for("dead letters")
        conn.execute("""ALTER TABLE "Lager".product DROP CONSTRAINT affordable""")
        tour.run("dead-letters", "retry", "--all")
        tour.eventually("reconcile")
        letter = tour.run("dead-letters", "list", "--all", "--json").document["dead_letters"][0]
        assert letter["state"] == "resolved"
        refused = tour.run("dead-letters", "discard", str(letter["id"]), "--reason", "late", code=2)
        assert f"dead letter {letter['id']} is resolved" in refused.said
        refused = tour.run("dead-letters", "retry", str(letter["id"]), code=2)
        assert f"dead letter {letter['id']} is resolved" in refused.said
        assert "nothing to retry" in refused.said


@pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
def test_a_discarded_letter_is_not_taken_for_the_newer_one_of_its_key(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service, psycopg.connect(dsn, autocommit=True) as conn:
        service.wait_for("capturing")
        conn.execute("""ALTER TABLE "Lager".product ADD CONSTRAINT affordable CHECK (sku <> 'A-7')""")
        tour.run("backfill")
        service.wait_for("dead letters")
        (old,) = tour.run("dead-letters", "list", "--json").document["dead_letters"]
        tour.run("dead-letters", "discard", str(old["id"]), "--reason", "it's so")
        tour.run("dead-letters", "discard", str(old["id"]), "--reason", "still")  # once more, of what is there now
        tour.run("dead-letters", "retry", str(old["id"]))
        while not (found := tour.run("dead-letters", "list", "--json").document["dead_letters"]):
            assert service.process.poll() is None
        new = found[0]["id"]
        refused = tour.run("dead-letters", "discard", str(old["id"]), "--reason", "it's so", code=2)
        assert f"its open letter is {new}" in refused.said
        assert f"cutover dead-letters discard {new} --reason" in refused.messages[-1]["cure"]
        assert tour.run("dead-letters", "list", "--json").document["dead_letters"] == found
        tour.run("dead-letters", "discard", str(old["id"]), str(new), "--reason", "both")


@pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
def test_a6_the_letter_of_a_key_that_has_left_is_resolved_by_the_backfill(tour: Cli, dsn: str) -> None:
    """Neither side has the key any more, so no list of keys names it; what fails still keeps its first-seen time."""
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service, psycopg.connect(dsn, autocommit=True) as conn:
        service.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile")
        conn.execute("""ALTER TABLE "Lager".product ADD CONSTRAINT named CHECK (title <> '?')""")
        conn.execute("""INSERT INTO "Lager"."Artikel" VALUES ('nord', 'B-1', '?'), ('nord', 'B-2', '?')""")
        while len(tour.run("dead-letters", "list", "--json").document["dead_letters"]) < 2:
            assert service.process.poll() is None
        letters = {each["key"][1]: each for each in tour.run("dead-letters", "list", "--json").document["dead_letters"]}
        mapping = tour.folder / "plan" / "product.sql"
        mapping.write_text(f"""{mapping.read_text()} WHERE a."Nr" <> 'B-1'\n""")  # the plan is mended, as far as B-1
        tour.run("prepare")
        tour.run("backfill")
        while tour.run("dead-letters", "show", str(letters["B-1"]["id"]), "--json").document["state"] == "open":
            assert service.process.poll() is None
        while (left := tour.run("dead-letters", "show", str(letters["B-2"]["id"]), "--json").document)["attempts"] == 1:
            assert service.process.poll() is None
        assert (left["state"], left["first_seen"]) == ("open", letters["B-2"]["first_seen"])

        problems = tour.run("doctor", "--json", code=5).document["problems"]
        (cure,) = [each["cure"] for each in problems if "dead letter" in each["what"]]
        conn.execute("""ALTER TABLE "Lager".product DROP CONSTRAINT named""")
        for line in cure.splitlines():
            tour.run(*line.split()[1:])
        tour.eventually("reconcile")
        assert tour.run("dead-letters", "list", "--json").document["dead_letters"] == []
