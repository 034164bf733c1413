"""Understand a mapping: its sources, the key of each, what every column depends on, whether keys are unique. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sql.errors import PlanError
from sql.functions import AGGREGATES, CLOCK, SESSION, VOLATILE
from sql.lineage import ROWS, Lineage, Reads
from sql.model import Finding, Severity
from sql.names import Name, quote
from sql.query import Call, Column, Leaf, Parsed, Select, Shape, line_of
from sql.resolve import parse
from sql.trace import key_columns
from sql.uniqueness import loose, tables_in


@dataclass(frozen=True, slots=True)
class SourceUse:
    """A base table of the mapping: its key columns (see model.Source), the columns that the mapping uses, its line."""

    name: Name
    keys: tuple[tuple[str, ...], ...]
    columns: frozenset[str]
    line: int
    traced: bool  # every place where the mapping reads it has a key


@dataclass(frozen=True, slots=True)
class OutputUse:
    """A column of the mapping. `reads`: the source columns its value and its row's existence depend on."""

    name: str
    line: int
    own: bool
    reads: frozenset[tuple[Name, str]]
    depends: frozenset[Name]
    origin: frozenset[tuple[Name, str]]  # the columns that the value alone is computed from
    json: bool
    coalesced: bool


@dataclass(frozen=True, slots=True)
class MappingAnalysis:
    """All that the text of a mapping says. `text` has no semicolon and no comments around it."""

    text: str
    outputs: tuple[OutputUse, ...]
    sources: tuple[SourceUse, ...]
    unique: bool
    clock: bool
    rows: frozenset[Name]  # the tables that decide which keys there are
    calls: tuple[Call, ...]
    findings: tuple[Finding, ...]


def analyse(
    sql: str,
    key: tuple[str, ...],
    target: Name,
    tables: Mapping[Name, Shape],
    *,
    file: str | None = None,
    aggregates: frozenset[str] = AGGREGATES,
    overridden: frozenset[Name] = frozenset(),
    clock_declared: bool = False,
) -> MappingAnalysis:
    """Understand a mapping over `tables`; what it must not do is in `findings`, with line and cure.

    `overridden`: sources whose key the plan states itself. `clock_declared`: the plan has a refresh.
    Raises PlanError (file, line, nearest word) when the text is no SELECT or names what is not there.
    """
    parsed = parse(sql, tables, file=file, aggregates=aggregates)
    root = parsed.root
    missing = [name for name in key if name not in root.columns]
    if missing:
        raise PlanError(
            f"the mapping yields no key column {quote(missing[0])}", file=file, line=1,
            cure=f"select it first; the mapping yields: {', '.join(map(quote, root.columns))}",
        )  # fmt: skip
    doubled = [name for name in root.columns if "\0" in name]
    if doubled:
        raise PlanError(f"the mapping yields {quote(doubled[0].split(chr(0))[0])} twice", file=file, line=1)
    reading = _Reading(sql, parsed, key, target, tables, file, Lineage(tables))
    sources, untraced = reading.sources(overridden)
    outputs = reading.outputs(sources)
    unique, many = reading.unique()
    clock = any(_is_clock(call) for call in parsed.calls)
    findings = [*untraced, *many, *reading.functions(clock_declared)]
    rows = frozenset(name for name, _ in reading.rows())
    return MappingAnalysis(parsed.text, outputs, sources, unique, clock, rows, tuple(parsed.calls), tuple(findings))


def _is_clock(call: Call) -> bool:
    return call.name in CLOCK or (call.name == "age" and call.arguments == 1)


@dataclass(slots=True)
class _Reading:
    """One mapping while it is being understood."""

    text: str
    parsed: Parsed
    key: tuple[str, ...]
    target: Name
    tables: Mapping[Name, Shape]
    file: str | None
    lineage: Lineage

    @property
    def key_nodes(self) -> tuple[Column, ...]:
        return tuple(self.parsed.root.columns[name] for name in self.key)

    def rows(self) -> Reads:
        """What decides which keys there are: which rows the mapping yields, and the values of their keys."""
        lineage, root = self.lineage, self.parsed.root
        assert root.query is not None
        found = lineage.rows(root.query)
        for node in self.key_nodes:
            found |= lineage.output(root.query, root.nodes.index(node))
        return found

    def finding(
        self, code: str, message: str, location: int, cure: str | None, severity: Severity = "block"
    ) -> Finding:
        return Finding(
            severity,
            code,
            message,
            file=self.file,
            line=line_of(self.text, location),
            cure=cure,
        )

    def sources(self, overridden: frozenset[Name]) -> tuple[tuple[SourceUse, ...], list[Finding]]:
        """Every base table with its keys, and a finding for each place that has none."""
        keys: dict[Name, list[tuple[str, ...]]] = {}
        first: dict[Name, int] = {}
        untraced: dict[Name, Leaf] = {}
        for leaf in self.parsed.leaves:
            assert leaf.table is not None
            first.setdefault(leaf.table, leaf.location)
            found = keys.setdefault(leaf.table, [])
            traced = key_columns(leaf, self.key_nodes, self.key)
            if None in traced:
                untraced.setdefault(leaf.table, leaf)
            elif traced not in found:
                found.append(traced)  # type: ignore[arg-type]
        used = self._used()
        sources = tuple(
            SourceUse(
                name, tuple(keys[name]), used.get(name, frozenset()), line_of(self.text, at), name not in untraced
            )
            for name, at in first.items()
        )
        return sources, [self._untraced(leaf) for name, leaf in untraced.items() if name not in overridden]

    def _untraced(self, leaf: Leaf) -> Finding:
        names = ", ".join(map(quote, self.key))
        columns = '"column"' if len(self.key) == 1 else "[" + ", ".join(f'"column of {it}"' for it in self.key) + "]"
        return self.finding(
            "untraceable-key",
            f"no column of {leaf.table} is always equal to the key ({names}), so its changes touch no known key",
            leaf.location,
            f"join it on the key, or state its key in plan.toml: [moves.<move>.sources] '{leaf.table}' = {columns}"
            ' ("static" if it never changes)',
        )

    def _used(self) -> dict[Name, frozenset[str]]:
        """The columns of each source that any output or the rows of the mapping depend on."""
        lineage, root = self.lineage, self.parsed.root
        assert root.query is not None
        reads = self.rows()
        for index, node in enumerate(root.nodes):
            if not self._own(node, index):
                reads |= lineage.output(root.query, index)
        found: dict[Name, set[str]] = {}
        for name, column in reads:
            found.setdefault(name, set()).update({column} - {ROWS})
        return {name: frozenset(columns) for name, columns in found.items()}

    def _own(self, node: Column, index: int) -> bool:
        """Whether an output is the target's own column of that name, passed through."""
        query, expected = self.parsed.root.query, node.name
        while isinstance(query, Select):
            column = query.outputs[index].expression.column
            leaf = column.leaf if column is not None else None
            if column is None or leaf is None or query.group or not _always_there(leaf):
                return False
            if leaf.table is not None:
                mine = leaf.table == self.target and column.name == expected
                return mine and key_columns(leaf, self.key_nodes, self.key) == self.key
            if leaf.query is None:
                return False
            query, index = leaf.query, leaf.nodes.index(column)
        return False

    def outputs(self, sources: tuple[SourceUse, ...]) -> tuple[OutputUse, ...]:
        """Every column of the mapping with its lineage, key columns first."""
        lineage, root = self.lineage, self.parsed.root
        assert root.query is not None
        rows = self.rows()
        found = []
        for index, node in enumerate(root.nodes):
            reads = lineage.output(root.query, index) | rows
            expression = root.query.outputs[index].expression
            found.append(
                OutputUse(
                    node.name, line_of(self.text, expression.location), self._own(node, index),
                    frozenset(it for it in reads if it[1] != ROWS), frozenset(name for name, _ in reads),
                    lineage.value(root.query, index),
                    expression.json, expression.coalesced,
                )
            )  # fmt: skip
        by_name = {output.name: output for output in found}
        return tuple([by_name[name] for name in self.key] + [it for it in found if it.name not in self.key])

    def unique(self) -> tuple[bool, list[Finding]]:
        """Whether there is at most one row per key, and what a finding says of each source that prevents it."""
        query = self.parsed.root.query
        assert query is not None
        bound = set(self.key_nodes)
        pending = loose(query, bound, self.tables)
        if not pending:
            return True, []
        origin = {column.leaf for column in self._origins() if column.leaf is not None}
        for leaf in origin:
            bound |= {*leaf.nodes}
        many = [leaf for leaf in loose(query, bound, self.tables) if leaf not in origin] if origin else []
        findings = [
            self.finding(
                "one-to-many",
                f"{table.table} may have several rows for one key, and the mapping would take them all",
                table.location,
                "aggregate them (GROUP BY, or a LATERAL sub-select with LIMIT 1 and an ORDER BY), or give the table a"
                " unique index on its key",
            )
            for leaf in many
            for table in tables_in(leaf)[:1]
        ]
        if not findings:
            names = ", ".join(sorted({str(table.table) for leaf in pending for table in tables_in(leaf)}))
            findings.append(
                self.finding(
                    "not-unique",
                    f"nothing in the catalog makes the key unique in {names or 'the mapping'}: two rows of one key are"
                    " possible",
                    pending[0].location,
                    "leave duplicates out of the mapping and list them in `quarantine`, or add a unique index",
                    "warn",
                )
            )
        return False, findings

    def _origins(self) -> list[Column]:
        query = self.parsed.root.query
        if not isinstance(query, Select):
            return []
        nodes = self.parsed.root.nodes
        columns = [query.outputs[nodes.index(node)].expression.column for node in self.key_nodes]
        return [column for column in columns if column is not None]

    def functions(self, clock_declared: bool) -> list[Finding]:
        """Volatile functions, an undeclared clock, what differs between sessions."""
        found = []
        for call in self.parsed.calls:
            if call.name in VOLATILE:
                cure = "a mapping must give the same answer twice: remove it, or store its result in a source"
                found.append(self.finding("volatile-function", f"{call.name} is volatile", call.location, cure))
            elif call.name in SESSION:
                cure = "remove it: consumers and applications would see different values"
                found.append(
                    self.finding("session-function", f"{call.name} differs between sessions", call.location, cure)
                )
            elif _is_clock(call) and not clock_declared:
                cure = 'declare when keys fall due: [moves.<move>.refresh] every = "5s", keys = "due.sql"'
                found.append(
                    self.finding(
                        "undeclared-clock", f"the mapping depends on the clock ({call.name})", call.location, cure
                    )
                )
        for call in self.parsed.frozen_clock:
            cure = "write current_date or now(), and declare a refresh"
            message = f"{call.name} is evaluated once, when the view is made"
            found.append(self.finding("frozen-clock", message, call.location, cure))
        return found


def _always_there(leaf: Leaf) -> bool:
    """Whether no outer join can make the leaf's columns NULL."""
    return all(
        join.kind == "inner" or (join.kind, side) in (("left", "left"), ("right", "right")) for join, side in leaf.above
    )
