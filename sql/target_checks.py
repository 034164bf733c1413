"""The findings about a move's target: columns, types, its key, its facade, and how it stands to the sources."""

from __future__ import annotations

from collections.abc import Iterator

from sql.mapping import OutputUse
from sql.model import Column, Finding, Severity
from sql.names import quote
from sql.understood import Understood


def check_target(it: Understood) -> Iterator[Finding]:
    """Everything that would make a write to the target fail or go wrong."""
    yield from _kind(it)
    yield from _role(it)
    for output in it.analysis.outputs:
        if not output.own:
            yield from _column(it, output)
    yield from _key(it)
    yield from _required(it)
    if it.facade is not None and it.facade.kind != "v":
        message = f"{it.facade.name} is there already, and no view: a facade cannot replace it"
        yield Finding(
            "block", "facade-taken", message, file=it.file, line=it.spec.line("facade"), cure="choose another name"
        )


def _kind(it: Understood) -> Iterator[Finding]:
    if it.target is not None and it.target.kind not in ("r", "p"):
        message = f"{it.spec.target} is not a table"
        yield Finding("block", "target-kind", message, file=it.file, line=it.spec.line("target"), cure="name a table")


def _role(it: Understood) -> Iterator[Finding]:
    """`existing` needs to hear of new target rows; a target that decides which keys there are would chase itself."""
    is_source = any(source.name == it.spec.target for source in it.streamed)
    if it.spec.rows == "existing" and not is_source:
        yield Finding(
            "block", "target-not-a-source",
            f'rows = "existing", but the mapping does not read {it.spec.target}: rows that it gets later stay empty',
            file=it.file, line=it.spec.line("rows"),
            cure=f'select FROM {it.spec.target} and join the sources to it, or use rows = "add" or "all"',
        )  # fmt: skip
    elif it.spec.rows != "existing" and it.spec.target in it.analysis.rows:
        yield Finding(
            "block", "target-decides-rows",
            f'rows = "{it.spec.rows}", but which keys the mapping yields depends on {it.spec.target} itself',
            file=it.file, line=it.spec.line("rows"),
            cure='leave the target out of FROM and WHERE, or use rows = "existing"',
        )  # fmt: skip


def _column(it: Understood, output: OutputUse) -> Iterator[Finding]:
    mine, theirs = it.outputs[output.name], it.target_column(output.name)
    shown = f"{it.spec.target}.{quote(output.name)}"

    def found(severity: Severity, code: str, message: str, cure: str) -> Finding:
        return Finding(severity, code, message, file=it.spec.mapping.file, line=output.line, cure=cure)

    if theirs is None:
        if output.name not in it.additions.of(it.spec.target):
            add = f"ALTER TABLE {it.spec.target} ADD COLUMN IF NOT EXISTS {quote(output.name)} {mine.type};"
            where = f" (in {it.spec.ddl.file})" if it.spec.ddl else ' (in a file named by `ddl = "…"`)'
            yield found("block", "missing-target-column", f"the target has no column {quote(output.name)}", add + where)
        return
    if theirs.generated or (it.target is not None and theirs.name in it.target.always):
        cure = "leave it out of the mapping"
        yield found("block", "generated-target", f"{shown} is generated: it cannot be written", cure)
    yield from _type(it, output, mine, theirs)


def _type(it: Understood, output: OutputUse, mine: Column, theirs: Column) -> Iterator[Finding]:
    """Another type is refused; another length or scale is told, because a value may be rounded or not fit."""
    if (mine.type_oid, mine.typmod) == (theirs.type_oid, theirs.typmod):
        return
    bases = [it.types.types.get(column.type_oid) for column in (mine, theirs)]
    same = mine.type_oid == theirs.type_oid or (bases[0] and bases[1] and bases[0].oid == bases[1].oid)
    message = f"the mapping yields {quote(output.name)} as {mine.type}, the target has {theirs.type}"
    cure = f"cast it in the mapping: (…)::{theirs.type} AS {quote(output.name)}"
    code = "other-modifier" if same else "incompatible-type"
    yield Finding("warn" if same else "block", code, message, file=it.spec.mapping.file, line=output.line, cure=cure)


def _key(it: Understood) -> Iterator[Finding]:
    """A row is found, and inserted once, by a unique index on exactly the key."""
    key = frozenset(it.spec.key)
    there = [frozenset(index.columns) for index in it.target.unique if index.complete] if it.target else []
    there += it.additions.unique.get(it.spec.target, [])
    if key in there or (it.spec.rows == "existing" and any(columns <= key for columns in there)):
        return
    listed = ", ".join(map(quote, it.spec.key))
    yield Finding(
        "block", "no-key-constraint", f"{it.spec.target} has no unique index on its key ({listed})",
        file=it.file, line=it.spec.line("key"),
        cure=f"CREATE UNIQUE INDEX CONCURRENTLY ON {it.spec.target} ({listed}); (in the move's ddl)",
    )  # fmt: skip


def _required(it: Understood) -> Iterator[Finding]:
    """An inserted row needs a value for every column that must have one."""
    if it.spec.rows == "existing":
        return
    given = {output.name for output in it.analysis.outputs}
    target = it.target
    needed = [
        column.name
        for column in (target.columns if target else ())
        if target and column.not_null and column.name not in target.defaults and not column.generated
    ]
    needed += [
        column.name
        for column in it.additions.of(it.spec.target).values()
        if column.not_null and not column.has_default and not (target and target.column(column.name))
    ]
    for name in needed:
        if name not in given:
            yield Finding(
                "block", "missing-value", f"{it.spec.target}.{quote(name)} is NOT NULL, without a default, not mapped",
                file=it.spec.mapping.file, line=1, cure="map it, or give it a default",
            )  # fmt: skip
