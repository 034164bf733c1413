"""The file of decisions: whatever a value is, it comes back as it was; what is not as it was written is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconcile.document import Cell
from reconcile.review import Disagreement, entry, read_review
from sql.errors import UsageError

VALUES = ["", " ", "'", '"', "\\", "a\nb\r\t", "\x01\x7f\x1f", "𐍈 ü \u2028", "# no comment", '"""', "= [x]", "null"]


def written(folder: Path, *entries: Disagreement, change: tuple[str, str] = ("", "")) -> Path:
    text = 'plan = "p"\nmove = "m"\nreview = 7\n' + "".join(map(entry, entries))
    file = folder / "review.toml"
    file.write_text(text.replace(*change) if change[0] else text, encoding="utf-8")
    return file


def test_every_value_and_key_comes_back(tmp_path: Path) -> None:
    cells = {f"column {value}": Cell(legacy=value, consolidated=None) for value in VALUES}
    found = [Disagreement(("k", value), "s", cells) for value in VALUES]
    review = read_review(written(tmp_path, *found))
    assert [tuple(each.key) for each in review.disagreement] == [each.key for each in found]
    for each in review.disagreement:
        assert each.legacy == {f"column {value}": value for value in VALUES}
        assert (each.consolidated, each.decision, each.seen) == ({}, "", "s")


def test_null_and_what_is_masked_is_said_in_a_comment(tmp_path: Path) -> None:
    text = entry(Disagreement(("1",), "s", {"a": Cell(legacy=None, consolidated="***", masked="NULL against a value")}))
    assert '# "a" is NULL  # masked: NULL against a value\n' in text
    assert '"a" = "***"  # masked: NULL against a value\n' in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('decision = ""', 'decision = "both"'), "disagreement 1, decision"),
        (('decision = ""', 'decison = "legacy"'), "disagreement 1, dec"),
        (('decision = ""', "decision = "), "line 8"),
        (("review = 7\n", ""), "review"),
        (("review = 7", 'review = "7"'), "review"),
        (('key = ["2"]', 'key = ["1"]'), "the key 1 is decided twice"),
    ],
)
def test_what_is_not_as_it_was_written_is_refused_by_name(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    cells = {"a": Cell(legacy="1", consolidated="2")}
    file = written(tmp_path, Disagreement(("1",), "s", cells), Disagreement(("2",), "s", cells), change=change)
    with pytest.raises(UsageError, match="--accept") as refused:
        read_review(file)
    assert said in str(refused.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_review(tmp_path / "nowhere.toml")
