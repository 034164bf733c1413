"""How the keys are shared out among sessions that compare side by side: in order, whole, and fairly towards the end."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import cast

from reconcile.chunk import Key
from reconcile.diff import Comparison
from reconcile.pace import Pace
from reconcile.parallel import Found, Ranges
from sql.pairs import Side

SIDES: tuple[Side, Side] = ("legacy", "consolidated")


class Line:
    """The keys 1 … n of one side, as far as a range's end is asked for."""

    def __init__(self, keys: int) -> None:
        self.keys = keys

    def next_bound(self, sides: Sequence[Side], low: Key | None, keys: int) -> Key | None:
        at = int(low[0] if low else 0) + keys
        return (str(at),) if at <= self.keys else None


def cut(keys: int, pace: Pace, sessions: int, expected: int) -> list[int]:
    """The ranges' sizes; the last one's is what is left."""
    ranges = Ranges(pace, SIDES, None, sessions, expected)
    taker = threading.Thread(target=lambda: list(ranges.taken()))
    taker.start()
    found: list[Found] = []
    while (each := ranges.begin(cast(Comparison, Line(keys)))) is not None:
        found.append(each)
        each.put(None)
    taker.join()
    assert [each.low for each in found[1:]] == [each.high for each in found[:-1]]
    assert (found[0].low, found[-1].high) == (None, None)
    ends = [int(each.high[0]) if each.high else keys for each in found]
    return [high - low for low, high in zip([0, *ends], ends, strict=False)]


def test_towards_the_end_ranges_get_smaller_but_not_wasteful() -> None:
    assert cut(1_000, Pace(400, fewest=50), sessions=2, expected=1_000) == [400, 300, 150, 133, 17]


def test_more_keys_than_expected_come_at_the_pace() -> None:
    assert cut(1_000, Pace(400, fewest=50), sessions=2, expected=0) == [400, 400, 200]


def test_fewer_keys_than_expected_end_where_they_end() -> None:
    assert cut(90, Pace(400, fewest=50), sessions=2, expected=10_000) == [90]


def test_a_session_that_waits_for_room_ends_when_nobody_takes_any_more() -> None:
    ranges = Ranges(Pace(10, fewest=10), SIDES, None, sessions=2, expected=1_000)
    line = cast(Comparison, Line(1_000))
    for _ in range(3):
        found = ranges.begin(line)
        assert found is not None
        found.put(None)
    answers: list[Found | None] = []
    waiting = threading.Thread(target=lambda: answers.append(ranges.begin(line)))
    waiting.start()
    ranges.close()
    waiting.join(30)
    assert answers == [None]
