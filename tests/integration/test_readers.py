"""An ordinary role, with SELECT on the facade and nothing else, reads through every flip and waits for its own writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from cutover.flip import flip
from cutover.gate import GateClosed
from sql.connection import Connection, connect
from sql.files import migrations
from tests.integration.prepared import Prepared, small_world
from tests.integration.small_plan import FACADE, ORDERS, PART

COUNT = f"SELECT count(*) FROM {FACADE.sql}"
# The canary as versions before 0013 made it, over what they had in the control schema.
BEFORE_13 = f"""
ALTER TABLE cutover.move DROP COLUMN facade_forms;
ALTER FUNCTION cutover.reads_consolidated(text, text) SECURITY INVOKER;
ALTER FUNCTION cutover.wait_for(pg_lsn, text, text, interval) SECURITY INVOKER;
REVOKE USAGE ON SCHEMA cutover FROM PUBLIC;
UPDATE cutover.move SET percent = 1 WHERE move = 'part';
CREATE OR REPLACE VIEW {FACADE.sql} (id, name, version, price, note) AS
SELECT id, name, version, price, note FROM {PART.sql}
 WHERE (SELECT cutover.reads_consolidated('PLAN', 'part')) IS TRUE
UNION ALL
SELECT id, name, version, price::numeric(10,2), note FROM cutover.map_PLAN_part
 WHERE (SELECT cutover.reads_consolidated('PLAN', 'part')) IS NOT TRUE;
COMMENT ON VIEW {FACADE.sql} IS 'cutover: facade of PLAN.part, 0123456789abcdef'
"""


@pytest.fixture
def world(dsn: str, plan_name: str, tmp_path: Path) -> Iterator[Prepared]:
    with small_world(dsn, plan_name, tmp_path) as world:
        world.prepare()
        for move in ("part", "order"):
            world.open_gate(move)
        yield world


@pytest.fixture
def role(world: Prepared) -> Iterator[str]:
    """A role that may see the schema and SELECT from the facades; nobody tells the service of it."""
    name = f"app_{world.plan.name}"
    world.conn.execute(f"CREATE ROLE {name}")
    world.conn.execute(f'GRANT USAGE ON SCHEMA "Lager" TO {name}')
    world.conn.execute(f"GRANT SELECT ON {FACADE.sql}, {ORDERS.sql} TO {name}")
    yield name
    world.conn.execute(f"DROP OWNED BY {name}")
    world.conn.execute(f"DROP ROLE {name}")


@contextmanager
def session(world: Prepared, role: str, side: str | None = None) -> Iterator[Connection]:
    with connect(world.dsn, "application") as conn:
        conn.execute(f"SET ROLE {role}")
        if side is not None:
            conn.execute("SELECT set_config('cutover.side', %s, false)", (side,))
        yield conn


def reads(world: Prepared, role: str) -> None:
    """On whichever side it is, with each override, and once its write is there."""
    for side in (None, "consolidated", "legacy"):
        with session(world, role, side) as conn:
            assert conn.execute(COUNT).fetchone() == (100,)
    with session(world, role) as conn:
        conn.execute("SELECT cutover.wait_for('0/1')")
        conn.execute("SELECT cutover.wait_for('0/1', %s, 'part', '1 s')", (world.plan.name,))


def test_select_on_the_facade_is_enough_in_every_form(world: Prepared, role: str) -> None:
    """Each form of the facade reads with its owner's rights alone, whatever is taken from everybody."""
    world.conn.execute(
        f"REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA cutover FROM PUBLIC, {role};"
        " GRANT EXECUTE ON FUNCTION cutover.wait_for TO PUBLIC"
    )
    reads(world, role)
    for percent in (1, 50, 100, 30, 0):
        flip(world.dsn, world.plan, "part", "consolidated", percent)
        reads(world, role)
    with session(world, role) as conn:
        for denied in (f"SELECT FROM {PART.sql}", "SELECT FROM cutover.move", "SELECT FROM cutover.position"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(denied.encode())


def test_rights_copied_from_the_target_are_enough_too(world: Prepared, role: str) -> None:
    world.conn.execute(f"DROP VIEW {FACADE.sql}; GRANT SELECT ON {PART.sql} TO {role}")
    world.prepare()
    for percent in (1, 100, 0):
        flip(world.dsn, world.plan, "part", "consolidated", percent)
        reads(world, role)
    with session(world, role) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("SELECT FROM cutover.move")


def test_a_canary_of_a_version_before_is_cured_by_prepare(world: Prepared, role: str) -> None:
    world.conn.execute(BEFORE_13.replace("PLAN", world.plan.name).encode())
    with session(world, role) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(COUNT)
    world.conn.execute(dict(migrations())[13].encode())  # the control schema alone: the facade is as it was
    reads(world, role)
    world.prepare()
    reads(world, role)
    for percent in (100, 0):
        flip(world.dsn, world.plan, "part", "consolidated", percent)
        reads(world, role)


def test_prepare_gives_back_what_applications_need_to_wait(world: Prepared, role: str) -> None:
    world.conn.execute("REVOKE USAGE ON SCHEMA cutover FROM PUBLIC")
    world.conn.execute("REVOKE EXECUTE ON FUNCTION cutover.wait_for FROM PUBLIC")
    steps = world.prepare().steps
    assert [step.split(" ON ")[0] for step in steps] == ["GRANT USAGE", "GRANT EXECUTE"]
    reads(world, role)
    assert world.prepare().steps == []


def test_nothing_of_the_callers_runs_with_the_rights_of_who_made_wait_for(world: Prepared, role: str) -> None:
    """PostgreSQL looks for types in pg_temp first, where anybody can make some, unless the function says otherwise."""
    with session(world, role) as conn:
        conn.execute("CREATE DOMAIN pg_temp.timestamptz AS text CHECK (VALUE = 'never')")
        conn.execute("SELECT cutover.wait_for('0/1', %s, 'part')", (world.plan.name,))
        world.conn.execute("ALTER FUNCTION cutover.wait_for SET search_path = pg_catalog")  # as it must not be
        with pytest.raises(psycopg.errors.CheckViolation):
            conn.execute("SELECT cutover.wait_for('0/1', %s, 'part')", (world.plan.name,))


def test_the_gate_is_closed_when_the_facades_owner_may_not_read_the_target(world: Prepared, role: str) -> None:
    world.conn.execute(f'GRANT CREATE ON SCHEMA "Lager" TO {role}; ALTER VIEW {FACADE.sql} OWNER TO {role}')
    world.conn.execute(f"GRANT SELECT ON {world.plan.move('part').view.sql} TO {role}")
    world.conn.execute(f"GRANT SELECT (id, name, version, price) ON {PART.sql} TO {role}")
    with session(world, role) as conn:
        assert conn.execute(COUNT).fetchone() == (100,)
    with pytest.raises(GateClosed, match=f"GRANT SELECT ON .* TO {role}") as closed:
        flip(world.dsn, world.plan, "part", "consolidated", 1)
    assert [check.check for check in closed.value.checks if not check.ok] == ["readers"]
    world.conn.execute(f"GRANT SELECT (note) ON {PART.sql} TO {role}")
    flip(world.dsn, world.plan, "part", "consolidated", 1)
    with session(world, role, "consolidated") as conn:
        assert conn.execute(COUNT).fetchone() == (100,)


@pytest.mark.parametrize("percent", [0, 50, 100])
def test_s9_nobody_writes_through_the_facade_on_any_side(world: Prepared, percent: int) -> None:
    """Not even its owner: what is written to the consolidated side is drift, which a repair takes away again."""
    flip(world.dsn, world.plan, "part", "consolidated", percent)
    for statement in (
        f"UPDATE {FACADE.sql} SET name = 'x' WHERE id = 'p000001'",
        f"INSERT INTO {FACADE.sql} (id, name, version) VALUES ('new', 'n', 1)",
        f"DELETE FROM {FACADE.sql} WHERE id = 'p000001'",
    ):
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="cannot"):
            world.conn.execute(statement.encode())
    updatable = "SELECT is_updatable, is_insertable_into FROM information_schema.views WHERE table_name = %s"
    assert world.conn.execute(updatable.encode(), (FACADE.relation,)).fetchone() == ("NO", "NO")


LOOK_UPS = (
    "SELECT * FROM {} f WHERE id = 'p000007'",
    "SELECT * FROM {} f ORDER BY id LIMIT 5",
    "SELECT f.note FROM {} f WHERE id = ANY ('{{p000001,p000002}}') AND version = 1 FOR UPDATE",
    'SELECT s.id, f.price FROM "Lager"."Teil Preis" s LEFT JOIN {} f ON f.id = s."Teil" WHERE s.id = 3',
    'SELECT s.id FROM "Lager"."Teil Preis" s LEFT JOIN {} f ON f.id = s."Teil"',
    'SELECT s.id FROM "Lager"."Teil Preis" s WHERE EXISTS (SELECT FROM {} f WHERE f.id = s."Teil") AND s.id < 3',
    "SELECT max(id), count(*) FROM {} f",
)


def test_s11_the_consolidated_form_is_planned_as_the_target_itself(world: Prepared) -> None:
    """What forbids writing costs no reader anything: the plans are those of a query on the table."""
    flip(world.dsn, world.plan, "part", "consolidated")
    world.conn.execute("SET enable_seqscan = off")
    for query in LOOK_UPS:
        through, direct = (_plan(world.conn, query.format(name)) for name in (FACADE.sql, PART.sql))
        assert through.replace('"Teil" target', '"Teil" f').replace("target.", "f.") == direct, query


def _plan(conn: Connection, query: str) -> str:
    return "\n".join(str(row[0]) for row in conn.execute(f"EXPLAIN (COSTS OFF) {query}".encode()).fetchall())


def test_s11_for_update_locks_the_row_of_the_consolidated_side(world: Prepared) -> None:
    flip(world.dsn, world.plan, "part", "consolidated")
    with connect(world.dsn, "application") as conn, conn.transaction():
        conn.execute(f"SELECT FROM {FACADE.sql} WHERE id = 'p000001' FOR UPDATE")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            world.conn.execute(f"SELECT FROM {PART.sql} WHERE id = 'p000001' FOR UPDATE NOWAIT")
