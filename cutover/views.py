"""The views of a move as they stand in the database: the mapping, the memory of an `add` move, the facade.

Each carries a comment that says which plan made it and from what, so that a rerun changes nothing and takes no lock,
and what others made is never replaced.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from cutover import facade
from cutover.relation import comment, do, exists, reads_only, set_comment
from sql.connection import Connection
from sql.errors import Refused
from sql.files import load
from sql.lock import LOCK_TIMEOUT_MS, LockResult, with_lock
from sql.model import Move
from sql.names import Name, quote
from sql.private import close
from sql.query import tables_of


@dataclass(frozen=True, slots=True)
class ViewsReport:
    """What was installed. `mapping_changed`: a mapping that was there before says something else now."""

    mapping: bool
    mapping_changed: bool
    facade: bool
    lock: LockResult | None  # None: all was there
    closed: tuple[str, ...] = ()  # REVOKE statements: what default privileges gave away


def install_views(conn: Connection, move: Move, lock_timeout_ms: int = LOCK_TIMEOUT_MS) -> ViewsReport:
    """Install what is missing or has changed, all in one short transaction, the facade on the side it is on.

    Which side that is, the move's row says under its lock: a flip may have come while this waited. Grants are the
    target's, copied once when the facade is made; one that is made anew keeps those that it had.
    Raises Refused when a name is taken by something else, when the mapping changes while it is not the side that is
    read, or when something of the application depends on a column that goes away; Busy.
    """
    before = comment(conn, move.view)
    changed = before is not None and before != move.mark
    swapped = before is not None and not _reads_its_tables(conn, move)
    new_mapping = before is None or changed or swapped
    again = changed or not mapping_untouched(conn, move)
    if changed:
        _refuse_while_read(conn, move)
    new_facade = move.facade is not None and (new_mapping or not facade.stands(conn, move))
    new_memory = move.owned is not None and not exists(conn, move.owned)
    if not (new_mapping or again or new_facade or new_memory):
        _remember(conn, move)
        return ViewsReport(False, False, False, None)

    closed: list[str] = []

    def install(conn: Connection) -> None:
        percent = _refuse_while_read(conn, move) if changed else _percent(conn, move)
        kept = facade.grants(conn, move.facade) if facade.is_ours(conn, move) and move.facade is not None else []
        if new_mapping:
            _install_mapping(conn, move)
        if again:
            touch_all(conn, move, "mapping-changed" if changed else "mapping-made-again")
        _remember(conn, move)
        if move.owned is not None and not exists(conn, move.owned):
            _create_memory(conn, move, move.owned)
        if move.facade is not None:
            facade.install(conn, move, percent, kept)
        closed[:] = close(conn)

    tables = [name for name in (move.view, move.facade) if name is not None]
    lock = with_lock(conn, tables, install, lock_timeout_ms=lock_timeout_ms)
    return ViewsReport(new_mapping, changed, new_facade, lock, tuple(closed))


def _percent(conn: Connection, move: Move) -> int:
    """The share of sessions that are to read the consolidated side. In a transaction no flip comes before its end: as a
    flip does, this locks the row before the views."""
    row = conn.execute(load("prepare/percent"), {"plan": move.plan, "move": move.name}).fetchone()
    return row[0] if row is not None else 0


def _refuse_while_read(conn: Connection, move: Move) -> int:
    percent = _percent(conn, move)
    if percent > 0:
        raise Refused(
            f"the mapping of {move.name} has changed while {percent} % of the sessions read the consolidated side,"
            " which it does not describe yet",
            cure=f"cutover flip {move.name} --to legacy\ncutover prepare\ncutover backfill {move.name}",
            hint="then reconcile and flip again",
        )
    return percent


def touch_all(conn: Connection, move: Move, what: str) -> None:
    """In the caller's transaction: every key has to be touched again because of `what`; the backfill starts over."""
    conn.execute(
        "UPDATE cutover.move SET touch_again = %s WHERE plan = %s AND move = %s"
        " AND EXISTS (SELECT FROM cutover.backfill b WHERE b.plan = move.plan AND b.move = move.move)",
        (what, move.plan, move.name),
    )
    conn.execute("DELETE FROM cutover.backfill WHERE plan = %s AND move = %s", (move.plan, move.name))
    conn.execute("INSERT INTO cutover.event (plan, move, what) VALUES (%s, %s, %s)", (move.plan, move.name, what))


def mapping_untouched(conn: Connection, move: Move) -> bool:
    """Is the mapping's view the one that prepare made? PostgreSQL lets nobody retype a column under it, which changes
    rows without a change in the stream (C10): whoever did, has dropped it, and perhaps made it again. And does it read
    the tables of its names? Where another has taken one, it reads the old one. True before the first prepare."""
    row = conn.execute(
        "SELECT view_oid IS NULL OR to_regclass(%s)::oid IS NOT DISTINCT FROM view_oid FROM cutover.move"
        " WHERE plan = %s AND move = %s",
        (move.view.sql, move.plan, move.name),
    ).fetchone()
    return row is None or (bool(row[0]) and _reads_its_tables(conn, move))


def _reads_its_tables(conn: Connection, move: Move) -> bool:
    return reads_only(conn, move.view, tables_of(move.mapping_sql))


def mapping_stands(conn: Connection, move: Move) -> bool:
    """Is the installed mapping the plan's, and still the view that prepare made?"""
    return comment(conn, move.view) == move.mark and mapping_untouched(conn, move)


def _remember(conn: Connection, move: Move) -> None:
    conn.execute(load("prepare/view"), {"plan": move.plan, "move": move.name, "view": move.view.sql})


def _install_mapping(conn: Connection, move: Move) -> None:
    select = move.mapping_sql.strip().rstrip(";")
    try:
        with conn.transaction():
            do(conn, f"CREATE OR REPLACE VIEW {move.view.sql} AS\n{select}")
    except psycopg.errors.InvalidTableDefinition:  # columns were dropped, renamed or retyped: not replaceable
        try:
            if move.facade is not None and facade.is_ours(conn, move):
                do(conn, f"DROP VIEW {move.facade.sql}")
            do(conn, f"DROP VIEW {move.view.sql}")
        except psycopg.errors.DependentObjectsStillExist as error:
            raise Refused(
                f"the columns of {move.name} change, and other objects depend on them: {error.diag.message_detail}",
                cure="drop or change those first",
            ) from error
        do(conn, f"CREATE VIEW {move.view.sql} AS\n{select}")
    set_comment(conn, "VIEW", move.view, move.mark)


def _create_memory(conn: Connection, move: Move, owned: Name) -> None:
    key = ", ".join(quote(column.name) for column in move.key)
    do(conn, f"CREATE TABLE {owned.sql} AS SELECT {key} FROM {move.target.sql} WITH NO DATA")
    do(conn, f"ALTER TABLE {owned.sql} ADD PRIMARY KEY ({key})")
