"""What must hold before anything is changed: the server, the role's rights, the tables, the plan's findings."""

from __future__ import annotations

from collections.abc import Iterable

from cdc.identity import needed_keys
from cdc.partitions import hidden
from sql.connection import Connection
from sql.errors import Refused
from sql.files import load
from sql.model import Finding, Move, Plan

OLDEST = 15
_NAME_BYTES = 63


def check_server(conn: Connection, plan: Plan) -> None:
    """Raises Refused, with everything that is wrong, unless this server and role can carry the plan."""
    row = conn.execute(load("prepare/server"), {"slot": plan.slot}).fetchone()
    assert row is not None
    version, wal_level, standby, free, mine, may_replicate, may_create, role, encoding = row
    wrong: list[str] = []
    if version < OLDEST * 10_000:
        wrong.append(f"PostgreSQL {OLDEST} or newer is needed, this is {version // 10_000}")
    if standby:
        wrong.append("this is a standby: connect to the primary")
    if wal_level != "logical":
        wrong.append(f"wal_level is {wal_level}: ALTER SYSTEM SET wal_level = logical, and restart the server")
    if free < 1 and not mine:
        wrong.append("no replication slot is free: raise max_replication_slots, and restart the server")
    if encoding == "SQL_ASCII":
        wrong.append(
            "the database is in SQL_ASCII, which takes any bytes: those that are no text would stop the stream;"
            " dump it and restore it into one in the encoding that its text is in"
        )
    if not may_replicate:
        wrong.append(f"{role} may not replicate: ALTER ROLE {role} REPLICATION")
    if not may_create:
        wrong.append(f"{role} may not create schemas and publications here: GRANT CREATE ON DATABASE … TO {role}")
    _refuse("this server cannot carry the plan", wrong)


def check_moves(conn: Connection, moves: Iterable[Move], *, before_ddl: bool = False) -> None:
    """Raises Refused unless the moves' tables can be published, read and written, and their names fit.

    `before_ddl`: the move's own DDL may still create its target.
    """
    wrong: list[str] = []
    for move in moves:
        for name in (move.view, move.owned):
            if name is not None and len(name.relation.encode()) > _NAME_BYTES:
                wrong.append(f"the name {name.relation} is longer than {_NAME_BYTES} bytes: shorten plan or move")
        streamed = needed_keys([move])
        tables = dict.fromkeys([move.target, *(source.name for source in move.sources)])
        rows = conn.execute(load("prepare/tables"), {"tables": [table.sql for table in tables]}).fetchall()
        rights = {name: more for name, *more in rows}
        for table in tables:
            if table.sql not in rights:
                if not (before_ddl and move.ddl_sql and table == move.target):
                    wrong.append(f"{table.sql} does not exist")
                continue
            owner, may_read, may_write, row_security, plain = rights[table.sql]
            if table in streamed and not plain:
                wrong.append(f"{table.sql} cannot be published: it is not a permanent table")
            if table in streamed and not owner:
                wrong.append(f"publishing {table.sql} needs its owner's rights: GRANT its owner TO this role")
            if not may_read:
                wrong.append(f"this role may not read {table.sql}: GRANT SELECT")
            if table == move.target and not may_write:
                wrong.append(f"this role may not write {table.sql}: GRANT INSERT, UPDATE, DELETE")
            if row_security and (move.facade is not None or not owner):
                wrong.append(
                    f"{table.sql} has row security, which neither the facade nor the mapping would obey: they read"
                    " with this role's rights"
                )
        wrong += [f"{why}: ALTER TABLE with {cure}" for why, cure in hidden(conn, move)]
    _refuse("these moves cannot be prepared", list(dict.fromkeys(wrong)))


IDENTITY = "replica-identity"  # the finding that prepare itself can mend


def check_findings(findings: Iterable[Finding], moves: Iterable[Move], *, but: str | None = None) -> None:
    """Raises Refused, with all of them, when a finding blocks one of the moves; the code `but` is left for later."""
    names = {move.name for move in moves}
    blocking = [
        f"{finding.message}" + (f" ({finding.cure})" if finding.cure else "")
        for finding in findings
        if finding.severity == "block" and finding.code != but and (finding.move is None or finding.move in names)
    ]
    _refuse("the plan has blocking findings", blocking, cure="cutover plan --check")


def _refuse(what: str, wrong: list[str], cure: str | None = None) -> None:
    if wrong:
        raise Refused(f"{what}:\n  " + "\n  ".join(wrong), cure=cure)
