"""What applications do with the facade goes on through every flip."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Numeric, Text, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool

from cutover.flip import flip
from sql.connection import connect
from tests.integration.background import Background
from tests.integration.prepared import Prepared, small_world
from tests.integration.small_plan import FACADE, PART
from tests.services.postgres import PostgresServer, find_binaries

SIDES = ("consolidated", "legacy", "consolidated", "legacy", "consolidated")


@pytest.fixture
def world(dsn: str, plan_name: str, tmp_path: Path) -> Iterator[Prepared]:
    with small_world(dsn, plan_name, tmp_path) as world:
        world.prepare()
        # As after the stream: both sides say the same.
        world.conn.execute(
            f"UPDATE {PART.sql} t SET price = m.price, note = m.note FROM {world.plan.move('part').view.sql} m"
            " WHERE m.id = t.id"
        )
        world.open_gate()
        yield world


def _flips(world: Prepared) -> None:
    for side in SIDES:
        percent = 50 if side == "consolidated" else None
        if percent is not None:
            flip(world.dsn, world.plan, "part", "consolidated", percent)
        flip(world.dsn, world.plan, "part", "consolidated" if side == "consolidated" else "legacy")


def test_s6_prepared_statements_go_on(world: Prepared) -> None:
    """The same server-side statement before, between and after; 0A000 would be an error here."""
    with connect(world.dsn, "application") as conn:
        conn.prepare_threshold = 0
        query = f"SELECT id, name, version, price, note FROM {FACADE.sql} WHERE id = %s"
        seen = []
        for side in ("legacy", *SIDES):
            flip(world.dsn, world.plan, "part", "consolidated" if side == "consolidated" else "legacy")
            for key in ("p000001", "p000002"):
                seen.append(conn.execute(query.encode(), (key,)).fetchone())
            flip(world.dsn, world.plan, "part", "consolidated", 50)
            seen.append(conn.execute(query.encode(), ("p000001",)).fetchone())
        assert len(set(seen)) == 2
        names = conn.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT id, name%'")
        assert names.fetchone() == (1,)


class _Base(DeclarativeBase):
    pass


class _Part(_Base):
    """The table, with a version counter, as an application writes it."""

    __tablename__ = PART.relation
    __table_args__ = {"schema": PART.schema}  # noqa: RUF012 - as SQLAlchemy wants it
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class _PartNow(_Base):
    """The facade, as an application reads it."""

    __tablename__ = FACADE.relation
    __table_args__ = {"schema": FACADE.schema}  # noqa: RUF012
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column()
    price: Mapped[object] = mapped_column(Numeric(10, 2))


def test_s6_an_orm_session_with_a_version_counter_goes_on(world: Prepared) -> None:
    engine = create_engine(world.dsn.replace("postgresql://", "postgresql+psycopg://"), poolclass=NullPool)
    stop = threading.Event()
    rounds = 0

    def work() -> None:
        nonlocal rounds
        with Session(engine) as session:
            session.connection().connection.dbapi_connection.prepare_threshold = 0  # type: ignore[union-attr]
            while not stop.is_set():
                part = session.scalars(select(_Part).where(_Part.id == "p000003")).one()
                part.name = f"renamed {rounds}"
                session.flush()
                now = session.scalars(
                    select(_PartNow).where(_PartNow.id == "p000003").execution_options(populate_existing=True)
                ).one()
                assert (now.name, now.version) == (part.name, part.version)
                assert now.price is not None
                session.rollback() if rounds % 5 == 4 else session.commit()
                rounds += 1

    working = Background(work)
    try:
        _flips(world)
    finally:
        stop.set()
    assert working.join() is None
    engine.dispose()
    assert rounds > 5


def test_s6_pgbench_prepared_runs_through_five_flips(world: Prepared, server: PostgresServer, tmp_path: Path) -> None:
    script = tmp_path / "read.sql"
    script.write_text(
        "\\set n random(1, 100)\n"
        f"SELECT id, price, note FROM {FACADE.sql} WHERE id = 'p' || lpad((:n)::text, 6, '0');\n"
        f"SELECT id, price FROM {FACADE.sql} ORDER BY id LIMIT 3;\n"
    )
    command = [
        str(find_binaries(server.version) / "pgbench"), "-n", "-M", "prepared", "-c", "3", "-T", "4",
        "-f", str(script), world.dsn,
    ]  # fmt: skip
    pgbench = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pgbench'"
    )
    deadline = time.monotonic() + 10
    while world.value(running) != 3:
        assert time.monotonic() < deadline, "pgbench did not start"
    _flips(world)
    assert pgbench.poll() is None, "the flips were to happen while it runs"
    out, _ = pgbench.communicate(timeout=30)
    assert pgbench.returncode == 0, out
    assert "ERROR" not in out
    assert "number of failed transactions: 0" in out


def test_s10_wait_for_returns_once_the_write_is_applied(world: Prepared) -> None:
    flip(world.dsn, world.plan, "part", "consolidated")
    with connect(world.dsn, "application") as conn:
        conn.execute("UPDATE cutover.position SET applied_lsn = '0/1'")
        conn.execute(f"UPDATE {PART.sql} SET name = 'written' WHERE id = 'p000001'")
        row = conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        assert row is not None
        waiting = Background(
            lambda: conn.execute("SELECT cutover.wait_for(%s::pg_lsn, %s, 'part')", (*row, world.plan.name))
        )
        world.conn.execute("UPDATE cutover.position SET applied_lsn = %s WHERE partition = 0", row)
        time.sleep(0.1)
        assert waiting.running  # one partition is not all of them
        world.conn.execute("UPDATE cutover.position SET applied_lsn = %s WHERE partition = 1", row)
        assert waiting.join() is None


def test_s10_wait_for_says_why_it_cannot_wait(world: Prepared) -> None:
    world.conn.execute("UPDATE cutover.position SET applied_lsn = '0/1'")
    with pytest.raises(psycopg.errors.RaiseException, match="applied"):
        world.conn.execute("SELECT cutover.wait_for('FFFF/0', %s, 'part', '50 ms')", (world.plan.name,))
    with pytest.raises(psycopg.errors.RaiseException, match="no such plan or move"):
        world.conn.execute("SELECT cutover.wait_for('0/1', 'unknown')")
    with world.conn.transaction():
        world.conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with pytest.raises(psycopg.errors.RaiseException, match="repeatable read"), world.conn.transaction():
            world.conn.execute("SELECT cutover.wait_for('0/1')")
