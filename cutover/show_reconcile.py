"""A reconciliation for people: the verdicts, the reasons, and the first differing keys."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from reconcile.document import Difference, MoveReport, ReconcileDocument

_STYLE = {"match": "green", "lag": "yellow", "unresolved": "yellow", "drift": "bold red"}
_SHOWN = 20  # differences


def render_reconcile(document: ReconcileDocument) -> RenderableType:
    """One table over all moves, then each move's sentence, findings, invariants and differences."""
    parts: list[RenderableType] = [_table(document)]
    for move in document.moves:
        parts.append(Text(f"\n{move.sentence}", style=_STYLE[move.verdict]))
        parts += [Text(f"  {finding}") for finding in move.findings]
        parts += [
            Text(f"  invariant {each.name}: {each.reason or f'{each.legacy} against {each.consolidated}'}", style="red")
            for each in move.invariants
            if each.holds is not True
        ]
        shown = [each for each in move.differences if each.verdict != "match"][:_SHOWN]
        parts += [_difference(each) for each in shown]
        more = move.rows.lag + move.rows.drift + move.rows.unresolved - len(shown)
        if shown and more > 0:
            parts.append(Text(f"  … and {more:,} more; --json lists them"))
    return Group(*parts)


def _table(document: ReconcileDocument) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("move")
    table.add_column("verdict")
    for title in ("compared", "match", "lag", "drift", "unresolved", "skipped", "invariants", "seconds"):
        table.add_column(title, justify="right")
    for move in document.moves:
        table.add_row(move.move, Text(move.verdict, style=_STYLE[move.verdict]), *_counts(move))
    return table


def _counts(move: MoveReport) -> list[str]:
    rows = move.rows
    counts = (rows.compared, rows.match, rows.lag, rows.drift, rows.unresolved, rows.skipped)
    held = sum(1 for each in move.invariants if each.holds)
    return [*(f"{count:,}" for count in counts), f"{held} of {len(move.invariants)}", f"{move.seconds:.1f}"]


def _difference(difference: Difference) -> Text:
    key = ", ".join(difference.key)
    text = Text(f"  {difference.verdict:<10} {difference.kind:<9} {key}", style=_STYLE[difference.verdict])
    for column, cell in difference.cells.items():
        text.append(
            f"\n    {column}: legacy {_value(cell.legacy)}, consolidated {_value(cell.consolidated)}", "default"
        )
    if difference.reason:
        text.append(f"\n    {difference.reason}", "default")
    return text


def _value(value: str | None) -> str:
    return "NULL" if value is None else repr(value)
