"""Frames: what goes in comes out, and what is torn is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc import frame
from cdc.frame import CHANGES, TOUCH, WATERMARK, UnreadableFrame
from cdc.router import decode_key, encode_key, partition_of

keys = st.lists(st.binary(max_size=60), unique=True, max_size=30)
transactions = st.lists(
    st.tuples(
        st.integers(3, 2**32 - 1), st.integers(1, 2**63), st.integers(-(2**62), 2**62), st.integers(0, 2**32 - 1)
    ),
    max_size=20,
)


@given(
    keys=keys,
    changes=st.lists(st.binary(max_size=200), max_size=30),
    transactions=transactions,
    sources=st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), max_size=4
    ),
    lsn=st.integers(0, 2**63),
)
def test_a_frame_comes_back_as_it_was(
    keys: list[bytes], changes: list[bytes], transactions: list[tuple[int, int, int, int]], sources: list[str], lsn: int
) -> None:
    value = frame.encode(
        CHANGES, lsn=lsn, time=-5, keys=keys, sources=sources, transactions=transactions, changes=changes
    )
    decoded = frame.decode(value)
    assert (decoded.kind, decoded.lsn, decoded.time) == (CHANGES, lsn, -5)
    assert decoded.keys == keys
    assert decoded.changes() == changes
    assert [tuple(each) for each in decoded.transactions()] == transactions
    assert {each.xid for each in decoded.transactions()} == {each[0] for each in transactions}
    assert decoded.sources == tuple(sources)


def test_watermarks_are_small() -> None:
    value = frame.encode(WATERMARK, lsn=77, time=1)
    assert len(value) < 80
    assert frame.decode(value).lsn == 77


@given(st.binary(min_size=1, max_size=300), st.data())
def test_l6_a_torn_frame_is_refused(payload: bytes, data: st.DataObject) -> None:
    value = frame.encode(TOUCH, lsn=0, time=0, keys=[payload, b"k"])
    cut = data.draw(st.integers(0, len(value) - 1))
    with pytest.raises(UnreadableFrame):
        frame.decode(value[:cut])
    at = data.draw(st.integers(0, len(value) - 1))
    flipped = bytearray(value)
    flipped[at] ^= 0x10
    if at not in (6, 7):  # the flags are not read yet, and stand before the checksum
        with pytest.raises(UnreadableFrame):
            frame.decode(bytes(flipped))


def test_l6_a_newer_version_is_refused() -> None:
    value = bytearray(frame.encode(TOUCH, lsn=0, time=0, keys=[b"k"]))
    value[4] = 2
    with pytest.raises(UnreadableFrame, match="version 2"):
        frame.decode(bytes(value))


@pytest.mark.parametrize(
    ("xids", "newest"), [([], 0), ([5], 5), ([5, 900], 900), ([2**32 - 1, 4], 4), ([2**32 - 2, 2**32 - 1], 2**32 - 1)]
)
def test_the_newest_xid_survives_wraparound(xids: list[int], newest: int) -> None:
    assert frame.newest_xid(xids) == newest


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=3))
def test_keys_survive(components: list[str]) -> None:
    key = encode_key(components)
    assert decode_key(key) == tuple(components)
    assert 0 <= partition_of(key, 4) < 4


def test_l3_the_partition_of_a_key_never_changes() -> None:
    """CRC-32 (ISO-HDLC), by its published check value: another one would tear keys apart."""
    assert partition_of(b"123456789", 1 << 32) == 0xCBF43926
    assert partition_of(b"123456789", 4) == 0xCBF43926 % 4


@given(st.lists(st.binary(max_size=50), max_size=200), st.integers(60, 400))
def test_l4_keys_are_split_to_fit(many: list[bytes], limit: int) -> None:
    portions = list(frame.split_keys(many, limit))
    assert [key for portion in portions for key in portion] == many
    assert all(len(portion) == 1 or sum(len(key) + 4 for key in portion) <= limit for portion in portions)
