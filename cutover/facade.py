"""The facade as it stands in the database: made by prepare, replaced by flips, recorded for the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import psycopg
from psycopg.types.json import Jsonb

from cutover.relation import comment, do, reads_only, set_comment
from sql.connection import Connection
from sql.errors import Refused
from sql.facade import Facade, FacadeColumn, facade_of
from sql.files import load
from sql.model import Move
from sql.names import Name, quote

Grant = tuple[str | None, str | None, bool]  # column (None: all), role (None: PUBLIC), may it grant on?


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


def stands(conn: Connection, move: Move) -> bool:
    """Is the facade there, on the side of the move's row, as the plan wants it in all its forms, and recorded?"""
    facade = facade_of(move, facade_columns(conn, move))
    values = {"forms": Jsonb(asdict(facade)), "facade": facade.name, "columns": list(facade.columns)}
    row = conn.execute(load("facade/stands"), {**values, "plan": move.plan, "move": move.name}).fetchone()
    if row is None or not row[0]:
        return False
    if comment(conn, _name(facade)) != _whole_mark(move.plan, move.name, facade, row[1]):
        return False
    known = [move.target, move.view, *([move.owned] if move.owned is not None else [])]
    return reads_only(conn, _name(facade), known)


def install(conn: Connection, move: Move, percent: int, kept: Sequence[Grant] = ()) -> None:
    """Make the facade on the side it is on, in the caller's transaction, anew where its columns change; record it.

    `kept`: the grants that it had, if it was dropped before this.
    Raises Refused when its name is taken by something else, or when something of the application depends on it.
    """
    facade = facade_of(move, facade_columns(conn, move))
    gone = comment(conn, _name(facade)) is None
    try:
        with conn.transaction():
            replace(conn, move.plan, move.name, move.target.sql, facade, percent)
    except psycopg.errors.InvalidTableDefinition:
        kept, gone = grants(conn, _name(facade)), True
        try:
            do(conn, f"DROP VIEW {facade.name}")
        except psycopg.errors.DependentObjectsStillExist as error:
            raise Refused(
                f"the columns of {facade.name} change, and other objects depend on it: {error.diag.message_detail}",
                cure="drop or change those first",
            ) from error
        replace(conn, move.plan, move.name, move.target.sql, facade, percent)
    if gone:
        _grant(conn, facade, kept)
    conn.execute(
        "UPDATE cutover.move SET facade_forms = %s WHERE plan = %s AND move = %s",
        (Jsonb(asdict(facade)), move.plan, move.name),
    )


def replace(conn: Connection, plan: str, move: str, target: str, facade: Facade, percent: int) -> None:
    """Put the facade on this side, in the caller's transaction, and say so in its comment. One that is not there gets
    the target's grants.

    Raises Refused when the name is taken by something else; psycopg's InvalidTableDefinition when the facade that is
    there has other columns.
    """
    found = comment(conn, _name(facade))
    if found is not None and not found.startswith(_mark(plan, move)):
        raise Refused(
            f"{facade.name} exists and is not the facade of {plan}.{move}",
            cure="give the facade another name, or move what is there out of the way",
        )
    do(conn, facade.statement(percent))
    if found is None:
        _grant(conn, facade, grants(conn, Name.parse(target)))
    set_comment(conn, "VIEW", _name(facade), _whole_mark(plan, move, facade, percent))


def grants(conn: Connection, relation: Name) -> list[Grant]:
    """Who may SELECT from a relation; none when it is not there."""
    return conn.execute(load("facade/grants"), {"relation": relation.sql}).fetchall()


def is_ours(conn: Connection, move: Move) -> bool:
    """Is there a facade of this move?"""
    return move.facade is not None and (comment(conn, move.facade) or "").startswith(_mark(move.plan, move.name))


def _mark(plan: str, move: str) -> str:
    return f"cutover: facade of {plan}.{move}, "


def _whole_mark(plan: str, move: str, facade: Facade, percent: int) -> str:
    """The comment on a facade that stands as it should. Its percentage is read by sql/facade/places.sql."""
    return f"{_mark(plan, move)}{facade.shape()}, percent {percent}"


def _name(facade: Facade) -> Name:
    return Name.parse(facade.name)


def _grant(conn: Connection, facade: Facade, given: Sequence[Grant]) -> None:
    for column, role, grantable in given:
        if column is not None and column not in facade.columns:
            continue
        grantee = "PUBLIC" if role is None else quote(role)
        option = " WITH GRANT OPTION" if grantable and role is not None else ""
        what = f"SELECT ({quote(column)})" if column is not None else "SELECT"
        do(conn, f"GRANT {what} ON {facade.name} TO {grantee}{option}")
