"""Which transactions a snapshot hides (A1), across the wraparound of 32-bit ids."""

from __future__ import annotations

import pytest

from cdc.frame import Transaction
from consumers.visibility import Past, Snapshot


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


@pytest.mark.parametrize(
    ("commit_lsn", "xid", "hidden"),
    [
        (50, 1000 - 2**31 + 7 & 0xFFFFFFFF, False),  # so old that 32 bits take it for new
        (50, 1001, True),  # on the list of running ones
        (50, 1004, True),  # begun before the past ended, and not completed in the snapshot
        (50, 1006, False),  # as old as two thousand million: nothing of the past is so new
        (150, 1006, True),  # committed since
        (150, 999, False),
    ],
)
def test_a1_what_is_past_is_hidden_only_while_it_runs(commit_lsn: int, xid: int, hidden: bool) -> None:
    """A log holds more transactions than 32-bit ids can put in order."""
    snapshot = Snapshot.parse("1000:1003:1001")
    assert Past(100, 1006).hidden(snapshot, Transaction(xid, commit_lsn, 0, 0)) is hidden
