"""A plan once PostgreSQL and pglast have understood it: what every other package works with.

Pure data. `cutover.plan` reads the folder, `sql.compile` joins it with the catalog and the mapping analysis.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal

from sql.names import Name

Rows = Literal["existing", "add", "all"]
Existing = Literal["report", "keep", "overwrite"]
Backfill = Literal["keys", "rows"]
Identity = Literal["default", "index", "full", "nothing"]
Severity = Literal["block", "warn", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something the check of a plan has to say; `block` refuses (exit 5)."""

    severity: Severity
    code: str  # a stable word: untraceable-key, volatile-function, …
    message: str
    move: str | None = None
    file: str | None = None
    line: int | None = None
    cure: str | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column as `pg_attribute` has it; `type` is `format_type` with its modifier."""

    name: str
    type: str
    type_oid: int
    typmod: int
    collation: int
    not_null: bool = False
    generated: bool = False


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """A column of the mapping, and of the target.

    `own`: the mapping passes the target's own column through; the facade serves it, converge never writes it.
    `depends`: the sources whose change can change this column.
    """

    name: str
    type: str
    type_oid: int
    own: bool
    depends: frozenset[Name]
    exact: bool  # equality of the type implies equal bytes, so that IS DISTINCT FROM is enough
    origin: tuple[tuple[Name, str], ...] = ()  # the source columns that its value is computed from


@dataclass(frozen=True, slots=True)
class Source:
    """A legacy table of a move.

    `keys`: each tuple names the columns of this table that equal the move's key, in the key's order. A table that
    the mapping reads through two different columns has two.
    `columns`: what may enter the log: mapped columns and the replica identity, in table order.
    """

    name: Name
    oid: int
    keys: tuple[tuple[str, ...], ...]
    columns: tuple[str, ...]
    identity: Identity
    is_target: bool = False
    column_list: bool = True  # False: REPLICA IDENTITY FULL forbids one, capture strips instead


@dataclass(frozen=True, slots=True)
class Refresh:
    """How a mapping that depends on the clock is kept current. `keys_sql` has :since and :until (timestamptz)."""

    every: float  # seconds
    keys_sql: str


@dataclass(frozen=True, slots=True)
class Invariant:
    """A one-row SELECT over each side; the rows must agree."""

    name: str
    legacy: str
    consolidated: str


def topic_name(plan: str, move: str) -> str:
    """The topic of a move."""
    return f"cutover.{plan}.{move}"


@dataclass(frozen=True, slots=True)
class Move:
    """One consolidation. `view` is the installed mapping; `owned` remembers the keys an `add` move inserted."""

    plan: str
    name: str
    target: Name
    target_oid: int
    rows: Rows
    existing: Existing
    key: tuple[TargetColumn, ...]
    columns: tuple[TargetColumn, ...]  # without the key
    sources: tuple[Source, ...]
    mapping_sql: str
    unique: bool  # analysis proves that the mapping yields one row per key
    facade: Name | None
    partitions: int
    refresh: Refresh | None = None
    annotate_sql: str | None = None  # an UPDATE that runs after converge, with :keys (or :key1, :key2 …)
    quarantine_sql: str | None = None  # SELECT key…, reason: rows that the mapping leaves out on purpose
    ddl_sql: str | None = None
    ddl_file: str | None = None  # as messages name it
    facade_at: str | None = None  # file and line of it
    waive: dict[tuple[Name, str], str] = field(default_factory=dict)
    invariants: tuple[Invariant, ...] = ()
    backfill: Backfill = "keys"  # rows: the backfill puts the sources' rows into the log too, for `restore`
    unmapped: tuple[tuple[Name, str], ...] = ()  # legacy columns that are neither mapped nor waived
    mask: frozenset[str] = frozenset()  # target columns whose values are never shown or stored

    @property
    def topic(self) -> str:
        return topic_name(self.plan, self.name)

    @property
    def view(self) -> Name:
        return Name("cutover", f"map_{self.plan}_{self.name}")

    @property
    def mark(self) -> str:
        """The comment on the mapping's view; another one means another mapping."""
        digest = sha256(self.mapping_sql.encode()).hexdigest()[:16]
        return f"cutover: mapping of {self.plan}.{self.name}, {digest}"

    @property
    def owned(self) -> Name | None:
        return Name("cutover", f"owned_{self.plan}_{self.name}") if self.rows == "add" else None

    @property
    def masked_sources(self) -> frozenset[tuple[str, str]]:
        """The source columns (table as in SQL, column) that a masked column is computed from."""
        found = {(self.target.sql, name) for name in self.mask}
        for column in self.columns:
            if column.name in self.mask:
                found |= {(source.sql, name) for source, name in column.origin}
        return frozenset(found)

    @property
    def written(self) -> tuple[TargetColumn, ...]:
        """The columns converge writes."""
        return tuple(column for column in self.columns if not column.own)


@dataclass(frozen=True, slots=True)
class Plan:
    """All moves of a plan folder, compiled against one database. One slot and one publication serve them all."""

    name: str
    digest: str  # sha256 of the folder's files, hex
    moves: tuple[Move, ...]
    findings: tuple[Finding, ...] = ()
    broken: tuple[tuple[str, str], ...] = ()  # moves that cannot be understood now, and why: a source was dropped

    @property
    def slot(self) -> str:
        return f"cutover_{self.name}"

    @property
    def publication(self) -> str:
        return f"cutover_{self.name}"

    def move(self, name: str) -> Move:
        """The move of that name; KeyError if there is none."""
        for move in self.moves:
            if move.name == name:
                return move
        raise KeyError(name)
