"""The stage that the stream's measurements share: one satellite and one base table, a plan over them, and their load."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from cdc.log import Log, open_log
from cutover.plan import load_plan
from cutover.prepare import prepare
from sql.compile import compile_plan
from sql.connection import Connection, connect
from sql.model import Plan

SCHEMA = """
CREATE SCHEMA b;
CREATE TABLE b.stock (id uuid PRIMARY KEY, name text, purchase_price numeric(10,2), sale_price numeric(10,2),
                      currency text, updated_at timestamp);
CREATE TABLE b.stock_financial (stock_id uuid PRIMARY KEY, purchase_price numeric(10,2), sale_price numeric(10,2),
                                currency text, updated_at timestamp);
CREATE TABLE b.numbered (n int PRIMARY KEY, id uuid NOT NULL);
"""
FILL = """
INSERT INTO b.stock (id, name) SELECT gen_random_uuid(), 'item ' || n FROM generate_series(1, {rows}) n;
INSERT INTO b.stock_financial SELECT id, 10, 20, 'EUR', now() FROM b.stock;
INSERT INTO b.numbered SELECT row_number() OVER (), id FROM b.stock;
UPDATE b.stock s SET purchase_price = f.purchase_price, sale_price = f.sale_price, currency = f.currency,
                     updated_at = f.updated_at FROM b.stock_financial f WHERE f.stock_id = s.id;
"""
# One transaction a change: random keys, of which `hot` out of 1 fall on one hundredth of them; or scattered keys, none
# of them twice: multiples of a prime that divides no number of rows used here are a permutation that nobody has to hold.
LOAD = """
CREATE PROCEDURE b.load(transactions int, rows int, hot float8) LANGUAGE plpgsql AS $$
DECLARE
    which int;
BEGIN
    FOR i IN 1..transactions LOOP
        which := 1 + floor(random() * CASE WHEN random() < hot THEN rows / 100 ELSE rows END);
        UPDATE b.stock_financial SET sale_price = i % 90000 + random(), updated_at = clock_timestamp()
         WHERE stock_id = (SELECT id FROM b.numbered WHERE n = which);
        COMMIT;
    END LOOP;
END $$;
CREATE PROCEDURE b.load_once(transactions int, rows int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..transactions LOOP
        UPDATE b.stock_financial SET sale_price = i % 90000 + random(), updated_at = clock_timestamp()
         WHERE stock_id = (SELECT id FROM b.numbered WHERE n = 1 + i * 2654435761 % rows);
        COMMIT;
    END LOOP;
END $$;
"""
PLAN = """
name = "{name}"
[moves.stock]
target  = "b.stock"
mapping = "stock.sql"
key     = ["id"]
rows    = "existing"
"""
MAPPING = """
SELECT s.id, s.name, f.purchase_price, f.sale_price, f.currency, f.updated_at
  FROM b.stock s LEFT JOIN b.stock_financial f ON f.stock_id = s.id
"""


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of a stage as SQL with {rows}, its plan.toml with {name}, and its mapping by its file's name."""

    setup: str
    plan: str
    mapping: dict[str, str]


JOINED = Tables(SCHEMA + LOAD + FILL, PLAN, {"stock.sql": MAPPING})


class Stage:
    """A database of its own with the tables filled, the plan prepared, and nothing running."""

    def __init__(self, server: str, log: str, rows: int, folder: Path, tables: Tables = JOINED) -> None:
        self.server, self.rows = server, rows
        self.name = f"bench{secrets.token_hex(4)}"
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {self.name}".encode())
        self.dsn = psycopg.conninfo.make_conninfo(server, dbname=self.name)
        self.address = log if log.startswith("kafka") else f"sqlite:///{folder / 'log.db'}"
        self.folder = folder / "plan"
        self.folder.mkdir()
        (self.folder / "plan.toml").write_text(tables.plan.format(name=self.name))
        for file, text in tables.mapping.items():
            (self.folder / file).write_text(text)
        self.conn: Connection = connect(self.dsn, "bench", synchronous_commit="off")
        self.conn.execute(tables.setup.format(rows=rows).encode(), prepare=False)
        self.conn.execute("VACUUM ANALYZE")
        self.conn.execute("CHECKPOINT")
        self.log: Log = open_log(self.address)
        self.environment = {
            **os.environ,
            "CUTOVER_DSN": self.dsn,
            "CUTOVER_LOG": self.address,
            "CUTOVER_PLAN": str(self.folder),
        }

    def prepare(self) -> Plan:
        prepare(self.dsn, self.compile(), self.log, self.compile, set_identity=True)
        self.plan = self.compile()
        return self.plan

    def compile(self) -> Plan:
        with connect(self.dsn, "bench") as conn:
            return compile_plan(conn, load_plan(str(self.folder)))

    def load(self, transactions: int, hot: float = 0.0) -> None:
        """One-row transactions over random keys."""
        self.conn.execute("CALL b.load(%s, %s, %s)", (transactions, self.rows, hot))

    def load_once(self, transactions: int) -> None:
        """One-row transactions over scattered keys, each key at most once. Raises ValueError for more of them than rows."""
        if transactions > self.rows:
            raise ValueError(f"{transactions} changes of {self.rows} rows cannot fall on a key each")
        self.conn.execute("CALL b.load_once(%s, %s)", (transactions, self.rows))

    def load_whole(self) -> None:
        """One transaction that changes every row."""
        self.conn.execute("UPDATE b.stock_financial SET sale_price = 90000 - sale_price, updated_at = now()")

    def lsn(self) -> str:
        """The end of the WAL now, with a committed transaction behind it."""
        self.conn.execute("SET synchronous_commit = on")
        row = self.conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        self.conn.execute("SELECT pg_logical_emit_message(true, 'bench', 'end')")
        self.conn.execute("SET synchronous_commit = off")
        assert row is not None
        return str(row[0])

    @contextmanager
    def process(self, *command: str, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """One of our own processes, ended with SIGTERM."""
        child = subprocess.Popen(
            [sys.executable, "-m", "cutover", *command],
            env={**self.environment, **(environment or {})},
            stderr=subprocess.DEVNULL if not os.environ.get("BENCH_VERBOSE") else None,
        )
        try:
            yield child
        finally:
            child.terminate()
            child.wait(30)

    def applied(self, lsn: str, timeout: float = 600) -> None:
        """Wait until everything before an LSN is in the target. In many short statements: one long one would keep
        every dead row of the target alive, which nobody's application does."""
        deadline = time.monotonic() + timeout
        while True:
            row = self.conn.execute("SELECT cutover.applied_lsn(%s) >= %s", (self.name, lsn), prepare=True).fetchone()
            if row and row[0]:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{lsn} is not applied after {timeout:g} s")
            time.sleep(0.005)

    def proven(self) -> None:
        """Raises unless both sides agree: a measurement of a wrong result is none."""
        row = self.conn.execute(
            "SELECT count(*) FROM b.stock s JOIN b.stock_financial f ON f.stock_id = s.id"
            " WHERE (s.purchase_price, s.sale_price, s.currency, s.updated_at)"
            " IS DISTINCT FROM (f.purchase_price, f.sale_price, f.currency, f.updated_at)"
        ).fetchone()
        assert row is not None
        if row[0]:
            raise AssertionError(f"{row[0]} rows differ")

    def close(self) -> None:
        self.conn.close()
        with suppress(Exception):
            for move in self.plan.moves:
                self.log.delete_topic(move.topic)
        self.log.close()
        with psycopg.connect(self.server, autocommit=True) as admin:
            ended = (
                "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE database = %s AND active"
            )
            admin.execute(ended, (self.name,))
            for (slot,) in admin.execute(
                "SELECT slot_name FROM pg_replication_slots WHERE database = %s", (self.name,)
            ).fetchall():
                admin.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
            admin.execute(f"DROP DATABASE {self.name} WITH (FORCE)".encode())


@contextmanager
def stage(server: str, log: str, rows: int, tables: Tables = JOINED) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="cutover-bench-") as folder:
        made = Stage(server, log, rows, Path(folder), tables)
        try:
            made.prepare()
            yield made
        finally:
            made.close()


class Native:
    """PostgreSQL's own logical replication of the satellite into a plain copy, in another database of the server."""

    def __init__(self, made: Stage) -> None:
        self.made = made
        self.name = f"{made.name}_copy"
        with psycopg.connect(made.server, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {self.name}".encode())
        self.conn = connect(psycopg.conninfo.make_conninfo(made.server, dbname=self.name), "bench")
        made.conn.execute("CREATE PUBLICATION bench_native FOR TABLE b.stock_financial")
        made.conn.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (self.name,))
        self.conn.execute(
            "CREATE SCHEMA b; CREATE TABLE b.stock_financial (stock_id uuid PRIMARY KEY, purchase_price numeric(10,2),"
            " sale_price numeric(10,2), currency text, updated_at timestamp)",
            prepare=False,
        )
        with (
            made.conn.cursor().copy("COPY b.stock_financial TO STDOUT") as source,
            self.conn.cursor().copy("COPY b.stock_financial FROM STDIN") as sink,
        ):
            for block in source:
                sink.write(block)
        self.conn.execute("VACUUM ANALYZE")
        self.conn.execute(
            psycopg.sql.SQL(
                "CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION bench_native"
                " WITH (create_slot = false, slot_name = {}, copy_data = false, enabled = false)"
            ).format(
                psycopg.sql.Identifier(self.name),
                psycopg.sql.Literal(made.dsn),
                psycopg.sql.Literal(self.name),
            )
        )

    def drain(self, lsn: str) -> float:
        """Seconds from enabling the subscription until it has applied everything before an LSN."""
        started = time.perf_counter()
        self.conn.execute(f"ALTER SUBSCRIPTION {self.name} ENABLE".encode())
        while True:
            row = self.made.conn.execute(
                "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s",
                (lsn, self.name),
            ).fetchone()
            if row and row[0]:
                break
            row = self.conn.execute(
                "SELECT latest_end_lsn >= %s::pg_lsn FROM pg_stat_subscription WHERE subname = %s", (lsn, self.name)
            ).fetchone()
            if row and row[0]:
                break
            time.sleep(0.01)
        seconds = time.perf_counter() - started
        self.conn.execute(f"ALTER SUBSCRIPTION {self.name} DISABLE".encode())
        return seconds

    def close(self) -> None:
        self.conn.execute(f"ALTER SUBSCRIPTION {self.name} SET (slot_name = NONE)".encode())
        self.conn.execute(f"DROP SUBSCRIPTION {self.name}".encode())
        self.conn.close()
        with psycopg.connect(self.made.server, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {self.name} WITH (FORCE)".encode())
