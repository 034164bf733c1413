"""The control schema stays closed where default privileges would open it: its documents show the application's cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cutover.prepare import prepare
from sql.connection import connect
from sql.names import Name
from tests.integration.prepared import Prepared, small_world
from tests.integration.small_plan import FACADE

OPEN = (
    "SELECT relname::text FROM pg_class WHERE relnamespace = 'cutover'::regnamespace AND ("
    "  relkind IN ('r', 'p', 'v', 'm', 'f') AND (has_table_privilege(%(role)s, oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')"
    "                                            OR has_any_column_privilege(%(role)s, oid, 'SELECT, INSERT, UPDATE'))"
    "  OR relkind = 'S' AND has_sequence_privilege(%(role)s, oid, 'USAGE, SELECT, UPDATE')) ORDER BY 1"
)
MADE = "SELECT count(*) FROM pg_class WHERE relnamespace = 'cutover'::regnamespace AND relkind IN ('r', 'v', 'S')"


@pytest.fixture
def world(dsn: str, plan_name: str, tmp_path: Path) -> Iterator[Prepared]:
    with small_world(dsn, plan_name, tmp_path) as world:
        yield world


@pytest.fixture
def readonly(world: Prepared) -> Iterator[str]:
    """A role that is given the right to read whatever is made, as many a database has one."""
    name = f"readonly_{world.plan.name}"
    world.conn.execute(f"CREATE ROLE {name}")
    world.conn.execute(
        f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {name}, PUBLIC;"
        f" ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO {name}"
    )
    yield name
    world.conn.execute(f"DROP OWNED BY {name}")
    world.conn.execute(f"DROP ROLE {name}")


def may_use(world: Prepared, role: str) -> list[str]:
    return [name for (name,) in world.conn.execute(OPEN.encode(), {"role": role})]


def test_default_privileges_do_not_open_the_control_schema(world: Prepared, readonly: str) -> None:
    steps = world.prepare().steps
    revoked = [step for step in steps if step.startswith("REVOKE ALL ON ")]
    assert {step.rsplit(" FROM ")[1] for step in revoked} == {f"{readonly} CASCADE", "PUBLIC CASCADE"}
    assert any(f"map_{world.plan.name}_part" in step for step in revoked)
    assert world.value(MADE) != 0
    assert may_use(world, readonly) == []
    assert world.prepare().steps == []
    with connect(world.dsn, "readonly") as conn:  # the facade is the application's: there the same privileges hold
        conn.execute(f'GRANT USAGE ON SCHEMA "Lager" TO {readonly}')
        conn.execute(f"SET ROLE {readonly}")
        assert conn.execute(f"SELECT count(*) FROM {FACADE.sql}").fetchone() == (100,)
        for table in ("reconcile_run", "review", "dead_letter", f"map_{world.plan.name}_part"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(f"SELECT FROM cutover.{table}".encode())


def test_prepare_closes_what_is_open_whoever_opened_it(world: Prepared, readonly: str) -> None:
    """A role's own grants, a column's, and what it has passed on; only what was open is told of."""
    world.prepare()
    other = f"{readonly}_2"
    world.conn.execute(f"CREATE ROLE {other}")
    try:
        world.conn.execute(f"GRANT SELECT ON cutover.review TO {readonly} WITH GRANT OPTION")
        world.conn.execute(f"GRANT SELECT (document), UPDATE (document) ON cutover.reconcile_run TO {readonly}")
        world.conn.execute(f"SET ROLE {readonly}")
        world.conn.execute(f"GRANT SELECT ON cutover.review TO {other}")
        world.conn.execute("RESET ROLE")
        assert (may_use(world, readonly), may_use(world, other)) == (["reconcile_run", "review"], ["review"])
        steps = [f"REVOKE ALL ON TABLE cutover.reconcile_run, cutover.review FROM {readonly} CASCADE"]
        assert world.prepare().steps == steps
        assert (may_use(world, readonly), may_use(world, other)) == ([], [])
    finally:
        world.conn.execute(f"DROP OWNED BY {other}")
        world.conn.execute(f"DROP ROLE {other}")


def test_a_facade_in_the_control_schema_keeps_its_readers(world: Prepared, readonly: str) -> None:
    moves = tuple(
        dataclasses.replace(move, facade=Name("cutover", "now")) if move.name == "part" else move
        for move in world.plan.moves
    )
    plan = dataclasses.replace(world.plan, moves=moves)
    prepare(world.dsn, plan, world.log, lambda: plan, ["part"], set_identity=True)
    assert may_use(world, readonly) == ["now"]


def test_whoever_owns_a_facade_goes_on_reading_the_mapping_for_its_readers(world: Prepared, readonly: str) -> None:
    world.prepare()
    mapping = world.plan.move("part").view
    world.conn.execute(
        f'GRANT USAGE, CREATE ON SCHEMA "Lager" TO {readonly}; ALTER VIEW {FACADE.sql} OWNER TO {readonly}'
    )
    world.conn.execute(f"GRANT SELECT ON {mapping.sql}, cutover.review TO {readonly}")
    assert world.prepare().steps == [f"REVOKE ALL ON TABLE cutover.review FROM {readonly} CASCADE"]
    assert may_use(world, readonly) == [mapping.relation]
    assert world.value(f"SELECT count(*) FROM {FACADE.sql}") == 100
