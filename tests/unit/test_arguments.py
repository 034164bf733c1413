"""Moments as flags take them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from cutover.arguments import read_moment, read_time
from cutover.asked import Asked
from sql.errors import UsageError


def test_a_moment_may_be_how_long_ago_it_was() -> None:
    before = time.time() * 1000
    found = read_time("--from-time", "5min")
    assert before - 300_000 - 1 <= found <= time.time() * 1000 - 300_000
    assert read_moment("--at", "1h").time is not None
    with pytest.raises(UsageError, match="--from-time 5 minutes: not a time") as caught:
        read_time("--from-time", "5 minutes")
    assert "15min" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"from_time": "2026-11-28T15:50", "to_time": "2026-11-28T15:10"}, "--from-time 2026-11-28T15:50 is behind"),
        ({"from_lsn": "1/0", "to_lsn": "0/FFFFFFFF"}, "--from-lsn 1/0 is behind"),
        ({"from_offset": ["1:7", "0:3"], "to_offset": ["0:1"]}, "--from-offset 0:3 is behind --to-offset 0:1"),
    ],
)
def test_a_stretch_that_ends_before_it_begins_is_refused(given: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        Asked(**given)


def test_a_stretch_of_nothing_is_no_error() -> None:
    Asked(from_lsn="1/0", to_lsn="1/0")
    Asked(from_time="2026-11-28T15:10Z", to_time="2026-11-28T15:10Z")
    Asked(from_offset=["0:3"], to_offset=["0:3", "1:1"])
