"""Which keys of a frame a look at the mapping has already made right, and which it cannot have (A1)."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cdc.frame import CHANGES, ROWS, TOUCH, Frame, decode, encode
from consumers.positions import Locked
from consumers.seen import REMEMBERED, Seen
from consumers.visibility import Snapshot
from sql.model import Move, TargetColumn
from sql.names import Name

A, B = Name("shop", "a"), Name("shop", "b")


def move(rows: str = "existing") -> Move:
    columns = tuple(TargetColumn(each.sql, "text", 25, False, frozenset({each}), True) for each in (A, B))
    return cast(Move, SimpleNamespace(rows=rows, written=columns, target=Name("shop", "t")))


def change(*keys: bytes, xid: int = 10, commit: int = 100, sources: tuple[Name, ...] = (A,)) -> Frame:
    return decode(
        encode(
            CHANGES,
            lsn=commit,
            time=0,
            keys=keys,
            sources=[each.sql for each in sources],
            transactions=[(xid, commit, 0, 0)],
            changes=[b"U"] * len(keys),
        )
    )


def locked(snapshot: str = "20:20:", end: int = 200) -> Locked:
    return Locked(Snapshot.parse(snapshot), False, end)


def seen(*, sources: tuple[Name, ...] = (A,), rows: str = "existing", **look: Any) -> Seen:
    found = Seen(move(rows), REMEMBERED)
    found.remember([b"k"], [each.sql for each in sources], locked(**look))
    return found


def test_a_change_that_was_visible_then_is_not_applied_again() -> None:
    assert seen().unseen(change(b"k", b"other")) == [b"other"]


@pytest.mark.parametrize(
    ("look", "frame"),
    [
        ({"snapshot": "10:20:10"}, change(b"k", xid=10)),  # committed in WAL, and still on the list of running ones
        ({"snapshot": "5:20:5"}, change(b"k", xid=10)),  # not looked at closely: something older runs
        ({"end": 100}, change(b"k", commit=100)),  # not in WAL yet
        ({"end": 100, "snapshot": f"{2**32 + 20}:{2**32 + 20}:"}, change(b"k", commit=101)),  # an id of the next round
        ({"sources": (B,)}, change(b"k")),  # other columns were made right
        ({}, change(b"k", sources=(A, B))),
    ],
)
def test_a1_what_could_not_be_seen_is_applied(look: dict[str, Any], frame: Frame) -> None:
    assert seen(**look).unseen(frame) == [b"k"]


@pytest.mark.parametrize("kind", [TOUCH, ROWS])
def test_what_somebody_asked_for_is_applied(kind: int) -> None:
    assert seen().unseen(replace(change(b"k"), kind=kind)) == [b"k"]


def test_all_columns_cover_some_and_rows_that_come_and_go_cover_all() -> None:
    assert seen(sources=()).unseen(change(b"k", sources=(A, B))) == []
    assert seen(rows="all").unseen(change(b"k", sources=(B,))) == []


def test_a_look_at_other_columns_does_not_hide_an_older_one_for_ever() -> None:
    found = seen()
    found.remember([b"k"], [B.sql], locked())
    assert found.unseen(change(b"k")) == [b"k"]  # only the last look of a key is kept: costs work, and is right
    found.remember([b"k"], [A.sql, B.sql], locked())
    assert found.unseen(change(b"k")) == []


def test_what_is_remembered_is_bounded() -> None:
    found = Seen(move(), remembered=10_000)
    for at in range(1_000):
        found.remember([b"%d" % at], [A.sql], locked())
    assert len(found._newer) + len(found._older) < 150
    assert len(found._looks) < 150
    assert found.unseen(change(b"999", b"0")) == [b"0"]
