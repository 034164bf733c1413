"""The findings of a plan's check: what would break the application, lose a change, or write something wrong."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import replace

from sql.catalog import Table
from sql.counted import counted
from sql.families import family
from sql.functions import CLOCK, SESSION, VOLATILE
from sql.identity import identity_cure, identity_problem
from sql.mapping import SourceUse
from sql.model import Finding, Severity
from sql.names import quote
from sql.query import line_of
from sql.target_checks import check_target
from sql.understood import Understood, unmapped

_DEFAULT_COLLATION = 100  # of the database; beside another one it gives way
_UNREAD = {
    "v": "is a view: a view has no changes to stream",
    "m": "is a materialized view: it has no changes to stream",
    "f": "is a foreign table: its changes are not in this database's WAL",
}
# Built-in functions that read TimeZone, DateStyle or the locale when they are declared STABLE.
_SETTINGS = frozenset(
    {"date", "time", "timestamp", "timestamptz", "timetz", "date_part", "extract", "date_trunc", "to_char", "to_date",
     "to_timestamp", "make_timestamptz", "timezone"}
)  # fmt: skip


def check_move(it: Understood) -> list[Finding]:
    """All findings of one move that need no look at its rows."""
    checks: tuple[Callable[[Understood], Iterator[Finding]], ...] = (
        _functions, _sources, _keys, _identity, _coverage, _waivers, _refresh, check_target,
    )  # fmt: skip
    named = [
        replace(each, cure=(each.cure or "").replace("<move>", it.spec.name) or None) for each in it.analysis.findings
    ]
    return [*named, *(finding for check in checks for finding in check(it))]


def _functions(it: Understood) -> Iterator[Finding]:
    """What PostgreSQL itself says of every function that the mapping calls, those behind operators included."""
    for function in it.functions:
        line = next(
            (line_of(it.spec.mapping.text, call.location) for call in it.analysis.calls if call.name == function.name),
            None,
        )

        def found(
            severity: Severity, code: str, message: str, cure: str, name: str = function.name, line: int | None = line
        ) -> Finding:
            return Finding(severity, code, f"{name} {message}", file=it.spec.mapping.file, line=line, cure=cure)

        if function.volatility == "v" and function.name not in VOLATILE:
            cure = "a mapping must give the same answer twice: remove it, or declare it STABLE or IMMUTABLE if it is"
            yield found("block", "volatile-function", "is volatile", cure)
        elif function.volatility == "s" and not function.native:
            cure = "write its body into the mapping, or declare it IMMUTABLE if it depends on its arguments alone"
            yield found("block", "opaque-function", "may read tables that are not streamed", cure)
        elif function.volatility == "s" and function.name in _SETTINGS - CLOCK - SESSION:
            cure = "make it explicit, as in (x AT TIME ZONE 'UTC')::date; consumers run with TimeZone UTC"
            yield found("warn", "session-dependent", "depends on the session's TimeZone, DateStyle or locale", cure)


def _sources(it: Understood) -> Iterator[Finding]:
    """Tables whose changes logical replication does not have, or has under another name."""
    for source in it.analysis.sources:
        table = it.tables[source.name]
        if source not in it.streamed:
            cure = f"touch every key after a change of it: cutover backfill {it.spec.name}"
            yield _at(it, source, "info", "static-source", f"{source.name} is declared static: not streamed", cure)
            continue
        problem = _unreadable(table)
        if problem is not None:
            yield _at(it, source, "block", "unsuitable-source", f"{source.name} {problem[0]}", problem[1])
        elif table.kind == "p":
            message = (
                f"{source.name} is partitioned: its {counted(len(table.partitions), 'partition')} published"
                " under its name; when one is attached, detached, dropped or truncated, consumers touch every key"
            )
            yield _at(it, source, "info", "partitioned-source", message, None)
        if table.row_security:
            message = f"{source.name} has row security: a role that does not bypass it would see a part of the rows"
            yield _at(it, source, "warn", "row-security", message, "run as the owner, or as a role with BYPASSRLS")


def _unreadable(table: Table) -> tuple[str, str] | None:
    read_base = "read the tables beneath it, or state it static"
    if table.kind in _UNREAD:
        return _UNREAD[table.kind], read_base
    if table.persistence == "t" or table.temporary:
        return "is temporary: it is not in the WAL", "use a table"
    if table.persistence == "u":
        return "is unlogged: its changes are not in the WAL", f"ALTER TABLE {table.name} SET LOGGED"
    if table.is_partition:
        return "is a partition: its changes are published under its parent's name", "read the partitioned table"
    if table.inherited:
        return "has children by inheritance: their changes come under other names", "make it a partitioned table"
    return None


def _keys(it: Understood) -> Iterator[Finding]:
    """The key is compared as text in frames and dead letters: one type, whose equal values have equal text."""
    columns = [it.target_column(name) for name in it.spec.key]
    for at, (name, column) in enumerate(zip(it.spec.key, columns, strict=True)):
        if column is None:
            continue
        wanted = family(column, it.types)
        if wanted is None:
            cure = "use uuid, integers, text or varchar (deterministic), date, timestamp, boolean, enum, bytea or inet"
            message = f"key column {quote(name)} is {column.type}: equal values of it may have different text"
            yield Finding("block", "key-type", message, file=it.file, line=it.spec.line("key"), cure=cure)
            continue
        for source in it.streamed:
            yield from _key_type(it, source, at, name, column.type, wanted)
        if family(it.outputs[name], it.types) != wanted:
            message = f"the mapping yields key {quote(name)} as {it.outputs[name].type}, the target has {column.type}"
            yield _mapping(it, name, "block", "key-type", message, f"cast it: ::{column.type}")
        elif len({it.outputs[name].collation, column.collation} - {_DEFAULT_COLLATION}) > 1:
            message = f"key {quote(name)} has one collation in the mapping and another in the target: no `=` takes both"
            cure = f"give {it.spec.target}.{quote(name)} the source's: ALTER COLUMN {quote(name)} TYPE … COLLATE …"
            yield _mapping(it, name, "block", "key-collation", message, cure)


def _key_type(it: Understood, source: SourceUse, at: int, name: str, kind: str, wanted: str) -> Iterator[Finding]:
    for key in it.keys(source):
        column = it.tables[source.name].column(key[at])
        if column is None:
            continue
        shown = f"{source.name}.{quote(key[at])}"
        if column.generated:
            cure = "key the source by the columns that it is generated from"
            yield _at(it, source, "block", "generated-key", f"{shown} is generated: it is not replicated", cure)
        elif family(column, it.types) != wanted:
            message = f"{shown} is {column.type}, the target's key {quote(name)} is {kind}"
            cure = "give both columns one type: keys of different types do not find each other in the log"
            yield _at(it, source, "block", "key-type", message, cure)


def _identity(it: Understood) -> Iterator[Finding]:
    """C4, C5: once published, the application's UPDATE and DELETE must go on, and say the old key."""
    for source in it.streamed:
        table, keys = it.tables[source.name], it.keys(source)
        problem = identity_problem(table, keys) if table.kind in ("r", "p") and keys else None
        if problem is not None:
            cure = identity_cure(table, keys)
            if cure.statements:
                alone = "" if len(cure.statements) == 1 else "one by one, in no transaction; "
                run = "\n".join(f"{statement};" for statement in cure.statements)
                yield _at(it, source, "block", "replica-identity", problem, f"{run}\n-- {alone}{cure.cost}")
            else:
                yield _at(it, source, "block", "no-replica-identity", problem, cure.cost)


def _coverage(it: Understood) -> Iterator[Finding]:
    """Every legacy column goes somewhere, or is left behind on purpose."""
    for name, column in unmapped(it):
        shown = f"{name}.{quote(column)}"
        yield Finding(
            "block", "unmapped-column", f"{shown} is neither mapped nor waived", file=it.spec.mapping.file, line=1,
            cure=f"map it, or say why not: [moves.{it.spec.name}.waive] {toml_key(shown)} = \"reason\"",
        )  # fmt: skip


def _waivers(it: Understood) -> Iterator[Finding]:
    legacy = [source.name for source in it.streamed if source.name != it.spec.target]
    columns = {name: {*(column.name for column in it.tables[name].columns), *it.additions.of(name)} for name in legacy}
    known = [f"{name}.{quote(column)}" for name, there in columns.items() for column in sorted(there)]
    for (name, column), _ in it.spec.waive.items():
        shown = f"{name}.{quote(column)}"
        line = it.spec.line("waive", shown) or it.spec.line("waive")
        if column not in columns.get(name, ()):
            near = difflib.get_close_matches(shown, known, 1)
            cure = f"did you mean {near[0]}?" if near else "waive columns of this move's legacy tables only."
            cure += " If it was dropped since, take the waiver out; then cutover prepare"
            yield Finding("block", "unknown-waiver", f"{shown} is no legacy column", file=it.file, line=line, cure=cure)


def _refresh(it: Understood) -> Iterator[Finding]:
    """A10: a mapping that depends on the clock says which keys fall due."""
    refresh = it.spec.refresh
    if refresh is None:
        return
    line = it.spec.line("refresh")
    if not it.analysis.clock:
        message = "the move declares a refresh, but its mapping does not depend on the clock"
        yield Finding("info", "needless-refresh", message, file=it.file, line=line, cure="remove [moves.….refresh]")
    for word in (":since", ":until"):
        if word not in refresh.keys.text:
            message = f"the statement of the keys that fall due does not use {word}"
            cure = "SELECT the keys whose mapping changed between :since and :until"
            yield Finding("block", "refresh-window", message, file=refresh.keys.file, line=1, cure=cure)
    if it.due is not None:
        families = [family(column, it.types) for column in it.due]
        wanted = [family(column, it.types) for name in it.spec.key if (column := it.target_column(name))]
        if families != wanted:
            shown = ", ".join(column.type for column in it.due)
            message = f"the statement of the keys that fall due yields ({shown}), not the key"
            yield Finding(
                "block", "refresh-keys", message, file=refresh.keys.file, line=1, cure="SELECT the key columns"
            )


def toml_key(name: str) -> str:
    """A name as a quoted key of plan.toml."""
    return f"'{name}'" if '"' in name else f'"{name}"'


def _at(it: Understood, source: SourceUse, severity: Severity, code: str, message: str, cure: str | None) -> Finding:
    return Finding(severity, code, message, file=it.spec.mapping.file, line=source.line, cure=cure)


def _mapping(it: Understood, output: str, severity: Severity, code: str, message: str, cure: str) -> Finding:
    line = next(found.line for found in it.analysis.outputs if found.name == output)
    return Finding(severity, code, message, file=it.spec.mapping.file, line=line, cure=cure)
