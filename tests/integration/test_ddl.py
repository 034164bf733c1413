"""A plan's DDL runs online, once, and can be taken up where it was left."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from sql.connection import Connection, connect
from sql.ddl import run_ddl
from sql.errors import Refused
from tests.integration.background import Background

DDL = """
CREATE TABLE s.made (id int PRIMARY KEY);
ALTER TABLE s.t ADD COLUMN a numeric(10,2), ADD COLUMN "B" text NOT NULL DEFAULT 'x',
    ADD CONSTRAINT a_positive CHECK (a > 0) NOT VALID;
ALTER TABLE s.t VALIDATE CONSTRAINT a_positive;
CREATE UNIQUE INDEX CONCURRENTLY t_n ON s.t (n);
"""


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    with connect(dsn, "test") as conn:
        conn.execute("CREATE SCHEMA s")
        conn.execute("CREATE TABLE s.t AS SELECT n FROM generate_series(1, 1000) n")
        yield conn


def test_a_second_run_does_nothing_and_takes_no_lock(conn: Connection, dsn: str) -> None:
    assert len(run_ddl(conn, DDL)) == 4
    with connect(dsn, "reader") as reader, reader.transaction():
        reader.execute("SELECT FROM s.t")
        assert run_ddl(conn, DDL) == []


def test_it_goes_on_where_it_was_left(conn: Connection) -> None:
    conn.execute("ALTER TABLE s.t ADD COLUMN a numeric(10,2)")
    done = run_ddl(conn, DDL)
    assert not any("ADD COLUMN a " in statement for statement in done)
    assert any('ADD COLUMN "B"' in statement for statement in done)


def test_an_invalid_index_is_built_again(conn: Connection) -> None:
    conn.execute("INSERT INTO s.t VALUES (1)")
    with pytest.raises(Refused, match=r"m\.sql:\d+: index s\.t_n: .*unique index.*23505") as refused:
        run_ddl(conn, DDL, file="m.sql")
    assert isinstance(refused.value.__cause__, psycopg.errors.UniqueViolation)
    conn.execute("DELETE FROM s.t WHERE ctid = (SELECT max(ctid) FROM s.t WHERE n = 1)")
    assert [statement.split()[0] for statement in run_ddl(conn, DDL)] == ["DROP", "CREATE"]
    row = conn.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = 's.t_n'::regclass").fetchone()
    assert row == (True,)


def test_a_volatile_default_would_rewrite_the_table(conn: Connection) -> None:
    with pytest.raises(Refused, match="gen_random_uuid"):
        run_ddl(conn, "ALTER TABLE s.t ADD COLUMN u uuid DEFAULT gen_random_uuid()")
    run_ddl(conn, "ALTER TABLE s.t ADD COLUMN at timestamptz DEFAULT now()")


def test_s1_a_long_reader_delays_the_column_and_nobody_else(conn: Connection, dsn: str) -> None:
    with connect(dsn, "long") as long, long.transaction():
        long.execute("SELECT count(*) FROM s.t")
        adding = Background(lambda: run_ddl(conn, "ALTER TABLE s.t ADD COLUMN a int"))
        waits = []
        with connect(dsn, "reader") as reader:
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline:
                began = time.monotonic()
                reader.execute("SELECT count(*) FROM s.t")
                waits.append(time.monotonic() - began)
        assert adding.running
    assert adding.join() is None
    assert max(waits) < 0.8, max(waits)


def test_what_postgresql_does_not_take_names_file_line_and_cure(conn: Connection) -> None:
    with pytest.raises(Refused, match=r'm\.sql:2: table gone\.u: schema "gone" does not exist') as refused:
        run_ddl(conn, "CREATE SCHEMA IF NOT EXISTS s;\nCREATE TABLE gone.u ();", file="m.sql")
    assert "CREATE SCHEMA" in (refused.value.hint or "")
