"""Moments as flags take them."""

from __future__ import annotations

import time

import pytest

from cutover.arguments import read_moment, read_time
from sql.errors import UsageError


def test_a_moment_may_be_how_long_ago_it_was() -> None:
    before = time.time() * 1000
    found = read_time("--from-time", "5min")
    assert before - 300_000 - 1 <= found <= time.time() * 1000 - 300_000
    assert read_moment("--at", "1h").time is not None
    with pytest.raises(UsageError, match="--from-time 5 minutes: not a time") as caught:
        read_time("--from-time", "5 minutes")
    assert "15min" in (caught.value.hint or "")
