"""An invariant that fails although no key differs: everything that speaks of it says so, and names it where it may."""

from __future__ import annotations

import pytest

from tests.acceptance.command import Cli

INVARIANT = """
[[moves.product.invariants]]
name = "one is one"
legacy = "SELECT 1"
consolidated = "SELECT 2"
"""


@pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
def test_an_invariant_that_fails_alone_is_told_as_what_it_is(tour: Cli) -> None:
    path = tour.folder / "plan" / "plan.toml"
    path.write_text(path.read_text() + INVARIANT)
    tour.run("prepare", "--set-identity")
    with tour.start("run", "--reconcile-share", "0") as service:
        service.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile", "--json", code=4)
        (move,) = tour.run("reconcile", "--json", code=4).document["moves"]
        assert move["rows"]["drift"] == 0
        assert "no key differs for good, but an invariant does not hold" in move["sentence"]
        gate = tour.run("flip", "product", "--to", "consolidated", "--json", code=5).document["gate"]
        (closed,) = [check["why"] for check in gate if check["check"] == "reconciled"]
        assert "the invariant 'one is one' fails" in closed
        problems = tour.run("doctor", "--json", code=5).document["problems"]
        (problem,) = [each for each in problems if each["severity"] == "broken"]
        assert "said drift, and no key differs" in problem["what"]
        assert "invariant's SQL" in problem["hint"]
