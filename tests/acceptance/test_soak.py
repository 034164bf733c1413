"""R1, R3: the soak of `make bench` in its short form, by a seed: no false positive, and every planted row found."""

from __future__ import annotations

from bench.soak import PLANTED, measure
from tests.services.choose import Services


def test_r1_no_false_positive_in_many_comparisons_under_eight_writers(services: Services) -> None:
    found = measure(services.postgres(18).dsn, services.kafka().address, rows=2_000, compared=20_000, seed=7)
    assert (found.missed, found.false, found.verdicts["unresolved"]) == (0, 0, 0)
    assert found.compared >= 20_000
    assert found.planted == PLANTED * found.passes
    assert found.written > 1_000
