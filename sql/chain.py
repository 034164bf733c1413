"""Moves that read what another move writes. Capture skips the service's own transactions: nothing would reach them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sql.model import Finding, Move
from sql.names import quote
from sql.spec import PlanFolder
from sql.uses import uses


def check_chain(folder: PlanFolder, moves: Sequence[Move]) -> Iterator[Finding]:
    """A blocking finding for each source whose rows or read columns another move of the plan writes, or an annotation,
    be it the move's own."""
    specs = {spec.name: spec for spec in folder.moves}
    yield from _annotated(folder, moves)
    for move in moves:
        for source in move.sources:
            for writer in moves:
                if writer is move or writer.target != source.name:
                    continue
                what = _written(writer, source.columns)
                if what:
                    yield Finding(
                        "block",
                        "chained-moves",
                        f"{source.name} is written by the move {writer.name} ({what}): its writes are not streamed",
                        move=move.name,
                        file=folder.file,
                        line=specs[move.name].line("mapping"),
                        cure=f"let the mapping read the sources of {writer.name} instead",
                    )


def _annotated(folder: PlanFolder, moves: Sequence[Move]) -> Iterator[Finding]:
    for writer in folder.moves:
        if writer.annotate is None:
            continue
        for name, use in uses(writer.annotate.text).items():
            for move in moves:
                read = {column for source in move.sources if source.name == name for column in source.columns}
                if shared := sorted(read & use.updates):
                    yield Finding(
                        "block",
                        "chained-moves",
                        f"{', '.join(map(quote, shared))} of {name}, which the move {move.name} reads, is written by"
                        f" the annotation of {writer.name}: its writes are not streamed",
                        move=move.name,
                        file=writer.annotate.file,
                        line=1,
                        cure="write to a column that no mapping reads",
                    )


def _written(writer: Move, read: Sequence[str]) -> str | None:
    if writer.rows != "existing":
        return "whole rows"
    shared = [quote(column.name) for column in writer.written if column.name in read]
    return ", ".join(shared) or None
