"""R4: what the gate refuses, `doctor` does not call healthy and `status` does not call a match."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.acceptance.command import Cli
from tests.acceptance.test_heal import execute, streaming

ONE = pytest.mark.parametrize(("server", "log_address"), [("pg15", "sqlite")], indirect=True, ids=["pg15-sqlite"])


def gate(tour: Cli) -> str:
    """Why the gate does not take the proof; empty: it does."""
    checks = tour.run("flip", "product", "--to", "consolidated", "--dry-run", "--json", code=None).document["gate"]
    (proven,) = [check for check in checks if check["check"] == "reconciled"]
    return "" if proven["ok"] else proven["why"]


def problems(tour: Cli, code: int) -> list[Any]:
    """What doctor finds, besides that nobody proves, as these tests have it."""
    return [each for each in doctor(tour, code) if each["what"] != "nobody proves"]


def doctor(tour: Cli, code: int | None = 0) -> list[Any]:
    found: list[Any] = tour.run("doctor", "--json", code=code).document["problems"]
    return found


@ONE
def test_r4_gate_doctor_and_status_ask_the_same_of_a_proof(tour: Cli, dsn: str) -> None:
    with streaming(tour):
        assert gate(tour) == ""
        tour.run("heal", "product")
        assert tour.run("status", "--json").document["moves"][0]["proof"]["void"] is None
        tour.run("doctor")

        execute(dsn, 'VACUUM FULL "Lager".product')  # as a TRUNCATE, as far as can be seen
        assert '"Lager".product was emptied' in gate(tour)
        (problem,) = problems(tour, 3)
        assert (problem["severity"], problem["cure"]) == ("lag", "cutover reconcile product")
        said = tour.run("status").out
        assert 'no longer proven: "Lager".product was emptied' in said
        tour.run("reconcile")
        assert gate(tour) == ""
        tour.run("doctor")
        assert "no longer proven" not in tour.run("status").out

        tour.run("flip", "product", "--to", "consolidated")
        execute(dsn, 'TRUNCATE "Lager".product')
        (problem,) = problems(tour, 5)
        assert "read from the consolidated side" in problem["what"]
        assert "was emptied" in tour.run("status", "--json").document["moves"][0]["proof"]["void"]


@ONE
def test_r4_what_is_not_proven_is_not_healthy(tour: Cli, dsn: str) -> None:
    """A key that nothing tells lag or drift of closes the gate: `doctor` says so, too."""
    with streaming(tour) as service:
        assert problems(tour, 0) == []
        assert service.stop() == 0
    execute(dsn, """UPDATE "Lager".product SET title = 'x' WHERE sku = 'A-7'""")
    tour.run("reconcile", "--timeout", "0", code=3)  # nobody says how far the stream is
    with tour.start("run") as service:
        service.wait_for("capturing")
        while any(each["severity"] == "broken" for each in doctor(tour, None)):
            assert service.process.poll() is None
        assert "said unresolved" in gate(tour)
        (problem,) = problems(tour, 3)
        assert (problem["severity"], problem["what"]) == ("lag", "product is not proven")
        assert "said unresolved; 1 key differs" in problem["why"]
        assert problem["cure"] == "cutover reconcile product"
        tour.run("reconcile", "--repair")
        assert problems(tour, 0) == []
        execute(dsn, "UPDATE cutover.proof SET finished_at = now() - interval '25 hours'")
        (problem,) = problems(tour, 3)
        assert problem["what"] == "product has not been proven of late"


@ONE
def test_r4_doctor_says_that_nobody_proves(tour: Cli) -> None:
    """As the alert CutoverNobodyProves: for those that work without one who compares all the while."""
    tour.run("prepare", "--set-identity")
    assert "nobody proves" not in [each["what"] for each in doctor(tour, 5)]  # nobody does anything
    with tour.start("capture") as capture, tour.start("consume"):
        capture.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile")
        (note,) = doctor(tour)
        assert (note["severity"], note["what"], note["cure"]) == ("note", "nobody proves", "cutover prove")
        assert "nobody proves" in tour.run("doctor").out
        with tour.start("prove", "--share", "0.5") as prover:
            deadline = time.monotonic() + 60
            while doctor(tour):
                assert time.monotonic() < deadline
                assert prover.process.poll() is None, prover.log.read_text()
