"""The publication of a plan: its sources, held to the mapped columns and the replica identity.

What no mapping reads never leaves the database (C11), and the application's UPDATE and DELETE never fail because of
it (C4): the identity is checked before a table is published, and again under the lock that publishes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from psycopg import sql

from cdc.identity import Remedy, TableIdentity, needed_keys, read_identities, refuse, remedies
from sql.connection import Connection, own
from sql.files import load
from sql.lock import LOCK_TIMEOUT_MS, with_lock
from sql.model import Move
from sql.names import Name, quote

Columns = tuple[str, ...] | None  # a column list; None: the whole row, as REPLICA IDENTITY FULL demands

_OPTIONS: Final = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true"
# Where generated columns can be published, those of a table with REPLICA IDENTITY FULL must be (C4): else the server
# refuses the application's UPDATE and DELETE. Capture strips them.
_GENERATED: Final = 180000


@dataclass(frozen=True, slots=True)
class PublicationReport:
    """What `ensure_publication` changed: tables that it added are not in the log before, they need a backfill."""

    added: tuple[Name, ...]
    altered: tuple[Name, ...]
    removed: tuple[Name, ...]


def ensure_publication(
    conn: Connection,
    publication: str,
    moves: Iterable[Move],
    lock_timeout_ms: int = LOCK_TIMEOUT_MS,
    on_added: Callable[[Connection, Name], object] = lambda conn, table: None,
    before: Callable[[], object] = lambda: None,
    changed: Callable[[Connection], object] = lambda conn: None,
) -> PublicationReport:
    """Make the publication hold exactly the streamed sources of `moves`. Idempotent, online, resumable.

    Each table is changed in a transaction of its own, under SHARE UPDATE EXCLUSIVE, which blocks no reads or writes.
    `before` is called before anything is changed, `on_added` in the transaction that adds a table: changes before it
    are not in the log. `changed` in every transaction that changed the publication.
    Raises Refused, before anything is changed, when a source has no usable replica identity; Busy.
    """
    moves = tuple(moves)
    refuse(remedies(conn, moves))
    wanted = column_lists(conn, moves)
    _create(conn, publication, before, changed)
    published = read_publication(conn, publication)
    added = tuple(name for name in wanted if name not in published)
    altered = tuple(name for name in wanted if name in published and published[name] != wanted[name])
    removed = tuple(name for name in published if name not in wanted)

    def change(table: Name, statements: tuple[str, ...]) -> None:
        # Its readers alone: however many sources the plan has, little is thought about while the lock is held.
        readers = [move for move in moves if any(source.name == table for source in move.sources)]

        def run(conn: Connection) -> None:
            for statement in statements:
                conn.execute(statement.encode(), prepare=False)
            if table in added:
                on_added(conn, table)
            refuse(needed for needed in remedies(conn, readers) if needed.root == table)
            changed(conn)

        with_lock(conn, [table], run, mode="SHARE UPDATE EXCLUSIVE", lock_timeout_ms=lock_timeout_ms)

    if added or altered or removed:
        before()
    for table in (*added, *altered):
        change(table, publish(publication, table, wanted[table], replace=table in published))
    for table in removed:
        change(table, (f"ALTER PUBLICATION {quote(publication)} DROP TABLE {table.sql}",))
    return PublicationReport(added, altered, removed)


def publish(publication: str, table: Name, columns: Columns, *, replace: bool) -> tuple[str, ...]:
    """The statements that publish a table with this column list; to be run in one transaction."""
    listed = "" if columns is None else f" ({', '.join(quote(column) for column in columns)})"
    # Without ONLY: on a partitioned table it means the root, through which its partitions are published.
    add = f"ALTER PUBLICATION {quote(publication)} ADD TABLE {table.sql}{listed}"
    return (f"ALTER PUBLICATION {quote(publication)} DROP TABLE {table.sql}", add) if replace else (add,)


def with_identity(conn: Connection, publication: str, moves: Iterable[Move], needed: Remedy) -> tuple[str, ...]:
    """The changes of the publication that must go along with a new identity of a table it already holds."""
    root = needed.root
    published = read_publication(conn, publication)
    if root not in published:
        return ()
    if needed.kind == "full":
        return publish(publication, root, None, replace=True) if published[root] is not None else ()
    columns = column_lists(conn, moves).get(root)
    if columns is None:
        return ()
    found = read_identities(conn, [root])[0]
    listed = tuple(column for column in found.columns if column in {*columns, *needed.columns})
    return publish(publication, root, listed, replace=True)


def column_lists(conn: Connection, moves: Iterable[Move]) -> dict[Name, Columns]:
    """By source, the columns that some move reads, and the identity of the table and its partitions."""
    moves = tuple(moves)
    read: dict[Name, set[str]] = {}
    for source in (source for move in moves for source in move.sources if source.keys):
        read.setdefault(source.name, set()).update(source.columns, *source.keys)
    family: dict[Name, list[TableIdentity]] = {}
    for found in read_identities(conn, needed_keys(moves)):
        family.setdefault(found.root, []).append(found)
    lists: dict[Name, Columns] = {}
    for name, tables in family.items():
        if any(table.kind == "full" for table in tables):
            lists[name] = None
        else:
            columns = read[name].union(*(table.identity for table in tables))
            lists[name] = tuple(column for column in tables[0].columns if column in columns)
    return lists


def read_publication(conn: Connection, publication: str) -> dict[Name, Columns]:
    """The tables that the publication holds, with their column lists in table order."""
    rows = conn.execute(load("publication/tables"), (publication,)).fetchall()
    return {Name(schema, table): None if columns is None else tuple(columns) for schema, table, columns in rows}


def publication_exists(conn: Connection, publication: str) -> bool:
    """Is there any publication of this name in the database?"""
    query = "SELECT FROM pg_catalog.pg_publication WHERE pubname = %s"
    return conn.execute(query, (publication,)).fetchone() is not None


def _create(
    conn: Connection, publication: str, before: Callable[[], object], changed: Callable[[Connection], object]
) -> None:
    """Create it empty, so that no statement locks more than one table; or set its options right."""
    name = sql.Identifier(publication)
    generated = conn.info.server_version >= _GENERATED
    options = sql.SQL(_OPTIONS + (", publish_generated_columns = stored" if generated else ""))
    if not publication_exists(conn, publication):
        with own(conn):
            conn.execute(sql.SQL("CREATE PUBLICATION {} WITH ({})").format(name, options), prepare=False)
            changed(conn)
        return
    row = conn.execute(
        "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate AND pubviaroot AND NOT puballtables"
        " AND coalesce(to_jsonb(p) ->> 'pubgencols' = 's', true)"
        " FROM pg_catalog.pg_publication p WHERE pubname = %s",
        (publication,),
    ).fetchone()
    if row is not None and not row[0]:
        before()
        with own(conn):
            conn.execute(sql.SQL("ALTER PUBLICATION {} SET ({})").format(name, options), prepare=False)
            changed(conn)
