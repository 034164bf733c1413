"""Which changes are before a moment, in a snapshot, or in the log for the second time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from cdc import frame, pgoutput
from cdc.beginning import Beginning
from cdc.frame import CHANGES, WATERMARK, Frame, Transaction
from cutover.arguments import read_moment
from cutover.restore.bases import Bases
from cutover.restore.chapters import Chapters
from cutover.restore.moment import Moment, Snapshot
from cutover.restore.order import Order
from cutover.restore.rebuild import Rebuild
from cutover.restore.spool import Spool


@pytest.mark.parametrize(
    ("xid", "seen"), [(99, True), (100, False), (101, True), (102, False), (103, True), (104, False), (500, False)]
)
def test_a_snapshot_sees_what_had_ended(xid: int, seen: bool) -> None:
    assert Snapshot("100:104:100,102").sees(xid) is seen


def test_a_moment_says_which_it_is() -> None:
    """Also one that was given as so long ago, which is another one each time that it is read."""
    assert str(read_moment("--at", "1/16B3748")) == "1/16B3748"
    assert str(read_moment("--at", "2026-11-01T08:30+01:00")) == "2026-11-01T07:30:00+00:00"
    now = datetime.fromisoformat(str(read_moment("--at", "2min")))
    assert timedelta(minutes=2) <= datetime.now(UTC) - now < timedelta(minutes=3)


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


def transaction(lsn: int, time: int = 0, xid: int = 0) -> Transaction:
    return Transaction(xid or lsn, lsn, time, 0)


def test_what_a_killed_capture_appends_twice_is_skipped() -> None:
    order = Order()
    assert order.skip(transaction(1), 1) == 0
    assert order.skip(transaction(2), 2) == 0
    assert order.skip(transaction(2), 1) == 0  # it goes on in the next frame
    order.begin(1)
    assert order.skip(transaction(1), 1) == 1
    assert order.skip(transaction(2), 1) == 1  # and once more, split otherwise
    assert order.skip(transaction(2), 3) == 2  # what the first run had not read yet
    order.begin(2)
    assert order.due == (2, 0)
    assert order.skip(transaction(2), 4) == 4
    assert order.skip(transaction(3), 1) == 0
    assert order.due is None


def test_what_looks_like_another_beginning_of_a_transaction_goes_on_with_it() -> None:
    """Equal changes within one transaction are not a repetition of it."""
    order = Order()
    assert [order.skip(transaction(5), 2) for _ in range(3)] == [0, 0, 0]
    order.begin(5)
    assert [order.skip(transaction(5), 2) for _ in range(4)] == [2, 2, 2, 0]


@pytest.mark.parametrize("again", [transaction(5, 7, 99), transaction(5, 6, 5)], ids=["another xid", "another time"])
def test_the_same_lsn_of_another_transaction_is_another_history(again: Transaction) -> None:
    """However soon after: within the same microsecond it would still have another transaction id."""
    order = Order()
    for lsn in (3, 5, 9):
        assert order.skip(transaction(lsn, 7), 1) == 0
    order.begin(3)
    assert order.skip(transaction(3, 7), 1) == 1
    assert order.skip(again, 1) is None
    assert order.due == (5, 7)
    order.forget()
    assert order.skip(again, 1) == 0
    assert order.skip(transaction(9, 8, 3), 1) == 0


def test_what_does_not_come_again_is_another_history() -> None:
    """Also where the first new commit has a higher LSN than all that were lost."""
    order = Order()
    for lsn in (3, 5):
        assert order.skip(transaction(lsn), 1) == 0
    order.begin(3)
    assert order.skip(transaction(3), 1) == 1
    assert [order.missing(lsn) for lsn in (3, 5, 6)] == [False, False, True]
    assert order.skip(transaction(9), 1) is None


def test_what_was_not_captured_the_first_time_is_new() -> None:
    order = Order()
    for lsn in (3, 9):
        assert order.skip(transaction(lsn), 1) == 0
    order.begin(3)
    assert [order.skip(transaction(lsn), 1) for lsn in (3, 5, 9, 10)] == [1, 0, 1, 0]


COLUMN = {"name": "id", "type": 25, "typmod": -1, "key": True}
RELATION = {"oid": 1, "source": "a.b", "columns": [COLUMN], "keys": {"m": [["id"]]}}
ROW = pgoutput.pack_row((b"x",))


def change(*transactions: Transaction) -> Frame:
    """A frame of one-row transactions."""
    return frame.decode(
        frame.encode(
            CHANGES,
            lsn=transactions[-1].commit_lsn + 1,
            time=transactions[-1].commit_time,
            relations=[json.dumps(RELATION).encode()],
            transactions=[(it.xid, it.commit_lsn, it.commit_time, at) for at, it in enumerate(transactions)],
            changes=[b"I" + (1).to_bytes(4, "big") + b"N" + ROW for _ in transactions],
        )
    )


def begun(lsn: int, time: int, healed: int = 0, sources: tuple[str, ...] = ("a.b",)) -> Frame:
    line = Beginning("system", "0/1", healed, None, lsn).line()
    return frame.decode(frame.encode(WATERMARK, lsn=0, time=time, sources=sources, relations=[line]))


def watermark(lsn: int, time: int) -> Frame:
    return frame.decode(frame.encode(WATERMARK, lsn=lsn, time=time))


def lost(source: str, time: int) -> Frame:
    line = json.dumps({"lost": source}, separators=(",", ":")).encode()
    return frame.decode(frame.encode(WATERMARK, lsn=0, time=time, relations=[line]))


def chapter(moment: Moment, *frames: Frame) -> tuple[int, int | None, bool, bool, bool]:
    chapters = Chapters("a.b", moment)
    for offset, found in enumerate(frames):
        chapters.take(offset, found)
    return chapters.start, chapters.end, chapters.other_history, chapters.gap, chapters.settled


FORKED = (  # time is in microseconds: both histories are within a few of them
    begun(0, 0),
    change(transaction(10, 1), transaction(20, 2), transaction(30, 3)),
    begun(10, 4),
    change(transaction(10, 1), transaction(25, 5)),
    watermark(40, 6),
)


@pytest.mark.parametrize(
    ("moment", "found"),
    [
        (Moment(lsn=50), (2, None, True, False, True)),
        (Moment(lsn=15), (0, None, False, False, True)),  # before both went different ways
        (Moment(time=9), (2, None, True, False, True)),
        (Moment(time=4), (0, 2, False, False, True)),  # as the server then was
    ],
    ids=str,
)
def test_a_server_that_went_back_in_time_begins_another_history(
    moment: Moment, found: tuple[int, int | None, bool, bool, bool]
) -> None:
    """C2: two histories less than a microsecond's worth of clock apart; LSNs and xids say it."""
    assert chapter(moment, *FORKED) == found


def test_a_history_that_lost_its_end_is_found_where_nothing_new_came() -> None:
    lost_end = (begun(0, 0), change(transaction(10, 1), transaction(20, 2)), begun(10, 4), change(transaction(10, 1)))
    assert chapter(Moment(lsn=50), *lost_end) == (0, None, False, False, False)  # the rest may still come again
    assert chapter(Moment(lsn=15), *lost_end) == (0, None, False, False, True)
    assert chapter(Moment(lsn=50), *lost_end, watermark(40, 6)) == (2, None, True, False, True)
    came = change(transaction(20, 2), transaction(50, 7))
    assert chapter(Moment(lsn=50), *lost_end, came) == (0, None, False, False, True)


def test_a_gap_begins_another_chapter() -> None:
    healed = (begun(0, 0), change(transaction(10, 1)), begun(40, 5, healed=1), change(transaction(50, 6)))
    assert chapter(Moment(lsn=60), *healed) == (2, None, False, True, True)
    assert chapter(Moment(lsn=40), *healed) == (0, 2, False, False, True)
    assert chapter(Moment(time=6), *healed) == (2, None, False, True, True)
    assert chapter(Moment(time=3), *healed) == (0, 2, False, False, True)
    assert chapter(Moment(time=3), *healed, begun(5, 7, healed=1)) == (0, 2, False, False, True)


def test_a_source_that_capture_lost_is_followed_no_more() -> None:
    frames = [begun(0, 0), change(transaction(10, 1)), lost("a.c", 2), lost("a.b", 2), watermark(90, 3)]
    assert chapter(Moment(lsn=60), *frames)[:2] == (0, 4)
    assert chapter(Moment(lsn=90), *frames, begun(90, 9))[:2] == (0, 4)
    assert chapter(Moment(lsn=96), *frames, begun(90, 9)) == (5, None, False, True, True)
    without = [begun(0, 0), change(transaction(10, 1)), begun(20, 2, sources=("a.c",)), begun(30, 3)]
    assert chapter(Moment(lsn=25), *without)[:2] == (0, 3)
    assert chapter(Moment(lsn=40), *without) == (3, None, False, True, True)


def rebuilt(moment: Moment, *frames: Frame) -> int:
    """How many equal rows of a table without a primary key, of which each counts."""
    with Spool() as spool:
        bases = Bases("m", "a.b", moment, spool)
        for offset, found in enumerate(frames):
            bases.take(offset, found)
        rebuild = Rebuild("m", "a.b", moment, (0, 1), bases, spool)
        for offset, found in enumerate(frames):
            rebuild.take(offset, found)
        return len(list(rebuild.rows()))


def test_a_change_counts_once_however_often_it_stands_in_the_log() -> None:
    once, twice = change(transaction(10, 1)), change(transaction(10, 1), transaction(20, 2))
    assert rebuilt(Moment(lsn=99), begun(0, 0), once, begun(10, 3), once) == 1
    assert rebuilt(Moment(lsn=99), begun(0, 0), once, begun(10, 3), twice, begun(0, 4), once, begun(20, 5)) == 2
    assert rebuilt(Moment(lsn=99), *FORKED) == 2
    assert rebuilt(Moment(lsn=15), *FORKED) == 1
    assert rebuilt(Moment(time=4), *FORKED) == 3


def test_l4_a_row_that_was_too_large_is_told_beside_one_that_moved_elsewhere() -> None:
    """As many keys as changes name is not the keys that they name."""
    move = b"U" + (1).to_bytes(4, "big") + b"K" + ROW + b"N" + pgoutput.pack_row((b"y",))
    value = frame.encode(
        CHANGES,
        lsn=11,
        time=1,
        keys=[b"x", b"large"],
        sources=["a.b"],
        relations=[json.dumps(RELATION, separators=(",", ":")).encode()],
        transactions=[(10, 10, 1, 0)],
        changes=[move],
    )
    with Spool() as spool:
        bases = Bases("m", "a.b", Moment(lsn=99), spool)
        rebuild = Rebuild("m", "a.b", Moment(lsn=99), (0, 1), bases, spool)
        rebuild.take(0, frame.decode(value))
        assert rebuild.large == {b"large"}
