"""`prepare --roles`: a role for each part of the service, with the rights that it needs and no others.

The roles may log in and have no password: whoever runs the server gives them one, or a certificate, so that no secret
passes through here. Repeating the command takes away what the plan no longer needs. The facades belong to the flip
role, which must replace them.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from sql.catalog import read_tables
from sql.connection import Connection, own
from sql.errors import Refused
from sql.files import load
from sql.grants import PARTS, Grant, Part, give, grants, revoke, role_name, statements_of
from sql.lock import LOCK_TIMEOUT_MS, with_lock
from sql.model import Plan
from sql.names import Name, quote
from sql.uses import uses

_STATISTICS = "pg_read_all_stats"  # to see how old the transactions of others are before asking for a lock


def ensure_roles(conn: Connection, plan: Plan, lock_timeout_ms: int = LOCK_TIMEOUT_MS) -> list[str]:
    """Make the roles, give and take rights, hand the facades over; returns the statements that were needed.

    Raises Refused when this session may not make roles; Busy when a facade's lock cannot be had.
    """
    done: list[str] = []
    for part in PARTS:
        done += _make(conn, role_name(plan.name, part), part)
        done += _grant(conn, role_name(plan.name, part), wanted(conn, plan, part))
    return done + _hand_over(conn, plan, role_name(plan.name, "flip"), lock_timeout_ms)


def roles_exist(conn: Connection, plan: str) -> bool:
    """Has `prepare --roles` been called for this plan? Then every later prepare keeps them right."""
    names = [role_name(plan, part) for part in PARTS]
    return conn.execute("SELECT FROM pg_catalog.pg_roles WHERE rolname = ANY (%s)", (names,)).fetchone() is not None


def wanted(conn: Connection, plan: Plan, part: Part) -> set[Grant]:
    """The rights that a part of this plan is to have in this database."""
    named = {name for move in plan.moves for text in statements_of(part, move) for name in uses(text)}
    tables = read_tables(conn, named)
    columns = {name: [column.name for column in table.columns] for name, table in tables.items()}
    filled = [move.target_oid for move in plan.moves if move.rows != "existing"]
    rows = conn.execute(load("roles/sequences"), {"tables": filled}).fetchall()
    return set(grants(part, plan, conn.info.dbname, columns, [Name(*row) for row in rows]))


def held(conn: Connection, role: str) -> set[Grant]:
    """The rights that a role has been given here."""
    rows = conn.execute(load("roles/held"), {"role": role}).fetchall()
    return {
        Grant(kind, Name(schema, name).sql if schema else quote(name), right, column)
        for kind, schema, name, right, column in rows
    }


def _make(conn: Connection, role: str, part: Part) -> list[str]:
    attributes = "LOGIN REPLICATION" if part == "capture" else "LOGIN"
    row = conn.execute("SELECT rolcanlogin, rolreplication FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
    statements: list[str] = []
    if row is None:
        statements.append(f"CREATE ROLE {quote(role)} {attributes}")
    elif part == "capture" and not row[1]:
        statements.append(f"ALTER ROLE {quote(role)} REPLICATION")
    if part == "flip":
        member = "SELECT FROM pg_roles WHERE rolname = %s AND pg_has_role(oid, 'pg_read_all_stats', 'MEMBER')"
        if conn.execute(member, (role,)).fetchone() is None:
            statements.append(f"GRANT {_STATISTICS} TO {quote(role)}")
    _run(conn, statements)
    return statements


def _grant(conn: Connection, role: str, rights: set[Grant]) -> list[str]:
    """What is missing is given and what is too much taken, in one transaction: nobody is without in between."""
    there = held(conn, role)
    statements = [*revoke(there - rights, role), *give(rights - there, role)]
    _run(conn, statements)
    return statements


def _run(conn: Connection, statements: Sequence[str]) -> None:
    if not statements:
        return
    try:
        with own(conn):
            for statement in statements:
                conn.execute(statement.encode(), prepare=False)
    except psycopg.errors.InsufficientPrivilege as error:
        raise Refused(
            f"this role may not make the service's roles: {error.diag.message_primary}",
            cure="cutover prepare --roles",
            hint="once as a superuser; or have one run: " + "; ".join(statements),
        ) from error


def _hand_over(conn: Connection, plan: Plan, role: str, lock_timeout_ms: int) -> list[str]:
    """Give the facades to the flip role; whoever prepares stays a member of it, and so an owner."""
    done: list[str] = []
    for facade in [move.facade for move in plan.moves if move.facade is not None]:
        row = conn.execute(load("roles/owner"), {"relation": facade.sql, "role": role}).fetchone()
        if row is None or row[0] == role:
            continue
        statements = [] if row[1] else [f"GRANT {quote(role)} TO CURRENT_USER"]
        statements.append(f"ALTER VIEW {facade.sql} OWNER TO {quote(role)}")
        _own_facade(conn, facade, statements, lock_timeout_ms)
        done += statements
    return done


def _own_facade(conn: Connection, facade: Name, statements: Sequence[str], lock_timeout_ms: int) -> None:
    def run(conn: Connection) -> None:
        for statement in statements:
            conn.execute(statement.encode(), prepare=False)

    with_lock(conn, [facade], run, lock_timeout_ms=lock_timeout_ms)
