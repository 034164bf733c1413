"""Disagreements with rows of others: listed, decided by a person in a file, taken only if both sides are still those."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.command import Cli
from tests.integration.rig import FILES, SCHEMA, write_plan

BOTH = pytest.mark.parametrize(
    ("server", "log_address"), [("pg15", "sqlite"), ("pg18", "kafka")], indirect=True, ids=["pg15-sqlite", "pg18-kafka"]
)
ROWS = """
INSERT INTO shop.payment (ref, amount) SELECT 'p' || n, n FROM generate_series(1, 50) n;
INSERT INTO shop."order" (ref, total) SELECT 'p' || n, CASE WHEN n <= 6 THEN n + 0.5 ELSE n END FROM generate_series(1, 20) n;
UPDATE shop."order" SET total = NULL WHERE ref = 'p2';
"""
TOTAL = 'SELECT total::text FROM shop."order" WHERE ref = %s'


@pytest.fixture
def shop(tmp_path: Path, dsn: str, log_address: str, plan_name: str) -> Iterator[Cli]:
    """Fifty payments of which twenty have an order already, six of these another amount."""
    plan = FILES["plan.toml"].replace('existing = "keep"', 'existing = "report"')
    write_plan(tmp_path / "plan", plan_name, {**FILES, "plan.toml": plan})
    with psycopg.connect(dsn) as conn:
        conn.execute(SCHEMA.encode())
        conn.execute(ROWS.encode())
    cli = Cli(
        tmp_path,
        {
            "CUTOVER_DSN": dsn,
            "CUTOVER_LOG": log_address,
            "CUTOVER_PLAN": str(tmp_path / "plan"),
            "CUTOVER_RECONCILE_SHARE": "0",
        },
    )
    cli.run("prepare", "--set-identity")
    with cli.start("run") as service:
        service.wait_for("capturing")
        cli.run("backfill", "ledger")
        cli.eventually("reconcile", "ledger", code=4)
        yield cli
        assert service.stop() == 0


def decide(file: Path, **decisions: str) -> None:
    text = file.read_text()
    for ref, decision in decisions.items():
        text = re.sub(rf'(key = \["{ref}"\]\nseen = "\w+"\ndecision = )""', rf'\1"{decision}"', text)
    file.write_text(text)


@BOTH
def test_only_what_was_decided_and_is_still_so_is_taken(shop: Cli, dsn: str) -> None:
    file = shop.folder / "review.toml"
    assert "6 disagreements" in shop.run("reconcile", "ledger", "--disagreements", str(file)).out
    listed = {each["key"][0]: each for each in tomllib.loads(file.read_text())["disagreement"]}
    assert sorted(listed) == ["p1", "p2", "p3", "p4", "p5", "p6"]
    assert (listed["p1"]["legacy"], listed["p1"]["consolidated"]) == ({"total": "1.00"}, {"total": "1.50"})
    assert listed["p2"]["consolidated"] == {}
    assert '# "total" is NULL' in file.read_text()
    assert "is there" in shop.run("reconcile", "ledger", "--disagreements", str(file), code=2).said
    text = file.read_text()
    for change, said, code in (
        (('move = "ledger"', 'move = "ledgr"'), "did you mean ledger?", 2),
        (("review = ", "review = 9"), "was not listed in this database", 5),
        (('move = "ledger"', 'move = "price"'), 'rows = "all"', 2),
    ):
        file.write_text(text.replace(*change))
        assert said in shop.run("reconcile", "--accept", str(file), code=code).said
    file.write_text(text)
    assert "of one move" in shop.run("reconcile", "--disagreements", "x.toml", code=2).said

    with psycopg.connect(dsn, autocommit=True) as conn:
        decide(file, p1="legacy", p2="legacy", p3="consolidated", p4="legacy", p5="consolidated")  # p6 stays open
        conn.execute("UPDATE shop.payment SET amount = 44 WHERE ref = 'p4'")  # somebody writes after the review
        conn.execute("UPDATE shop.\"order\" SET total = 55 WHERE ref = 'p5'")
        done = shop.run("reconcile", "--accept", str(file), "--json", code=5).document
        assert (done["legacy"], done["consolidated"], done["open"]) == ([["p1"], ["p2"]], [["p3"]], [["p6"]])
        assert {each["key"][0]: each["why"] for each in done["refused"]} == dict.fromkeys(
            ("p4", "p5"), "a side has changed since it was listed"
        )
        totals = {ref: conn.execute(TOTAL, (ref,)).fetchone() for ref in listed}
        assert totals == {
            "p1": ("1.00",), "p2": ("2.00",), "p3": ("3.50",), "p4": ("4.50",), "p5": ("55.00",), "p6": ("6.50",),
        }  # fmt: skip
        report = shop.run("reconcile", "ledger", "--json", code=4).document["moves"][0]
        assert {each["key"][0] for each in report["differences"]} == {"p4", "p5", "p6"}
        assert report["rows"]["accepted"] == 1

        # What was left as it is stays accepted for as long as both sides are those, and no longer.
        conn.execute("UPDATE shop.payment SET amount = 33 WHERE ref = 'p3'")
        conn.execute("UPDATE shop.payment SET amount = 11 WHERE ref = 'p1'")  # adopted: it follows
        conn.execute("SELECT cutover.wait_for(pg_current_wal_insert_lsn())")
        assert conn.execute(TOTAL, ("p1",)).fetchone() == ("11.00",)
        report = shop.run("reconcile", "ledger", "--json", code=4).document["moves"][0]
        assert {each["key"][0] for each in report["differences"]} == {"p3", "p4", "p5", "p6"}

        second = shop.folder / "second.toml"
        shop.run("reconcile", "ledger", "--disagreements", str(second))
        decide(second, p3="consolidated", p4="legacy", p5="legacy", p6="consolidated")
        shop.run("reconcile", "ledger", "--accept", str(second))
        report = shop.run("reconcile", "ledger", "--json").document["moves"][0]
        assert (report["verdict"], report["rows"]["accepted"], report["conflicts"]) == ("match", 2, 0)
        assert conn.execute(TOTAL, ("p5",)).fetchone() == ("5.00",)
        shop.eventually("flip", "ledger", "--to", "consolidated")  # what blocked it is decided

        kept = conn.execute("SELECT key[1], decision, who FROM cutover.accepted ORDER BY 1").fetchall()
        assert [(key, decision) for key, decision, _ in kept] == [
            ("p1", "legacy"), ("p2", "legacy"), ("p3", "consolidated"), ("p4", "legacy"), ("p5", "legacy"),
            ("p6", "consolidated"),
        ]  # fmt: skip
        events = conn.execute("SELECT detail FROM cutover.event WHERE what = 'accept' ORDER BY id").fetchall()
        assert events[0][0]["legacy"] == [["p1"], ["p2"]]
        assert len(events) == 2


@pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
def test_rows_of_others_are_never_said_to_be_mended_by_a_repair(shop: Cli, dsn: str) -> None:
    """Doctor, gate, report and the repair itself name the decision that they need instead."""
    decide_ = "cutover reconcile ledger --disagreements review.toml"

    def drift() -> list[tuple[str, str]]:
        problems = shop.run("doctor", "--json", code=5).document["problems"]
        return [(it["what"], it["cure"]) for it in problems if it["move"] == "ledger" and "reconcile" in it["cure"]]

    def refused() -> tuple[str, str]:
        (message,) = shop.run("flip", "ledger", "--to", "consolidated", code=5).messages
        return message["message"], message["cure"]

    ledger = "ledger: 6 rows of others differ from the mapping"
    assert drift() == [(ledger, decide_)]
    said, cure = refused()
    assert (f"drift, and all of them are rows of others: {decide_}" in said, cure) == (True, decide_)
    report = shop.run("reconcile", "ledger", "--json", code=4).document["moves"][0]
    assert any(decide_ in finding for finding in report["findings"])

    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("UPDATE shop.\"order\" SET total = -1 WHERE ref = 'p30'")  # the move's own
        assert shop.run("reconcile", "ledger", "--list", "3", "--json", code=4).document["moves"][0]["capped"]
        assert sorted(drift()) == [
            ("ledger: 1 key drifts", "cutover reconcile ledger --repair"), (ledger, decide_),
        ]  # fmt: skip
        assert f"drift, 6 of them are rows of others: {decide_}" in refused()[0]
        done = shop.run("reconcile", "ledger", "--repair", "--json", code=4).document
        assert (done["repaired"], done["left"]) == ({"ledger": 1}, {"ledger": 6})
        out = " ".join(shop.run("reconcile", "ledger", "--repair", code=4).out.split())
        assert f"ledger: 6 keys are rows of others, left as they are: {decide_}" in out
        assert 'existing = "keep"' in out
