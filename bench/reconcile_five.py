"""Reconcile through a mapping of five tables, beside one count of it: SoleFlipper's stock move, as it is shipped."""

from __future__ import annotations

import secrets
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from cdc.log import open_log
from cutover.plan import load_plan
from cutover.prepare import prepare
from reconcile.run import reconcile
from sql.compile import compile_plan
from sql.connection import Connection, connect, own
from sql.model import Move, Plan
from sql.render import converge, key_parameters
from sql.soleflipper.seed import install

_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Counted:
    """Seconds for all rows of ours, of count(*), and of a count that has to compute every row of the mapping."""

    rows: int
    ours: float
    count: float
    whole: float
    longest_ms: float

    def line(self) -> str:
        return (
            f"reconcile through five tables, {self.rows:,} keys   ours {self.rows / self.ours:>9,.0f}/s"
            f"   count(*) {self.rows / self.count:>9,.0f}/s   count of whole rows {self.rows / self.whole:>9,.0f}/s"
            f"   ratios {self.count / self.ours:.2f}, {self.whole / self.ours:.2f}   (longest chunk {self.longest_ms:.0f} ms)"
        )


def measure(server: str, log: str, rows: int = 300_000) -> Counted:
    name = f"bench{secrets.token_hex(4)}"
    dsn = psycopg.conninfo.make_conninfo(server, dbname=name)
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
        try:
            return _measured(dsn, rows)
        finally:
            admin.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", (name,)
            )
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _measured(dsn: str, rows: int) -> Counted:
    with connect(dsn, "bench", synchronous_commit="off") as conn, tempfile.TemporaryDirectory() as folder:
        install(conn, rows, at=datetime.now(UTC) + timedelta(days=365))  # so that no reservation runs out meanwhile
        log = open_log(f"sqlite:///{Path(folder) / 'log.db'}")

        def compiled() -> Plan:
            return compile_plan(conn, load_plan("soleflipper"))

        prepare(dsn, compiled(), log, compiled, set_identity=True)
        plan = compiled()
        move = plan.move("stock")
        _fill(conn, move)
        conn.execute("VACUUM ANALYZE")
        conn.execute("SET max_parallel_workers_per_gather = 0")
        conn.execute("SET jit = off")
        whole = f"SELECT count(m) FROM {move.view} m"
        _seconds(conn, whole)  # the first reader fills the caches
        counted = _seconds(conn, f"SELECT count(*) FROM {move.view}"), _seconds(conn, whole)
        started = time.perf_counter()
        (report,) = reconcile(dsn, plan, ["stock"], log, record=False).moves
        ours = time.perf_counter() - started
        assert (report.rows.compared, report.rows.match) == (rows, rows), report
        log.close()
    found = Counted(rows, ours, *counted, report.chunks.longest_ms)
    print(found.line(), flush=True)
    return found


def _fill(conn: Connection, move: Move) -> None:
    """Converge every key, as a consumer does."""
    keys = [(str(key),) for (key,) in conn.execute("SELECT id FROM inventory.stock ORDER BY id").fetchall()]
    for at in range(0, len(keys), _AT_ONCE):
        with own(conn):
            parameters = key_parameters(keys[at : at + _AT_ONCE], 1)
            conn.execute(converge(move, move.written).encode(), parameters, prepare=False)


def _seconds(conn: Connection, query: str) -> float:
    started = time.perf_counter()
    conn.execute(query.encode())
    return time.perf_counter() - started
