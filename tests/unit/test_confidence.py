"""What a sample says of all keys is checked against published limits, and against every sample that could be drawn."""

from __future__ import annotations

from math import comb

import pytest

from reconcile.confidence import fewer_than, upper_share


@pytest.mark.parametrize(
    ("drawn", "differ", "limit"),
    [(100, 0, 0.0295), (1000, 0, 0.00299), (10, 1, 0.3942), (20, 3, 0.3437), (100, 10, 0.1637), (5, 5, 1.0)],
)
def test_the_limits_are_those_of_clopper_and_pearson(drawn: int, differ: int, limit: float) -> None:
    assert upper_share(drawn, differ) == pytest.approx(limit, abs=0.0001)


@pytest.mark.parametrize(("total", "drawn"), [(60, 10), (60, 30), (60, 59), (200, 40)])
def test_the_statement_is_wrong_in_at_most_one_sample_of_twenty(total: int, drawn: int) -> None:
    """However many keys differ: summed over all samples without replacement in which the limit is too low."""
    for really in range(total + 1):
        wrong = sum(
            comb(really, seen) * comb(total - really, drawn - seen)
            for seen in range(max(0, drawn - (total - really)), min(drawn, really) + 1)
            if really >= fewer_than(total, drawn, seen)
        )
        assert wrong / comb(total, drawn) <= 0.05


def test_all_drawn_is_all_known_and_nothing_drawn_says_nothing() -> None:
    assert (fewer_than(50, 50, 0), fewer_than(50, 50, 3), fewer_than(50, 0, 0)) == (1, 4, 51)


def test_many_differences_are_no_trouble() -> None:
    assert 0.5 < upper_share(1_000_000, 500_000) < 0.502
