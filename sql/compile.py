"""Join a plan's folder with the catalog and its mappings' analysis: the plan that every package works with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from sql.additions import Additions, read_additions
from sql.catalog import Table, Types, nearest_table, read_aggregates, read_tables, read_types
from sql.chain import check_chain
from sql.checks import check_move
from sql.connection import Connection
from sql.ddl_types import check_ddl
from sql.describe import describe_added, describe_due, describe_mapping, refuse_broken, refuse_invariants
from sql.effects import read_effects
from sql.errors import PlanError
from sql.families import exact, family
from sql.mapping import MappingAnalysis, OutputUse, SourceUse, analyse
from sql.model import Move, Plan, Refresh, Source, TargetColumn
from sql.names import Name, quote
from sql.query import Shape, line_of, tables_of
from sql.sample import sample_rows
from sql.schemas import check_schemas
from sql.spec import MoveSpec, PlanFolder
from sql.understood import Understood, unmapped


def compile_plan(conn: Connection, folder: PlanFolder, *, sample: bool = False, partly: bool = False) -> Plan:
    """Understand every move of a folder against this database. Reads only; holds no lock longer than a query.

    With `sample`, findings also tell what a quick look at the rows shows.

    Raises PlanError (file, line, nearest word) for what is not there; everything else that is wrong is in
    `Plan.findings`. `partly`: a move for which it would be raised is in `Plan.broken`, and the others go on.
    """
    aggregates = read_aggregates(conn)
    moves, findings, broken = [], [], []
    for spec in folder.moves:
        try:
            understood = understand(conn, folder.file, spec, aggregates)
            if not partly:  # a running move does not stand still for what only proves it
                target, added = understood.target, understood.additions.of(spec.target)
                pending = target is None or any(target.column(name) is None for name in added)
                refuse_invariants(conn, folder.file, spec, pending=pending)
        except PlanError as error:
            if not partly:
                raise
            broken.append((spec.name, str(error.args[0])))
            continue
        moves.append(assemble(folder.name, understood))
        found = [*check_ddl(conn, spec.ddl), *check_move(understood)] + (
            sample_rows(conn, understood) if sample else []
        )
        findings += [replace(finding, move=spec.name) for finding in found]
    findings += [*check_chain(folder, moves), *check_schemas(conn, folder)]
    rank = ("block", "warn", "info")
    findings.sort(key=lambda finding: rank.index(finding.severity))
    return Plan(folder.name, folder.digest, tuple(moves), tuple(findings), tuple(broken))


def understand(conn: Connection, file: str, spec: MoveSpec, aggregates: frozenset[str]) -> Understood:
    """Everything about one move that the catalog and the text tell. Raises PlanError."""
    mentioned = tables_of(spec.mapping.text, spec.mapping.file)
    facade = {spec.facade} if spec.facade else set()
    tables = read_tables(conn, {*mentioned, spec.target, *facade})
    additions = read_additions(spec.ddl.text, spec.ddl.file, tables) if spec.ddl else Additions()
    _refuse_unknown(conn, file, spec, mentioned, tables, additions)
    types = read_types(conn, (column for table in tables.values() for column in table.columns))
    shapes = {name: shape(tables[name], types, additions) for name in mentioned}
    analysis = analyse(
        spec.mapping.text, spec.key, spec.target, shapes, file=spec.mapping.file, aggregates=aggregates,
        overridden=frozenset(spec.sources), clock_declared=spec.refresh is not None,
    )  # fmt: skip
    _refuse_unknown_sources(file, spec, analysis, tables)
    _refuse_unmaskable(file, spec, analysis, tables, additions)
    outputs, functions = describe_mapping(conn, spec, tables, analysis, additions)
    added = describe_added(conn, additions, spec.target)
    due = describe_due(conn, spec)
    refuse_broken(spec)
    known = [column for table in tables.values() for column in table.columns]
    types = read_types(conn, [*known, *outputs.values(), *added.values(), *(due or ())])
    facade_table = tables.get(spec.facade) if spec.facade else None
    target = tables.get(spec.target)
    effects = read_effects(conn, target.oid) if target is not None and target.kind in ("r", "p") else ()
    return Understood(
        spec, file, analysis, tables, types, additions, outputs, added, functions, facade_table, due, effects
    )


def assemble(plan: str, it: Understood) -> Move:
    """The move as every other package works with it."""
    spec = it.spec
    streamed = frozenset(source.name for source in it.streamed)
    columns = {output.name: _target_column(it, output, streamed) for output in it.analysis.outputs}
    return Move(
        plan=plan,
        name=spec.name,
        target=spec.target,
        target_oid=it.target.oid if it.target else 0,
        rows=spec.rows,
        existing=spec.existing,
        key=tuple(columns[name] for name in spec.key),
        columns=tuple(column for name, column in columns.items() if name not in spec.key),
        sources=tuple(_source(it, source) for source in it.streamed),
        mapping_sql=it.analysis.text,
        unique=it.analysis.unique,
        facade=spec.facade,
        partitions=spec.partitions,
        refresh=Refresh(spec.refresh.every, spec.refresh.keys.text) if spec.refresh else None,
        annotate_sql=spec.annotate.text if spec.annotate else None,
        quarantine_sql=spec.quarantine.text if spec.quarantine else None,
        ddl_sql=spec.ddl.text if spec.ddl else None,
        ddl_file=spec.ddl.file if spec.ddl else None,
        facade_at=f"{it.file}:{spec.line('facade')}" if spec.facade else None,
        waive=dict(spec.waive),
        invariants=spec.invariants,
        backfill=spec.backfill,
        unmapped=unmapped(it),
        mask=frozenset(spec.mask),
    )


def _target_column(it: Understood, output: OutputUse, streamed: frozenset[Name]) -> TargetColumn:
    column = it.target_column(output.name) or it.outputs.get(output.name)
    if column is None:  # PostgreSQL calls it otherwise
        raise PlanError(
            f"an output of the mapping has no name that is certain (perhaps {output.name})",
            file=it.spec.mapping.file,
            cure="name each output with AS",
        )
    return TargetColumn(
        output.name, column.type, column.type_oid, output.own, output.depends & streamed, exact(column, it.types),
        tuple(sorted(output.origin)),
    )  # fmt: skip


def _source(it: Understood, source: SourceUse) -> Source:
    table = it.tables[source.name]
    keys = it.keys(source)
    captured = source.columns | {column for key in keys for column in key}
    if table.identity != "full":
        captured |= set(table.identity_columns)
    columns = tuple(column.name for column in table.columns if column.name in captured and not column.generated)
    return Source(
        source.name, table.oid, keys, columns, table.identity, source.name == it.spec.target, table.identity != "full"
    )


def shape(table: Table, types: Types, additions: Additions | None = None) -> Shape:
    """What the analysis of a mapping needs of a table, with the columns that the ddl will add."""
    families = {column.name: family(column, types) for column in table.columns}
    added = [name for name in additions.of(table.name) if name not in families] if additions else []
    return Shape(
        (*families, *added),
        tuple(frozenset(index.columns) for index in table.unique if index.complete),
        {name: found for name, found in families.items() if found is not None},
    )


def _refuse_unknown(
    conn: Connection, file: str, spec: MoveSpec, mentioned: Mapping[Name, int], tables: Mapping[Name, Table],
    additions: Additions,
) -> None:  # fmt: skip
    """Tables and key columns that are not there are errors of the plan, not findings."""
    for name, at in mentioned.items():
        if name not in tables:
            message, near = _not_there(conn, name)
            raise PlanError(message, file=spec.mapping.file, line=line_of(spec.mapping.text, at), cure=near)
    if spec.target not in tables and spec.target not in additions.created:
        message, near = _not_there(conn, spec.target)
        cure = f"{near} Else create it in the move's ddl" if near else "create it in the move's ddl"
        raise PlanError(message, file=file, line=spec.line("target"), cure=cure)
    target = tables.get(spec.target)
    known = [*(column.name for column in target.columns)] if target else []
    known += list(additions.of(spec.target))
    for column in spec.key:
        if column not in known:
            message = f"{spec.target} has no column {quote(column)}"
            nearest = _did_you_mean(column, known)
            if nearest and '"' in nearest:
                nearest += " Names are written as in SQL, so in TOML with both quotes, like '\"Filiale\"'"
            raise PlanError(message, file=file, line=spec.line("key"), cure=nearest)


def _not_there(conn: Connection, name: Name) -> tuple[str, str | None]:
    """What is missing of a table's name, its schema or the table in it, and the nearest one that is there."""
    schemas = [schema for (schema,) in conn.execute("SELECT nspname::text FROM pg_catalog.pg_namespace").fetchall()]
    if name.schema not in schemas:
        return f"no schema {quote(name.schema)}, and so no table {name}", _did_you_mean(name.schema, schemas)
    near = nearest_table(conn, name)
    return f"no table {name}", f"did you mean {near}?" if near else None


def _refuse_unknown_sources(file: str, spec: MoveSpec, analysis: MappingAnalysis, tables: Mapping[Name, Table]) -> None:
    """The plan's own statements about sources have to be about sources."""
    known = [source.name for source in analysis.sources]
    for name, columns in spec.sources.items():
        line = spec.line("sources", str(name))
        if name not in known:
            cure = _did_you_mean(str(name), [str(it) for it in known], quoted=False)
            raise PlanError(f"{name} is no source of this mapping", file=file, line=line, cure=cure)
        there = [column.name for column in tables[name].columns]
        for column in columns or ():
            if column not in there:
                message = f"{name} has no column {quote(column)}"
                raise PlanError(message, file=file, line=line, cure=_did_you_mean(column, there))


def _refuse_unmaskable(
    file: str, spec: MoveSpec, analysis: MappingAnalysis, tables: Mapping[Name, Table], additions: Additions
) -> None:
    """A mask that is misspelt would show what it should hide."""
    target = tables.get(spec.target)
    known = [column.name for column in target.columns] if target else []
    known += [*additions.of(spec.target), *(output.name for output in analysis.outputs)]
    for column in spec.mask:
        if column in spec.key:
            message = f"{quote(column)} is of the key, which names its row everywhere, and cannot be masked"
            raise PlanError(
                message, file=file, line=spec.line("mask"), cure="key the move by something that may be seen"
            )
        if column not in known:
            message = f"mask: {spec.target} has no column {quote(column)}"
            cure = _did_you_mean(column, dict.fromkeys(known))
            raise PlanError(message, file=file, line=spec.line("mask"), cure=cure)


def _did_you_mean(word: str, known: Iterable[str], *, quoted: bool = True) -> str | None:
    near = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f"did you mean {quote(near[0]) if quoted else near[0]}?" if near else None
