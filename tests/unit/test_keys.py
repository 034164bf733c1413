"""One notation for a key: what is printed can be given back, on the command line and in a file."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sql.keys import key_text, parse_key, parse_keys

PARTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
KEYS = st.lists(PARTS, min_size=1, max_size=3).map(tuple)


@given(KEYS)
def test_what_is_printed_is_read_back(key: tuple[str, ...]) -> None:
    text = key_text(key)
    assert text.isprintable()
    assert parse_key(text) == key


@given(st.lists(KEYS))
def test_a_file_of_printed_keys_is_read_back(keys: list[tuple[str, ...]]) -> None:
    lines = io.StringIO("".join(key_text(key) + "\n" for key in keys), newline="")
    assert list(parse_keys(lines)) == keys


@given(st.lists(KEYS))
def test_a_file_as_other_programs_write_csv_is_read(keys: list[tuple[str, ...]]) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows(keys)
    file.seek(0)
    assert list(parse_keys(file)) == keys


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (("nord", "A-7"), "nord,A-7"),
        (("a,b",), '"a,b"'),
        (('5" disc', ""), '"5"" disc",""'),
        (("",), '""'),
        ((" a", "b c"), '" a",b c'),
        (("a\tb", "ü"), '["a\\tb","ü"]'),
        (("\u200b€\U000e0001", '"\\\n'), '["\\u200b€\\udb40\\udc01","\\"\\\\\\n"]'),
        (('["x"]',), '"[""x""]"'),
        (("[1",), "[1"),
    ],
)
def test_the_notation(key: tuple[str, ...], text: str) -> None:
    assert key_text(key) == text
    assert parse_key(text) == key


@pytest.mark.parametrize("text", ["", '"open', 'a,"b"c', "a\nb"])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_key(text)


def test_a_file_names_the_line_that_is_wrong() -> None:
    with pytest.raises(ValueError, match="line 3"):
        list(parse_keys(["a,b\n", "\n", '"open\n', "c,d\n"]))
