"""From nothing to flipped reads, by hand: a plan of under 40 lines for a schema that this code has never seen."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest

from tests.acceptance.command import Cli
from tests.acceptance.conftest import TOUR

BOTH = pytest.mark.parametrize(
    ("server", "log_address"), [("pg15", "sqlite"), ("pg18", "kafka")], indirect=True, ids=["pg15-sqlite", "pg18-kafka"]
)


def test_the_plan_is_short() -> None:
    lines = [line for file in (TOUR / "plan").iterdir() for line in file.read_text().splitlines() if line.strip()]
    assert len(lines) < 40


def settled(tour: Cli) -> Any:
    """The status once both consumers have their share: a partition that one gives to the other has none for a moment."""
    deadline = time.monotonic() + 60
    while True:
        status = tour.run("status", "--json").document
        workers = [each["worker"] for each in status["moves"][0]["partitions"]]
        if None not in workers and len(set(workers)) == 2:
            return status
        assert time.monotonic() < deadline, workers


@BOTH
def test_from_prepare_to_flip(tour: Cli, dsn: str, plan_name: str) -> None:
    """Every command of the way, with the documents that scripts read."""
    refused = tour.run("plan", "--check", code=5)
    assert "Bestand" in refused.out
    assert "ALTER TABLE" in tour.run("prepare", code=5).said
    prepared = tour.run("prepare", "--set-identity", "--json").document
    assert prepared["moves"] == ["product"]
    assert tour.run("prepare", "--json").document["steps"] == []
    assert tour.run("plan", "--check", "--json").document["blocked"] is False

    with tour.start("run", "--consumers", "2") as service:
        service.wait_for("capturing")
        assert tour.run("backfill", "--json").document == {
            "plan": plan_name,
            "touched": {"product": 1000},
            "finished": True,
        }
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("""UPDATE "Lager"."Preis" SET "Betrag" = 7.5 WHERE "ArtikelNr" = 'A-3'""")
            conn.execute("""DELETE FROM "Lager"."Artikel" WHERE "Nr" = 'A-4'""")
            conn.execute("""UPDATE "Lager"."Bestand" SET "ArtikelNr" = 'A-5' WHERE "ArtikelNr" = 'A-6'""")
        proof = tour.eventually("reconcile", "--json").document
        # (A row that was still in the target when it was compared is counted too: it was seen to go.)
        assert (proof["verdict"], proof["moves"][0]["rows"]["legacy"]) == ("match", 999)

        status = settled(tour)
        (move,) = status["moves"]
        assert (status["plan"], status["slot"]["active"], status["slot"]["gap"]) == (plan_name, True, None)
        assert (move["move"], move["state"], move["side"], move["percent"]) == ("product", "streaming", "legacy", 0)
        assert [each["partition"] for each in move["partitions"]] == [0, 1, 2, 3]
        assert len({each["worker"] for each in move["partitions"]}) == 2
        assert move["backfill"]["done"] == 1000
        assert (move["dead_letters"], move["lag_ms"] < 5000) == (0, True)

        assert "product" in tour.run("flip", "prodct", "--to", "consolidated", code=2).said
        dry = tour.run("flip", "product", "--to", "consolidated", "--dry-run", "--json").document
        assert (dry["from"], dry["to"], dry["steps"]) == ("legacy", "consolidated", [])
        flipped = tour.eventually("flip", "product", "--to", "consolidated", "--json").document
        assert (flipped["percent"], flipped["attempts"] >= 1) == (100, True)
        assert all(check["ok"] for check in flipped["gate"])
        assert tour.run("status", "--json").document["moves"][0]["side"] == "consolidated"
        doctor = tour.eventually("doctor", "--json").document
        assert (doctor["plan"], doctor["healthy"]) == (plan_name, True)
        assert [each["what"] for each in doctor["problems"]] == ["nobody proves"]  # as these tests have it
        assert tour.run("flip", "product", "--to", "legacy", "--json").document["to"] == "legacy"
        assert service.stop() == 0


@BOTH
def test_a_closed_gate_exits_5_and_says_every_answer(tour: Cli) -> None:
    tour.run("prepare", "--set-identity")
    closed = tour.run("flip", "product", "--to", "consolidated", "--json", code=5)
    answers = {check["check"]: check["ok"] for check in closed.document["gate"]}
    assert not answers["backfill"]
    assert not answers["reconciled"]
    assert "cutover backfill" in closed.said
    assert tour.run("status", "--json").document["moves"][0]["side"] == "legacy"


@BOTH
def test_drift_exits_4_and_names_the_key(tour: Cli, dsn: str) -> None:
    tour.run("prepare", "--set-identity")
    with tour.start("run") as service:
        service.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile")
        with psycopg.connect(dsn) as conn:
            conn.execute("""UPDATE "Lager".product SET title = 'planted' WHERE sku = 'A-9'""")
        drift = tour.run("reconcile", "--json", code=4).document
        (difference,) = drift["moves"][0]["differences"]
        assert (difference["key"], difference["verdict"], difference["kind"]) == (["nord", "A-9"], "drift", "differs")
        assert difference["cells"]["title"] == {"legacy": "Artikel 9", "consolidated": "planted"}
        gate = tour.run("flip", "product", "--to", "consolidated", "--json", code=5).document["gate"]
        assert [check["check"] for check in gate if not check["ok"]] == ["reconciled"]
