"""A reconciliation on the terminal: what was covered, the verdict, what differs."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reconcile.document import Cell, Difference, InvariantResult, MoveReport, ReconcileDocument, SourceRows, Verdict
from reconcile.scope import words
from sql.counted import counted, staying
from sql.keys import key_text
from sql.layout import Fitting, visible
from sql.names import quote

_LONGEST = 60  # characters of a value
_COLOUR: dict[Verdict, str] = {"match": "green", "lag": "yellow", "unresolved": "yellow", "drift": "bold red"}
_MOST_CELLS = 40
_EXAMPLES = 5  # keys of which there is nothing to show but a reason
_MOST_ACCEPTED = 10


def show(document: ReconcileDocument, console: Console) -> None:
    """Print the document for a person to read."""
    for report in document.moves:
        console.print(render(report))
    if len(document.moves) > 1:
        console.print(Text.assemble("all moves: ", (document.verdict, _COLOUR[document.verdict])))


def render(report: MoveReport) -> RenderableType:
    """One move: covered first, then the verdict in one sentence, then the details."""
    parts: list[RenderableType] = [_covered(report), _verdict(report)]
    for part in (_columns(report), _cells(report), _invariants(report), _sources(report), _left_out(report)):
        if part is not None:
            parts.append(Padding(part, (0, 0, 0, 2)))
    if report.differences:  # the verdict again, where it has scrolled away
        parts.append(Text.assemble("  ", (report.verdict.upper(), _COLOUR[report.verdict]), "  ", report.sentence))
    return Padding(Group(*parts), (0, 0, 1, 0))


def _covered(report: MoveReport) -> RenderableType:
    rows, chunks = report.rows, report.chunks
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(
        "[dim]rows[/]",
        f"{rows.legacy:,} legacy, {rows.consolidated:,} consolidated, {counted(rows.compared, 'key')} compared",
    )
    state = f"{chunks.done:,} done, {chunks.split:,} split, {chunks.failed:,} failed"
    grid.add_row("[dim]chunks[/]", f"{state}; longest {chunks.longest_ms:.0f} ms")
    grid.add_row("[dim]columns[/]", escape(", ".join(map(quote, report.compared_columns))) or "none")
    if report.masked_columns:
        grid.add_row("[dim]masked[/]", escape(", ".join(map(quote, report.masked_columns))))
    grid.add_row("[dim]WAL[/]", f"compared up to {report.snapshot_lsn}, applied up to {report.applied_lsn}")
    grid.add_row(
        "[dim]how[/]",
        f"{escape(words(report.scope))}, {counted(report.rounds, 'round')} of proof, {report.seconds:.1f} s",
    )
    return Group(Text(report.move, style="bold"), Padding(grid, (0, 0, 0, 2)))


def _verdict(report: MoveReport) -> RenderableType:
    colour = _COLOUR[report.verdict]
    lines: list[RenderableType] = [
        Padding(
            Text.assemble(
                (report.verdict.upper(), colour), "" if report.exact else " (not exact)", "  ", report.sentence
            ),
            (0, 0, 0, 2),
        )
    ]
    lines += [Padding(Text(f"- {finding}"), (0, 0, 0, 4)) for finding in report.findings]
    return Group(*lines)


def _columns(report: MoveReport) -> RenderableType | None:
    """Keys by kind, and how many of those that differ differ in which column."""
    kinds = {kind: number for kind, number in report.kinds.items() if number}
    if not kinds:
        return None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("kind")
    table.add_column("keys", justify="right")
    table.add_column("by column")
    for kind, number in kinds.items():
        by_column = ", ".join(f"{quote(name)} {count:,}" for name, count in report.columns.items() if count)
        table.add_row(kind, f"{number:,}", escape(by_column) if kind == "differs" else "")
    return Fitting(table)


def _cells(report: MoveReport) -> RenderableType | None:
    """Cells that differ as a table; keys of which there is nothing to show but a reason, a line for each reason."""
    if not report.differences:
        return None
    parts: list[RenderableType] = [_whole(report)] if any(_is_whole(each) for each in report.differences) else []
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("key", "verdict", "kind", "column", "legacy", "consolidated"):
        table.add_column(name, overflow="fold")
    left, shown = _MOST_CELLS, 0
    for difference in (each for each in report.differences if not _is_whole(each)):
        if left <= 0:
            break
        left -= _add(table, difference)
        shown += 1
    parts += [Fitting(table)] if shown else []
    standing = report.rows.drift + report.rows.unresolved + report.rows.in_flight + report.rows.skipped
    if standing > shown:
        parts.append(Text(f"{standing:,} in all; --json lists {report.listed:,} of them", style="dim"))
    return Group(*parts)


def _whole(report: MoveReport) -> Text:
    """Rows that are on one side only, and keys that were not compared: how many, why, and some of them."""
    groups: dict[tuple[Verdict, str, str], list[Difference]] = {}
    for each in report.differences:
        if _is_whole(each):
            of_others = " (row of others)" if each.conflict else ""
            groups.setdefault((each.verdict, each.kind + of_others, each.reason or ""), []).append(each)
    lines = []
    for (verdict, kind, reason), found in groups.items():
        keys = "; ".join(key_text(each.key) for each in found[:_EXAMPLES]) + ("; …" if len(found) > _EXAMPLES else "")
        why = f" ({reason})" if reason else ""
        lines.append(Text.assemble((verdict, _COLOUR[verdict]), f" {kind}{why}: {counted(len(found), 'key')}: {keys}"))
    return Text("\n").join(lines)


def _is_whole(difference: Difference) -> bool:
    """Is there no cell to show beside another?"""
    return difference.kind != "differs" or not difference.cells


def _add(table: Table, difference: Difference) -> int:
    """Add a difference's cells; returns how many lines it took."""
    for at, (column, cell) in enumerate(difference.cells.items()):
        verdict = Text(difference.verdict, style=_COLOUR[difference.verdict]) if at == 0 else Text()
        kind = difference.kind + (" (row of others)" if difference.conflict else "")
        table.add_row(
            Text(key_text(difference.key)) if at == 0 else Text(),
            verdict,
            kind if at == 0 else "",
            Text(quote(column)),
            _shown(cell, cell.legacy),
            _shown(cell, cell.consolidated),
        )
    return len(difference.cells)


def _shown(cell: Cell, value: str | None) -> Text:
    """One side of a cell; of a masked one how it differs, and no value."""
    if cell.masked is None or value is None:
        return visible(value, _LONGEST)
    return Text(f"{value} {cell.masked}", style="dim")


def _invariants(report: MoveReport) -> RenderableType | None:
    if not report.invariants:
        return None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("invariant", "holds", "legacy", "consolidated"):
        table.add_column(name, overflow="fold")
    for result in report.invariants:
        sides = (result.legacy, result.consolidated)
        table.add_row(
            escape(result.name),
            _holds(result),
            *(visible(None if side is None else str(side), _LONGEST) for side in sides),
        )
    return Fitting(table)


def _holds(result: InvariantResult) -> Text:
    if result.holds is None:
        return Text("not told", style="yellow")
    return Text("yes", style="green") if result.holds else Text("NO", style="bold red")


def _sources(report: MoveReport) -> RenderableType | None:
    """The legacy tables by themselves: one-to-many, orphans, duplicates; a line each, without what is not there."""
    if not report.sources:
        return None
    return Group(
        Text("legacy tables", style="bold"), *(Text(f"  {each.source}: {_source(each)}") for each in report.sources)
    )


def _source(each: SourceRows) -> str:
    if each.told is not None:
        return each.told
    parts = [f"{counted(each.rows, 'row')}, {counted(each.keys, 'key')}"]
    if each.several:
        parts.append(f"{each.several:,} of them with several rows, {each.most:,} at most")
    if each.orphans:
        examples = "; ".join(key_text(key) for key in each.orphan_keys)
        parts.append(f"{counted(each.orphans, 'row')} not in the mapping ({examples})")
    if each.without_key:
        parts.append(f"{counted(each.without_key, 'row')} without a key")
    return "; ".join(parts)


def _accepted(report: MoveReport) -> list[str]:
    """Keys that differ and stay, by name: the count, then each with its reason."""
    lines = [f"accepted: {staying(report.rows.accepted, 'key')}, by somebody's decision"]
    for each in report.accepted[:_MOST_ACCEPTED]:
        why = each.reason or "a row of others, by review"
        lines.append(f"  {key_text(each.key)}: {why}" + (f" ({each.who}, {each.at:%Y-%m-%d %H:%M})" if each.at else ""))
    if report.rows.accepted > _MOST_ACCEPTED:
        lines.append(f"  … --json lists {len(report.accepted):,} of them")
    return lines


def _left_out(report: MoveReport) -> RenderableType | None:
    lines = [f"quarantined: {counted(it.rows, 'row')}, {it.reason}" for it in report.quarantined]
    if report.rows.kept:
        lines.append(f"kept: {staying(report.rows.kept, 'row')}, by the plan's rule for rows of others")
    if report.rows.accepted:
        lines += _accepted(report)
    if report.rows.others:
        lines.append(f"others: {counted(report.rows.others, 'row')} of the target, none of this move's")
    # Those that this run saw equal first: what earlier runs told of is in --json and --html.
    if gone := [each for each in report.gone if each.gone_at >= report.started_at]:
        latest = gone[0]
        lines.append(
            f"gone: {counted(report.gone_now, 'key')} that differed before, equal now, the latest"
            f" {key_text(latest.key)} ({latest.kind}, seen {latest.first_seen:%Y-%m-%d %H:%M} to"
            f" {latest.last_seen:%Y-%m-%d %H:%M},"
            f" equal since {latest.gone_at:%Y-%m-%d %H:%M})"
        )
    if report.dead_letters:
        lines.append(f"dead letters: {report.dead_letters:,} (cutover dead-letters list)")
    waived = sum(column.status == "waived" for column in report.coverage)
    missing = [column.column for column in report.coverage if column.status == "missing"]
    if report.coverage:
        mapped = len(report.coverage) - waived - len(missing)
        lines.append(f"legacy columns: {mapped} mapped, {waived} waived, {len(missing)} missing")
    lines += [f"  missing: {name}" for name in missing]
    return Group(*(Text(line, style="dim") for line in lines)) if lines else None
