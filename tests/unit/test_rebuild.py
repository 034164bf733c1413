"""Which changes are before a moment, in a snapshot, or in the log for the second time."""

from __future__ import annotations

import pytest

from cdc.frame import Transaction
from cutover.rebuild import Moment, Order, Snapshot

SECOND = 1_000_000


@pytest.mark.parametrize(
    ("xid", "seen"), [(99, True), (100, False), (101, True), (102, False), (103, True), (104, False), (500, False)]
)
def test_a_snapshot_sees_what_had_ended(xid: int, seen: bool) -> None:
    assert Snapshot("100:104:100,102").sees(xid) is seen


def test_transaction_ids_of_the_log_wrap_around() -> None:
    epoch = 3 << 32
    snapshot = Snapshot(f"{epoch - 2}:{epoch + 5}:{epoch - 2},{epoch + 1}")
    assert snapshot.sees(2**32 - 3)
    assert not snapshot.sees(2**32 - 2)
    assert snapshot.sees(2**32 - 1)
    assert snapshot.sees(0)
    assert not snapshot.sees(1)
    assert snapshot.sees(4)
    assert not snapshot.sees(5)


def test_a_moment_excludes_the_commit_at_it() -> None:
    assert [Moment(lsn=10).after(lsn, 0) for lsn in (9, 10, 11)] == [True, False, False]
    assert [Moment(time=10).after(99, time) for time in (9, 10, 11)] == [True, False, False]


def transaction(lsn: int, time: int = 0) -> Transaction:
    return Transaction(lsn, lsn, time, 0)


def test_what_a_killed_capture_appends_twice_is_skipped() -> None:
    order = Order()
    assert order.skip(transaction(1), [b"a"]) == 0
    assert order.skip(transaction(2), [b"b", b"c"]) == 0
    assert order.skip(transaction(2), [b"d"]) == 0  # it goes on in the next frame
    assert order.skip(transaction(1), [b"a"]) == 1
    assert order.skip(transaction(2), [b"b"]) == 1  # and once more, split otherwise
    assert order.skip(transaction(2), [b"c", b"d", b"e"]) == 2  # what the first run had not read yet
    assert order.skip(transaction(3), [b"f"]) == 0


def test_a_server_that_went_back_in_time_begins_another_history() -> None:
    order = Order()
    assert order.skip(transaction(9, SECOND), [b"a"]) == 0
    assert order.skip(transaction(5, 2 * SECOND), [b"b"]) == 1  # commit times are not quite in the order of LSNs
    assert order.skip(transaction(5, 3600 * SECOND), [b"b"]) is None
    assert order.skip(transaction(6, 3601 * SECOND), [b"c"]) == 0
