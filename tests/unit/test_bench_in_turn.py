"""`make bench` survives a part that fails, and does not hide it."""

from __future__ import annotations

import pytest

from bench.in_turn import in_turn, table


def say() -> None:
    print("capture   157,000/s")
    print("peer      123,000/s")


def fail() -> None:
    print("half a figure")
    raise RuntimeError("the broker is gone\nand more")


def lack() -> None:
    raise SystemExit("pgbench is needed")


def test_a_part_that_fails_does_not_take_the_others_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    parts = in_turn({"a": fail, "writers": lack, "capture": say})
    assert [part.error for part in parts] == ["RuntimeError: the broker is gone", "SystemExit: pgbench is needed", None]
    assert parts[2].lines == ["capture   157,000/s", "peer      123,000/s"]
    shown = capsys.readouterr()
    assert "157,000/s" in shown.out
    assert "Traceback" in shown.err
    text = table(parts).splitlines()
    assert text[0].startswith("a            0 s  half a figure")
    assert text[1].endswith("FAILED: RuntimeError: the broker is gone")
    assert text[3].startswith("capture      0 s  capture   157,000/s")
    assert text[4].endswith("peer      123,000/s")
    assert text[-1].endswith("FAILED: a, writers")


def test_ctrl_c_ends_all_of_it() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_turn({"a": interrupted, "b": say})


def test_what_was_all_measured_says_so() -> None:
    assert table(in_turn({"a": say})).endswith("every part was measured")
