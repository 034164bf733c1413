"""All that is known of one move while its plan is compiled: what the checks read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sql.additions import Additions
from sql.catalog import Function, Table, Types
from sql.effects import Effect
from sql.mapping import MappingAnalysis, SourceUse
from sql.model import Column
from sql.names import Name
from sql.spec import MoveSpec


@dataclass(frozen=True, slots=True)
class Understood:
    """One move with its text, its analysis and the catalog side by side."""

    spec: MoveSpec
    file: str  # plan.toml
    analysis: MappingAnalysis
    tables: Mapping[Name, Table]
    types: Types
    additions: Additions
    outputs: Mapping[str, Column]  # the mapping's columns as PostgreSQL types them
    added: Mapping[str, Column]  # target columns that the ddl will add, where PostgreSQL knows the type
    functions: tuple[Function, ...]
    facade: Table | None
    due: tuple[Column, ...] | None  # what the refresh's statement yields; None: PostgreSQL could not be asked yet
    effects: tuple[Effect, ...] = ()  # what a write to the target sets off

    @property
    def target(self) -> Table | None:
        return self.tables.get(self.spec.target)

    def target_column(self, name: str) -> Column | None:
        """A column of the target, there already or declared by the ddl."""
        there = self.target.column(name) if self.target else None
        return there or self.added.get(name)

    def keys(self, source: SourceUse) -> tuple[tuple[str, ...], ...]:
        """A source's keys, as the plan states them or as they were traced."""
        stated = self.spec.sources.get(source.name)
        return (stated,) if stated is not None else source.keys

    @property
    def streamed(self) -> tuple[SourceUse, ...]:
        """The sources that are not declared static."""
        return tuple(it for it in self.analysis.sources if self.spec.sources.get(it.name, ()) is not None)


def unmapped(it: Understood) -> tuple[tuple[Name, str], ...]:
    """The columns of legacy tables that the mapping does not use and the plan does not waive."""
    found = []
    for source in it.streamed:
        if source.name == it.spec.target:
            continue
        used = source.columns | {column for key in it.keys(source) for column in key}
        found += [
            (source.name, column.name)
            for column in it.tables[source.name].columns
            if column.name not in used and (source.name, column.name) not in it.spec.waive
        ]
    return tuple(found)
