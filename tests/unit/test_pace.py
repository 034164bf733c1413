"""The pace of a stream: at once for a trickle, collected in a flood."""

from __future__ import annotations

import pytest

from cdc.pace import LONGEST, Pace


def run(pace: Pace, now: float, rate: float, seconds: float) -> tuple[float, list[int]]:
    """A stream of `rate` changes a second that is looked at every half millisecond; what each portion held."""
    portions, waiting, until = [], 0.0, now + seconds
    while now < until:
        now += 0.0005
        waiting += rate * 0.0005
        if waiting >= 1 and pace.due(now):
            portions.append(int(waiting))
            pace.passed(int(waiting), now)
            waiting -= int(waiting)
    return now, portions


def test_a_trickle_goes_on_at_once() -> None:
    pace = Pace(0.0)
    _, portions = run(pace, 0.0, 200, 2.0)
    assert set(portions) == {1}
    assert pace.pause < 0.001


def test_a_flood_is_collected_and_never_for_longer_than_the_limit() -> None:
    pace = Pace(0.0)
    now, portions = run(pace, 0.0, 100_000, 2.0)
    assert portions[-1] == pytest.approx(100_000 * LONGEST, rel=0.1)
    assert pace.pause == LONGEST
    assert pace.due(now + LONGEST)


def test_after_a_flood_the_first_change_goes_on_at_once() -> None:
    pace = Pace(0.0)
    now, _ = run(pace, 0.0, 100_000, 1.0)
    later = now + 1.0
    assert pace.due(later)
    pace.passed(1, later)
    assert pace.pause < 0.001


def test_pauses_follow_the_rate() -> None:
    pauses = []
    for rate in (1_000, 5_000, 20_000):
        pace = Pace(0.0)
        run(pace, 0.0, rate, 3.0)
        pauses.append(pace.pause)
    assert pauses == pytest.approx([0.001, 0.005, 0.02], rel=0.3)
