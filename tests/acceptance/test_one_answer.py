"""R4: what the gate refuses, `doctor` does not call healthy and `status` does not call a match."""

from __future__ import annotations

import pytest

from tests.acceptance.command import Cli
from tests.acceptance.test_heal import execute, streaming

ONE = pytest.mark.parametrize(("server", "log_address"), [("pg15", "sqlite")], indirect=True, ids=["pg15-sqlite"])


def gate(tour: Cli) -> str:
    """Why the gate does not take the proof; empty: it does."""
    checks = tour.run("flip", "product", "--to", "consolidated", "--dry-run", "--json", code=None).document["gate"]
    (proven,) = [check for check in checks if check["check"] == "reconciled"]
    return "" if proven["ok"] else proven["why"]


@ONE
def test_r4_gate_doctor_and_status_ask_the_same_of_a_proof(tour: Cli, dsn: str) -> None:
    with streaming(tour):
        assert gate(tour) == ""
        tour.run("heal", "product")
        assert tour.run("status", "--json").document["moves"][0]["proof"]["void"] is None
        tour.run("doctor")

        execute(dsn, 'VACUUM FULL "Lager".product')  # as a TRUNCATE, as far as can be seen
        assert '"Lager".product was emptied' in gate(tour)
        (problem,) = tour.run("doctor", "--json", code=3).document["problems"]
        assert (problem["severity"], problem["cure"]) == ("lag", "cutover reconcile product")
        said = tour.run("status").out
        assert 'no longer proven: "Lager".product was emptied' in said
        tour.run("reconcile")
        assert gate(tour) == ""
        tour.run("doctor")
        assert "no longer proven" not in tour.run("status").out

        tour.run("flip", "product", "--to", "consolidated")
        execute(dsn, 'TRUNCATE "Lager".product')
        (problem,) = tour.run("doctor", "--json", code=5).document["problems"]
        assert "read from the consolidated side" in problem["what"]
        assert "was emptied" in tour.run("status", "--json").document["moves"][0]["proof"]["void"]
