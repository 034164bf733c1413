"""A table where it fits, and each of its rows as a list where it does not: on no terminal is a word cut or left out."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

_UNBOUNDED = 100_000  # columns


def visible(value: str | None, longest: int | None = None) -> Text:
    """A value so that NULL, the empty text and blanks at its ends can be told apart; cut where it is longer."""
    if value is None:
        return Text("NULL", style="dim italic")
    if value == "":
        return Text("''", style="dim")
    shown = value if longest is None or len(value) <= longest else value[: longest - 1] + "…"
    body = shown.strip(" ")
    lead = len(shown) - len(shown.lstrip(" "))
    text = Text("␠" * lead, style="dim")
    text.append("".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in body), style="default")
    return text.append("␠" * (len(shown) - lead - len(body)), style="dim")


class Fitting:
    """What prints as the table, or below its width as lines of `title  value`, a blank line between two rows."""

    def __init__(self, table: Table) -> None:
        self.table = table

    @property
    def row_count(self) -> int:
        """Rows of the table."""
        return self.table.row_count

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update(max_width=_UNBOUNDED)
        if Measurement.get(console, wide, self.table).maximum <= options.max_width:
            yield self.table
            return
        titles = [str(column.header) for column in self.table.columns]
        rows = list(zip(*(list(column.cells) for column in self.table.columns), strict=True))
        for at, row in enumerate(rows):
            if at and _text(row[0]).plain:  # a row without its first cell goes on with the one before
                yield Text()
            yield _listed(titles, [_text(cell) for cell in row])


def _listed(titles: Sequence[str], cells: Sequence[Text]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for title, cell in zip(titles, cells, strict=True):
        if cell.plain:
            grid.add_row(title, cell)
    return grid


def _text(cell: object) -> Text:
    return cell if isinstance(cell, Text) else Text.from_markup(str(cell))
