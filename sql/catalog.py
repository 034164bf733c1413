"""Tables, types and functions as the catalog has them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sql.connection import Connection
from sql.files import load
from sql.model import Column, Identity
from sql.names import Name


@dataclass(frozen=True, slots=True)
class UniqueIndex:
    """A valid unique index; `complete` when it covers every row at once (no predicate, expression or deferral)."""

    name: str
    columns: tuple[str, ...]
    primary: bool
    identity: bool
    complete: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A relation. `kind` and `persistence` are pg_class's letters; `defaults`: columns that fill themselves."""

    name: Name
    oid: int
    kind: str
    persistence: str
    replident: str
    is_partition: bool
    row_security: bool
    inherited: bool
    temporary: bool
    rows: float
    columns: tuple[Column, ...]
    unique: tuple[UniqueIndex, ...]
    partitions: tuple[tuple[Name, str], ...]  # the leaves, each with its replica identity's letter
    defaults: frozenset[str] = frozenset()
    always: frozenset[str] = frozenset()  # GENERATED ALWAYS AS IDENTITY
    virtual: frozenset[str] = frozenset()  # generated, and in no row that is stored

    def column(self, name: str) -> Column | None:
        """The column of that name."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def primary_key(self) -> tuple[str, ...]:
        return next((index.columns for index in self.unique if index.primary), ())

    @property
    def identity(self) -> Identity:
        """What UPDATE and DELETE write of the old row; `nothing` when they would fail once published (C4)."""
        if self.replident == "f":
            return "full"
        if self.replident == "i" and any(index.identity for index in self.unique):
            return "index"
        return "default" if self.replident == "d" and self.primary_key else "nothing"

    @property
    def identity_columns(self) -> tuple[str, ...]:
        """The old columns that every UPDATE and DELETE carries; all of them when FULL."""
        if self.identity == "full":
            return tuple(column.name for column in self.columns)
        if self.identity == "index":
            return next(index.columns for index in self.unique if index.identity)
        return self.primary_key if self.identity == "default" else ()


@dataclass(frozen=True, slots=True)
class Type:
    """A type without its domains: the base type's oid, its pg_type.typtype, the modifier that a domain fixes."""

    oid: int
    kind: str
    typmod: int


@dataclass(frozen=True, slots=True)
class Types:
    """What the types and collations of a plan are."""

    types: dict[int, Type] = field(default_factory=dict)
    nondeterministic: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Function:
    """A function that a view calls. `volatility` is pg_proc's letter; `native`: in C, so its body reads no table."""

    name: str
    volatility: str
    returns_set: bool
    native: bool


def read_tables(conn: Connection, names: Iterable[Name]) -> dict[Name, Table]:
    """The relations of these names; one that is not there is left out."""
    wanted = sorted(set(names))
    rows = conn.execute(
        load("catalog/tables"), {"schemas": [it.schema for it in wanted], "relations": [it.relation for it in wanted]}
    ).fetchall()
    found = {}
    for (schema, relation, oid, kind, persistence, replident, is_partition, row_security, tuples, inherited, temporary,
         columns, indexes, partitions) in rows:  # fmt: skip
        name = Name(schema, relation)
        fields = ("name", "type", "type_oid", "typmod", "collation", "not_null", "generated")
        found[name] = Table(
            name, oid, kind, persistence, replident, is_partition, row_security, inherited, temporary, tuples,
            columns=tuple(Column(**{it: column[it] for it in fields}) for column in columns),
            unique=tuple(
                UniqueIndex(
                    it["name"], tuple(it["columns"]), it["primary"], it["identity"],
                    it["immediate"] and it["plain"] and not it["partial"],
                )
                for it in indexes
            ),
            partitions=tuple((Name(it[0], it[1]), it[2]) for it in partitions),
            defaults=frozenset(it["name"] for it in columns if it["has_default"]),
            always=frozenset(it["name"] for it in columns if it["always"]),
            virtual=frozenset(it["name"] for it in columns if it["virtual"]),
        )  # fmt: skip
    return found


def read_types(conn: Connection, columns: Iterable[Column]) -> Types:
    """Base types and collations of these columns."""
    known = list(columns)
    types = conn.execute(load("catalog/types"), {"oids": sorted({it.type_oid for it in known})}).fetchall()
    collations = conn.execute(load("catalog/collations"), {"oids": sorted({it.collation for it in known})}).fetchall()
    return Types(
        {wanted: Type(oid, kind, typmod) for wanted, oid, kind, typmod in types},
        frozenset(oid for (oid,) in collations),
    )


def read_aggregates(conn: Connection) -> frozenset[str]:
    """The names of all aggregate functions."""
    return frozenset(name for (name,) in conn.execute(load("catalog/aggregates")).fetchall())


def read_view(conn: Connection, oid: int) -> tuple[tuple[Column, ...], tuple[Function, ...]]:
    """A view's columns and the functions that it calls."""
    columns = conn.execute(load("catalog/view_columns"), {"view": oid}).fetchall()
    functions = conn.execute(load("catalog/view_functions"), {"view": oid}).fetchall()
    return tuple(Column(*row) for row in columns), tuple(Function(*row) for row in functions)


def nearest_table(conn: Connection, name: Name) -> str | None:
    """The table whose name is most like this one."""
    known: Sequence[str] = [str(Name(*row)) for row in conn.execute(load("catalog/known_tables")).fetchall()]
    return next(iter(difflib.get_close_matches(str(name), known, 1, 0.5)), None)
