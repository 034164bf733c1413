"""The views of a move as they stand in the database: the mapping, the memory of an `add` move, the facade.

Each carries a comment that says which plan made it and from what, so that a rerun changes nothing and takes no lock,
and what others made is never replaced.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import psycopg
from psycopg import sql

from sql.connection import Connection
from sql.errors import Refused
from sql.facade import FacadeColumn, create_facade, form_of, shape
from sql.files import load
from sql.lock import LOCK_TIMEOUT_MS, LockResult, with_lock
from sql.model import Move
from sql.names import Name, quote


@dataclass(frozen=True, slots=True)
class ViewsReport:
    """What was installed. `mapping_changed`: a mapping that was there before says something else now."""

    mapping: bool
    mapping_changed: bool
    facade: bool
    lock: LockResult | None  # None: all was there


def install_views(conn: Connection, move: Move, percent: int, lock_timeout_ms: int = LOCK_TIMEOUT_MS) -> ViewsReport:
    """Install what is missing or has changed, all in one short transaction, the facade on the side it is on.

    `percent`: the share of sessions that read the consolidated side now. Grants are the target's, copied once when
    the facade is made.
    Raises Refused when a name is taken by something else, when the mapping changes while it is not the side that is
    read, or when something of the application depends on a column that goes away; Busy.
    """
    before = _comment(conn, move.view)
    new_mapping = before != mapping_mark(move)
    changed = new_mapping and before is not None
    again = changed or not mapping_untouched(conn, move)
    if changed and percent > 0:
        raise Refused(
            f"the mapping of {move.name} has changed while {percent} % of the sessions read the consolidated side,"
            " which it does not describe yet",
            cure=f"cutover flip {move.name} --to legacy\ncutover prepare\ncutover backfill {move.name}",
            hint="then reconcile and flip again",
        )
    new_facade = move.facade is not None and (new_mapping or not _facade_stands(conn, move))
    new_memory = move.owned is not None and not exists(conn, move.owned)
    if not (new_mapping or again or new_facade or new_memory):
        _remember(conn, move)
        return ViewsReport(False, False, False, None)

    def install(conn: Connection) -> None:
        if new_mapping:
            _install_mapping(conn, move)
        if again:
            touch_all(conn, move, "mapping-changed" if changed else "mapping-made-again")
        _remember(conn, move)
        if move.owned is not None and not exists(conn, move.owned):
            _create_memory(conn, move, move.owned)
        if move.facade is not None:
            _install_facade(conn, move, move.facade, percent)

    tables = [name for name in (move.view, move.facade) if name is not None]
    lock = with_lock(conn, tables, install, lock_timeout_ms=lock_timeout_ms)
    return ViewsReport(new_mapping, changed, new_facade, lock)


def facade_columns(conn: Connection, move: Move) -> tuple[FacadeColumn, ...]:
    """Key and mapping columns as the target types them. Raises Refused when the target lacks one."""
    names = [column.name for column in (*move.key, *move.columns)]
    rows = conn.execute(
        load("facade/columns"), {"names": names, "target": move.target.sql, "mapping": move.view.sql}
    ).fetchall()
    missing = [name for name, _, _, _, _, there in rows if not there]
    if missing:
        raise Refused(
            f"{move.target.sql} or the mapping of {move.name} lacks the column {', '.join(missing)}",
            cure="cutover plan --check",
        )
    return tuple(
        FacadeColumn(name, type_name, cast, Name(schema, collation) if collation is not None else None)
        for name, type_name, cast, schema, collation, _ in rows
    )


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
    rows without a change in the stream (C10): whoever did, has dropped it, and perhaps made it again. True before the
    first prepare."""
    row = conn.execute(
        "SELECT view_oid IS NULL OR to_regclass(%s)::oid IS NOT DISTINCT FROM view_oid FROM cutover.move"
        " WHERE plan = %s AND move = %s",
        (move.view.sql, move.plan, move.name),
    ).fetchone()
    return row is None or bool(row[0])


def mapping_stands(conn: Connection, move: Move) -> bool:
    """Is the installed mapping the plan's, and still the view that prepare made?"""
    return _comment(conn, move.view) == mapping_mark(move) and mapping_untouched(conn, move)


def mapping_mark(move: Move) -> str:
    """The comment on the mapping's view; another one means another mapping."""
    digest = hashlib.sha256(move.mapping_sql.encode()).hexdigest()[:16]
    return f"cutover: mapping of {move.plan}.{move.name}, {digest}"


def _facade_owner(move: Move) -> str:
    return f"cutover: facade of {move.plan}.{move.name}, "


def _facade_stands(conn: Connection, move: Move) -> bool:
    assert move.facade is not None
    columns = facade_columns(conn, move)
    return _comment(conn, move.facade) == _facade_owner(move) + shape(move, columns)


def _remember(conn: Connection, move: Move) -> None:
    conn.execute(load("prepare/view"), {"plan": move.plan, "move": move.name, "view": move.view.sql})


def _install_mapping(conn: Connection, move: Move) -> None:
    select = move.mapping_sql.strip().rstrip(";")
    try:
        with conn.transaction():
            _do(conn, f"CREATE OR REPLACE VIEW {move.view.sql} AS\n{select}")
    except psycopg.errors.InvalidTableDefinition:  # columns were dropped, renamed or retyped: not replaceable
        try:
            if move.facade is not None and _is_ours(conn, move, move.facade):
                _do(conn, f"DROP VIEW {move.facade.sql}")
            _do(conn, f"DROP VIEW {move.view.sql}")
        except psycopg.errors.DependentObjectsStillExist as error:
            raise Refused(
                f"the columns of {move.name} change, and other objects depend on them: {error.diag.message_detail}",
                cure="drop or change those first",
            ) from error
        _do(conn, f"CREATE VIEW {move.view.sql} AS\n{select}")
    _set_comment(conn, "VIEW", move.view, mapping_mark(move))


def _create_memory(conn: Connection, move: Move, owned: Name) -> None:
    key = ", ".join(quote(column.name) for column in move.key)
    _do(conn, f"CREATE TABLE {owned.sql} AS SELECT {key} FROM {move.target.sql} WITH NO DATA")
    _do(conn, f"ALTER TABLE {owned.sql} ADD PRIMARY KEY ({key})")


def _install_facade(conn: Connection, move: Move, facade: Name, percent: int) -> None:
    columns = facade_columns(conn, move)
    new = not exists(conn, facade)
    if not new and not _is_ours(conn, move, facade):
        raise Refused(
            f"{facade.sql} exists and is not the facade of {move.plan}.{move.name}",
            cure="give the facade another name, or move what is there out of the way",
        )
    statement = create_facade(move, columns, form_of(percent))
    try:
        with conn.transaction():
            _do(conn, statement)
    except psycopg.errors.InvalidTableDefinition:
        new = True
        try:
            _do(conn, f"DROP VIEW {facade.sql}")
        except psycopg.errors.DependentObjectsStillExist as error:
            raise Refused(
                f"the columns of {facade.sql} change, and other objects depend on it: {error.diag.message_detail}",
                cure="drop or change those first",
            ) from error
        _do(conn, statement)
    if new:
        _copy_grants(conn, move, facade, columns)
    _set_comment(conn, "VIEW", facade, _facade_owner(move) + shape(move, columns))


def _copy_grants(conn: Connection, move: Move, facade: Name, columns: tuple[FacadeColumn, ...]) -> None:
    """Whoever may read the target may read the facade, and what the canary form asks about the side."""
    names = [column.name for column in columns]
    rows = conn.execute(load("facade/grants"), {"target": move.target.sql, "columns": names}).fetchall()
    for column, role, grantable in rows:
        grantee = "PUBLIC" if role is None else quote(role)
        option = " WITH GRANT OPTION" if grantable and role is not None else ""
        what = f"SELECT ({quote(column)})" if column is not None else "SELECT"
        _do(conn, f"GRANT {what} ON {facade.sql} TO {grantee}{option}")
        _do(conn, f"GRANT USAGE ON SCHEMA cutover TO {grantee}")
        _do(conn, f"GRANT SELECT ON cutover.move, cutover.position TO {grantee}")


def _is_ours(conn: Connection, move: Move, facade: Name) -> bool:
    return (_comment(conn, facade) or "").startswith(_facade_owner(move))


def exists(conn: Connection, name: Name) -> bool:
    """Is there a relation of this name?"""
    row = conn.execute("SELECT to_regclass(%s) IS NOT NULL", (name.sql,)).fetchone()
    return bool(row and row[0])


def _comment(conn: Connection, name: Name) -> str | None:
    """The comment of a relation; empty when it has none, None when there is no such relation."""
    row = conn.execute(
        "SELECT coalesce(obj_description(oid, 'pg_class'), '') FROM pg_catalog.pg_class WHERE oid = to_regclass(%s)",
        (name.sql,),
    ).fetchone()
    return None if row is None else str(row[0])


def _set_comment(conn: Connection, kind: str, name: Name, text: str) -> None:
    statement = sql.SQL("COMMENT ON {} {} IS {}").format(
        sql.SQL(kind), sql.Identifier(name.schema, name.relation), sql.Literal(text)
    )
    conn.execute(statement, prepare=False)


def _do(conn: Connection, statement: str) -> None:
    conn.execute(statement.encode(), prepare=False)
