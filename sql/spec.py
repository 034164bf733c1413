"""A plan as its folder states it, before PostgreSQL was asked: plain data, made by `cutover.plan`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sql.model import Backfill, Existing, Invariant, Rows
from sql.names import Name


@dataclass(frozen=True, slots=True)
class SqlFile:
    """A file of the plan's folder."""

    file: str
    text: str


@dataclass(frozen=True, slots=True)
class RefreshSpec:
    """How often, in seconds, the keys of the statement are touched."""

    every: float
    keys: SqlFile


@dataclass(frozen=True, slots=True)
class MoveSpec:
    """One move of plan.toml. `sources`: stated keys, None for "static". `lines`: dotted key -> line in plan.toml."""

    name: str
    target: Name
    mapping: SqlFile
    key: tuple[str, ...]
    rows: Rows
    existing: Existing = "report"
    partitions: int = 4
    facade: Name | None = None
    ddl: SqlFile | None = None
    annotate: SqlFile | None = None
    quarantine: SqlFile | None = None
    refresh: RefreshSpec | None = None
    waive: Mapping[tuple[Name, str], str] = field(default_factory=dict)
    sources: Mapping[Name, tuple[str, ...] | None] = field(default_factory=dict)
    invariants: tuple[Invariant, ...] = ()
    backfill: Backfill = "keys"
    mask: tuple[str, ...] = ()  # target columns whose values nobody may see
    lines: Mapping[str, int] = field(default_factory=dict)

    def line(self, *path: str) -> int | None:
        """The line of plan.toml where a key of this move stands, or the nearest thing around it."""
        for length in range(len(path), -1, -1):
            found = self.lines.get("\0".join(path[:length]))
            if found is not None:
                return found
        return None


@dataclass(frozen=True, slots=True)
class PlanFolder:
    """A plan folder that was read. `digest`: sha256 over plan.toml and every file that it names, hex."""

    name: str
    file: str  # plan.toml, as messages name it
    digest: str
    moves: tuple[MoveSpec, ...]

    @property
    def files(self) -> dict[str, str]:
        """Every SQL file that the plan uses, by its name in the folder."""
        found: dict[str, str] = {}
        for move in self.moves:
            keys = move.refresh.keys if move.refresh is not None else None
            for part in (move.mapping, move.ddl, move.annotate, move.quarantine, keys):
                if part is not None:
                    found[part.file] = part.text
        return found
