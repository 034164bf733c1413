"""Which transactions a snapshot hides (A1), across the wraparound of 32-bit ids."""

from __future__ import annotations

import pytest

from consumers.positions import Snapshot


@pytest.mark.parametrize(
    ("text", "xid", "hidden"),
    [
        ("100:105:100,103", 99, False),
        ("100:105:100,103", 100, True),
        ("100:105:100,103", 101, False),
        ("100:105:100,103", 105, True),
        ("100:100:", 99, False),
        ("100:100:", 100, True),
        ("4294967290:4294967310:4294967300", 4294967289, False),
        ("4294967290:4294967310:4294967300", 4, True),  # 4294967300 in its 32 low bits
        ("4294967290:4294967310:4294967300", 5, False),
        ("4294967290:4294967310:4294967300", 14, True),
    ],
)
def test_a1_a_committed_transaction_may_be_hidden(text: str, xid: int, hidden: bool) -> None:
    assert Snapshot.parse(text).hides(xid) is hidden
