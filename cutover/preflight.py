"""What must hold before anything is changed: the server, the role's rights, the tables, the plan's findings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import orjson
import psycopg

from cdc.identity import needed_keys
from cdc.partitions import hidden
from sql.connection import Connection
from sql.counted import counted
from sql.errors import Refused
from sql.files import load
from sql.model import Finding, Move, Plan
from sql.names import Name, quote
from sql.schemas import CONTROL, schema_cure
from sql.spec import PlanFolder

OLDEST = 15
_NAME_BYTES = 63


def check_server(conn: Connection, plan: Plan) -> None:
    """Raises Refused, with everything that is wrong, unless this server and role can carry the plan."""
    it = _Server(*conn.execute(load("prepare/server"), {"slot": plan.slot}).fetchone() or ())
    wrong = [f"{problem}: {cure}" for problem, cure in it.problems()]
    if it.standby:
        wrong.append("this is a standby: connect to the primary")
    if not it.may_replicate:
        wrong.append(f"{it.role} may not replicate: ALTER ROLE {it.role} REPLICATION")
    if not it.may_create:
        wrong.append(f"{it.role} may not create schemas and publications here: GRANT CREATE ON DATABASE … TO {it.role}")
    _refuse("this server cannot carry the plan", wrong)


def server_findings(conn: Connection, plan: Plan) -> Iterator[Finding]:
    """What of a server stands in the way of every plan, whichever role prepares it. Which role that is, and on which
    server of several, a check of the plan's files cannot know."""
    it = _Server(*conn.execute(load("prepare/server"), {"slot": plan.slot}).fetchone() or ())
    for problem, cure in it.problems():
        yield Finding("block", "server", f"this server cannot carry the plan: {problem}", cure=cure)


def prepared_findings(conn: Connection, folder: PlanFolder) -> Iterator[Finding]:
    """What of a plan's moves may not change once they are prepared, where this role may see how they were."""
    try:
        there = conn.execute("SELECT to_regclass('cutover.move') IS NOT NULL").fetchone()
        # The key by way of jsonb: a control schema that an older version made does not have it.
        query = "SELECT move, partitions, target, to_jsonb(m) -> 'key' FROM cutover.move m WHERE plan = %s"
        rows = conn.execute(query, (folder.name,)).fetchall() if there and there[0] else []
        others = {
            spec.name: conn.execute(load("prepare/taken"), (spec.target.sql, folder.name)).fetchone()
            for spec in (folder.moves if there and there[0] else ())
        }
    except psycopg.errors.InsufficientPrivilege:
        return
    prepared = {move: rest for move, *rest in rows}
    for spec in folder.moves:
        if (other := others.get(spec.name)) is not None:
            line = spec.line("target")
            message = taken(spec.target, *other)
            yield Finding(
                "block", "prepared", message, move=spec.name, file=folder.file, line=line, cure=taken_cure(other[0])
            )
        partitions, target, key = prepared.get(spec.name, (spec.partitions, spec.target.sql, None))
        if partitions != spec.partitions:
            message = other_partitions(spec.name, partitions, spec.partitions)
            cure, line = f"partitions = {partitions}", spec.line("partitions")
            yield Finding("block", "prepared", message, move=spec.name, file=folder.file, line=line, cure=cure)
        if key is not None and key != list(spec.key):
            message, line = other_key(spec.name, key, spec.key), spec.line("key")
            cure = f"key = {array(key)}, or a new move"
            yield Finding("block", "prepared", message, move=spec.name, file=folder.file, line=line, cure=cure)
        if target != spec.target.sql:
            message = f"{spec.name} was prepared for {target}, the plan says {spec.target}"
            cure, line = f"target = '{target}', or a new move", spec.line("target")
            yield Finding("block", "prepared", message, move=spec.name, file=folder.file, line=line, cure=cure)


def taken(target: Name, plan: str, move: str) -> str:
    """Why a target of another plan's move cannot be this one's."""
    return f"{target} is the target of {move} of the plan {plan}: each would undo what the other writes"


def taken_cure(plan: str) -> str:
    """What to do about it."""
    return f'another target; or name = "{plan}" if it is the same plan; or retire that one first'


def other_partitions(move: str, prepared: int, wanted: int) -> str:
    """Why a move keeps its number of partitions."""
    return (
        f"{move} was prepared with {counted(prepared, 'partition')}, the plan says {wanted}:"
        " keys would change partition, and with it their order"
    )


def other_key(move: str, prepared: Sequence[str], wanted: Sequence[str]) -> str:
    """Why a move keeps the columns of its key, and their order."""
    return (
        f"{move} was prepared with the key {array(prepared)}, the plan says {array(wanted)}:"
        " the keys in its log would be those of other rows"
    )


def array(names: Sequence[str]) -> str:
    """The columns of a key as a plan has them."""
    return orjson.dumps(list(names)).decode()


class _Server(NamedTuple):
    """A row of prepare/server.sql."""

    version: int
    wal_level: str
    standby: bool
    free: int
    mine: int
    may_replicate: bool
    may_create: bool
    role: str
    encoding: str

    def problems(self) -> Iterator[tuple[str, str]]:
        """What is wrong with the server itself, each with its cure."""
        if self.version < OLDEST * 10_000:
            yield f"PostgreSQL {OLDEST} or newer is needed, this is {self.version // 10_000}", "upgrade it"
        if self.wal_level != "logical":
            cure = "ALTER SYSTEM SET wal_level = logical, and restart the server"
            yield f"wal_level is {self.wal_level}, so changes cannot be decoded from its WAL", cure
        if self.free < 1 and not self.mine:
            yield "no replication slot is free", "raise max_replication_slots, and restart the server"
        if self.encoding == "SQL_ASCII":
            yield (
                "the database is in SQL_ASCII, which takes any bytes: those that are no text would stop the stream",
                "dump it and restore it into one in the encoding that its text is in",
            )


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
        if not before_ddl and move.facade is not None and not _schema_there(conn, move.facade):
            cure = schema_cure(move.facade.schema, move.ddl_file)
            wrong.append(f"{move.facade_at or 'facade'}: there is no schema for the facade {move.facade}: {cure}")
        wrong += [f"{why}: ALTER TABLE with {cure}" for why, cure in hidden(conn, move)]
    _refuse("these moves cannot be prepared", list(dict.fromkeys(wrong)))


def _schema_there(conn: Connection, name: Name) -> bool:
    row = conn.execute("SELECT to_regnamespace(%s) IS NOT NULL", (quote(name.schema),)).fetchone()
    return name.schema == CONTROL or bool(row and row[0])


IDENTITY = "replica-identity"  # the finding that prepare itself can mend


def check_findings(findings: Iterable[Finding], moves: Iterable[Move], *, but: str | None = None) -> None:
    """Raises Refused, with all of them, when a finding blocks one of the moves; the code `but` is left for later."""
    names = {move.name for move in moves}
    blocking = [
        placed(finding)
        for finding in findings
        if finding.severity == "block" and finding.code != but and (finding.move is None or finding.move in names)
    ]
    _refuse("the plan has blocking findings", blocking, cure="cutover plan --check")


def placed(finding: Finding) -> str:
    """A finding on one line, with its file, line and cure."""
    where = ":".join(str(part) for part in (finding.file, finding.line) if part is not None)
    return (f"{where}: " if where else "") + finding.message + (f" ({finding.cure})" if finding.cure else "")


def _refuse(what: str, wrong: list[str], cure: str | None = None) -> None:
    if wrong:
        raise Refused(f"{what}:\n  " + "\n  ".join(wrong), cure=cure)
