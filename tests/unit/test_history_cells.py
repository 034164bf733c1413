"""How a person sees the values of a version: NULL, the empty text and blanks at the ends are not alike."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO

from rich.console import Console

from cutover.history import Value, Version, render


def test_values_that_look_alike_are_told_apart() -> None:
    values = [
        Value(column="a", value=None),
        Value(column="b", value=""),
        Value(column="c", value="NULL", changed=True),
        Value(column="d", value="[red] x "),
        Value(column="Long E", value=None, unchanged=True, changed=False),
        Value(column="f", value="kept", unchanged=True),
    ]
    when = datetime(2026, 1, 1, tzinfo=UTC)
    version = Version(
        partition=0, offset=1, time=when, lsn="0/1", xid=7, source="s.t", operation="update", values=values
    )
    console = Console(file=StringIO(), width=200)
    console.print(render([version]))
    assert isinstance(console.file, StringIO)
    said = console.file.getvalue()
    for cell in ("a: NULL", "b: ''", "* c: NULL", "d: [red] x␠", '"Long E": (unchanged)', "f: kept (unchanged)"):
        assert f" {cell} " in said
