"""What a plan says, as PostgreSQL and pglast understand it: for people, and as one document."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sql.counted import counted
from sql.cures import sorted_out, told
from sql.layout import Fitting
from sql.model import Finding, Move, Plan, Source, TargetColumn
from sql.names import quote

_STYLE = {"block": "bold red", "warn": "yellow", "info": "dim"}
_ROWS = {
    "existing": "updates the rows that are there",
    "add": "inserts what is missing and keeps it current",
    "all": "owns the table: inserts, updates, deletes",
}
_IDENTITY = {"default": "primary key", "index": "index", "full": "FULL", "nothing": "none"}


def blocked(plan: Plan) -> bool:
    """Whether `--check` refuses."""
    return any(finding.severity == "block" for finding in plan.findings)


def render(plan: Plan, console: Console) -> None:
    """Print moves, sources with their keys, the lineage of each target column, findings."""
    console.print(Text.assemble(("plan ", "dim"), (plan.name, "bold"), (f"   {plan.digest[:12]}", "dim")))
    for move in plan.moves:
        console.print()
        console.print(_headline(move))
        console.print(_sources(move))
        console.print()
        console.print(_columns(move))
    console.print()
    for finding in plan.findings:
        console.print(_finding(finding), soft_wrap=True)
    console.print(_verdict(plan))


def document(plan: Plan) -> dict[str, Any]:
    """What `cutover plan --json` prints."""
    return {
        "plan": plan.name,
        "digest": plan.digest,
        "moves": [_move_document(move) for move in plan.moves],
        "findings": [_finding_document(finding) for finding in plan.findings],
        "blocked": blocked(plan),
    }


def _headline(move: Move) -> Text:
    key = ", ".join(quote(column.name) for column in move.key)
    text = Text.assemble(("move ", "dim"), (move.name, "bold cyan"), (f"  → {move.target}", "bold"), f"  key ({key})")
    text.append(f"\n  rows = {move.rows}: {_ROWS[move.rows]}")
    if move.rows == "add":
        text.append(f"; others' rows: {move.existing}")
    text.append(f"\n  facade {move.facade}" if move.facade else "\n  no facade")
    text.append(f", {counted(move.partitions, 'partition')}")
    if move.refresh:
        text.append(f", refreshed every {move.refresh.every:g} s")
    text.append(", one row per key" if move.unique else ", one row per key not proven")
    return text


def _sources(move: Move) -> Fitting:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
    for title in ("source", "key", "identity", "captured columns"):
        table.add_column(title, header_style="dim", overflow="fold")
    for source in move.sources:
        name = f"{source.name} (target)" if source.is_target else str(source.name)
        columns = ", ".join(map(quote, source.columns))
        table.add_row(*map(escape, (name, _keys(source), _IDENTITY[source.identity], columns)))
    return Fitting(table)


def _columns(move: Move) -> Fitting:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
    for title in ("target column", "type", "comes from"):
        table.add_column(title, header_style="dim", overflow="fold")
    for column in (*move.key, *move.columns):
        table.add_row(*map(escape, (quote(column.name), column.type, _origin(column))))
    return Fitting(table)


def _origin(column: TargetColumn) -> str:
    if column.own:
        return "itself"
    return (
        ", ".join(f"{name}.{quote(source)}" for name, source in column.origin)
        or "no column (a constant, or a count of rows)"
    )


def _keys(source: Source) -> str:
    return " or ".join(", ".join(map(quote, key)) for key in source.keys) or "?"


def _finding(finding: Finding) -> Text:
    where = ":".join(str(part) for part in (finding.file, finding.line) if part is not None)
    text = Text(finding.severity, style=_STYLE[finding.severity])
    text.append(f" {finding.code}", style="bold")
    text.append(f" {where}" if where else "", style="cyan")
    text.append(f" [{finding.move}]" if finding.move else "", style="dim")
    text.append(f"\n  {finding.message}", style="not bold")
    cure, hint = sorted_out(finding.cure)
    return text.append(told(cure, hint), style="green")


def _verdict(plan: Plan) -> Text:
    counts = {word: sum(finding.severity == word for finding in plan.findings) for word in _STYLE}
    aside = f"{counts['warn'] + counts['info']} to know of"
    if counts["block"]:
        return Text(f"{counts['block']} blocking, {aside}", style="bold red")
    return Text(f"nothing blocks, {aside}", style="bold green")


def _move_document(move: Move) -> dict[str, Any]:
    return {
        "move": move.name,
        "target": str(move.target),
        "facade": str(move.facade) if move.facade else None,
        "rows": move.rows,
        "existing": move.existing,
        "partitions": move.partitions,
        "key": [column.name for column in move.key],
        "unique": move.unique,
        "refresh_seconds": move.refresh.every if move.refresh else None,
        "sources": [
            {
                "table": str(source.name),
                "keys": [list(key) for key in source.keys],
                "columns": list(source.columns),
                "identity": source.identity,
                "is_target": source.is_target,
            }
            for source in move.sources
        ],
        "columns": [
            {
                "column": column.name,
                "type": column.type,
                "own": column.own,
                "origin": [f"{name}.{quote(source)}" for name, source in column.origin],
                "depends": sorted(str(name) for name in column.depends),
            }
            for column in (*move.key, *move.columns)
        ],
        "unmapped": [f"{name}.{quote(column)}" for name, column in move.unmapped],
    }


def _finding_document(finding: Finding) -> dict[str, Any]:
    words = ("severity", "code", "move", "file", "line", "message")
    cure, hint = sorted_out(finding.cure)
    return {word: getattr(finding, word) for word in words} | {"cure": cure, "hint": hint}
