"""Replica identities: what capture needs of each source, and the online way to give it.

A published table without one makes the application's own UPDATE and DELETE fail (C4); one without the target key in
it loses the old key of a DELETE or a key change (C5). It is offered, not imposed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from sql.catalog import Table, read_tables
from sql.connection import Connection
from sql.errors import Refused
from sql.files import load
from sql.identity import identity_cure
from sql.lock import build_patiently, with_lock
from sql.model import Identity, Move
from sql.names import Name, split

_IDENTITIES: Final[dict[str, Identity]] = {"d": "default", "i": "index", "f": "full", "n": "nothing"}


@dataclass(frozen=True, slots=True)
class TableIdentity:
    """A source, or a partition of one. `identity`: columns of the old row that WAL carries, unless it is FULL."""

    root: Name
    table: Name
    partitioned: bool
    kind: Identity
    identity: tuple[str, ...]
    primary_key: tuple[str, ...]
    not_null: frozenset[str]
    columns: tuple[str, ...]  # in table order, without generated ones
    virtual: bool = False  # has it a virtual generated column? PostgreSQL refuses it within FULL

    def serves(self, key: Iterable[str]) -> bool:
        """Do UPDATE and DELETE stay possible when published, and carry the old `key`? No identity that holds a
        generated column does: no column list has one."""
        if self.kind == "full":
            return not self.virtual
        return bool(self.identity) and set(key) <= set(self.identity) <= set(self.columns)


@dataclass(frozen=True, slots=True)
class Remedy:
    """The statements that give one table a usable identity. `build` runs first and outside a transaction."""

    root: Name  # the published table: `table` itself, or what it is a partition of
    table: Name
    kind: Literal["default", "index", "full"]
    columns: tuple[str, ...]
    index: str | None
    build: str | None
    apply: str

    @property
    def statements(self) -> tuple[str, ...]:
        return (self.build, self.apply) if self.build else (self.apply,)


def needed_keys(moves: Iterable[Move]) -> dict[Name, tuple[str, ...]]:
    """By source, every column through which some move is keyed. A static source is not published."""
    needed: dict[Name, dict[str, None]] = {}
    for move in moves:
        for source in move.sources:
            if source.keys:
                columns = needed.setdefault(source.name, {})
                columns.update((column, None) for key in source.keys for column in key)
    return {name: tuple(columns) for name, columns in needed.items()}


def read_identities(conn: Connection, tables: Iterable[Name]) -> list[TableIdentity]:
    """The identity of each table and of its partitions. A table that does not exist is left out."""
    rows = conn.execute(load("publication/identities"), {"tables": [table.sql for table in tables]}).fetchall()
    return [
        TableIdentity(
            root=Name(root_schema, root),
            table=Name(schema, table),
            partitioned=partitioned,
            kind=_IDENTITIES[kind],
            identity=tuple(identity),
            primary_key=tuple(primary),
            not_null=frozenset(not_null),
            columns=tuple(columns),
            virtual=virtual,
        )
        for root_schema, root, schema, table, partitioned, kind, identity, primary, not_null, columns, virtual in rows
    ]


def remedies(conn: Connection, moves: Iterable[Move]) -> list[Remedy]:
    """What must be done before the moves' sources can be published; empty when nothing must."""
    needed = needed_keys(moves)
    short = [found for found in read_identities(conn, needed) if not found.serves(needed[found.root])]
    tables = read_tables(conn, {found.root for found in short})
    return [remedy(found, needed[found.root], tables[found.root]) for found in short]


def remedy(found: TableIdentity, key: tuple[str, ...], root: Table) -> Remedy:
    """The cheapest identity that carries the key, as `cutover plan --check` names it too.

    Of a partitioned table every partition is looked at by itself: its primary key when that is enough, else FULL.
    Raises Refused where PostgreSQL takes none.
    """
    if found.partitioned:
        if found.primary_key and set(key) <= set(found.primary_key) <= set(found.columns):
            return Remedy(found.root, found.table, "default", found.primary_key, None, None, _set(found, "DEFAULT"))
        if not found.virtual:
            return Remedy(found.root, found.table, "full", (), None, None, _set(found, "FULL"))
    cure = identity_cure(root, [key])
    if not cure.statements:
        raise Refused(f"{found.table} cannot be published: PostgreSQL takes no identity for it", cure=cure.cost)
    *build, apply = cure.statements
    if apply == _set(found, "FULL"):
        return Remedy(found.root, found.table, "full", (), None, None, apply)
    index = split(apply.partition(" USING INDEX ")[2])[0]
    if build:
        columns = tuple(dict.fromkeys((*key, *root.primary_key)))
        return Remedy(found.root, found.table, "index", columns, index, build[0], apply)
    columns = next(each.columns for each in root.unique if each.name == index)
    return Remedy(found.root, found.table, "index", columns, None, None, apply)


def _set(found: TableIdentity, identity: str) -> str:
    return f"ALTER TABLE {found.table.sql} REPLICA IDENTITY {identity}"


def refuse(needed: Iterable[Remedy]) -> None:
    """Raises Refused with the exact statements when there is anything to do."""
    statements = [f"{statement};" for remedy in needed for statement in remedy.statements]
    if statements:
        raise Refused(
            "published as they are, these sources would make the application's UPDATE and DELETE fail, or hide the"
            " old key:\n  " + "\n  ".join(statements),
            cure="cutover prepare --set-identity",
            hint="which runs these online; or run them yourself, one by one (FULL writes whole old rows to WAL)",
        )


def build_index(conn: Connection, remedy: Remedy) -> None:
    """Build the identity index without blocking writers. What a killed build left behind is dropped first.

    `conn` is in autocommit mode. Waits for transactions that are older, Busy names them; nobody waits for it.
    """
    if remedy.build is None or remedy.index is None:
        return
    wanted = {"schema": remedy.table.schema, "index": remedy.index, "table": remedy.table.sql}
    row = conn.execute(load("publication/index"), wanted).fetchone()
    if row is not None:
        here, usable, columns = row
        if not here:
            raise Refused(f"the name {remedy.index} is taken by another relation", cure="rename it")
        if usable and tuple(columns) == remedy.columns:
            return
        conn.execute(f"DROP INDEX CONCURRENTLY {Name(remedy.table.schema, remedy.index).sql}".encode(), prepare=False)
    build_patiently(conn, [remedy.table], remedy.build)


def apply_identity(
    conn: Connection,
    remedy: Remedy,
    publication_change: tuple[str, ...] = (),
    lock_timeout_ms: int = 75,
    changed: Callable[[Connection], object] = lambda conn: None,
) -> int:
    """Set the identity, together with what the publication needs for it, in one short transaction; the attempts.
    `changed` is called in it.

    A column list must cover the identity at every moment, or the application's UPDATE fails.
    """
    build_index(conn, remedy)

    def change(conn: Connection) -> None:
        for statement in (remedy.apply, *publication_change):
            conn.execute(statement.encode(), prepare=False)
        changed(conn)

    return with_lock(conn, [remedy.table], change, lock_timeout_ms=lock_timeout_ms).attempts
