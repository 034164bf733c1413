"""A plan of 500 sources: a hundred moves over five tables each, through one slot and one publication."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.rig import Rig, prepared

MOVES = 100
SCHEMA = "CREATE SCHEMA many;\n" + "\n".join(
    f"""CREATE TABLE many.base_{n} (id int PRIMARY KEY, a int, b int, c int, d int);
    CREATE TABLE many.a_{n} (id int PRIMARY KEY, value int); CREATE TABLE many.b_{n} (id int PRIMARY KEY, value int);
    CREATE TABLE many.c_{n} (id int PRIMARY KEY, value int); CREATE TABLE many.d_{n} (id int PRIMARY KEY, value int);"""
    for n in range(MOVES)
)
PLAN = 'name = "{name}"\n' + "\n".join(
    f'[moves.m{n}]\ntarget = "many.base_{n}"\nmapping = "m{n}.sql"\nkey = ["id"]\nrows = "existing"\npartitions = 1'
    for n in range(MOVES)
)
MAPPINGS = {
    f"m{n}.sql": f"""SELECT t.id, a.value AS a, b.value AS b, c.value AS c, d.value AS d FROM many.base_{n} t
    LEFT JOIN many.a_{n} a ON a.id = t.id LEFT JOIN many.b_{n} b ON b.id = t.id
    LEFT JOIN many.c_{n} c ON c.id = t.id LEFT JOIN many.d_{n} d ON d.id = t.id"""
    for n in range(MOVES)
}


@pytest.mark.parametrize("server", ["pg15"], indirect=True)
def test_a_plan_of_500_sources(dsn: str, plan_name: str, tmp_path: Path) -> None:
    """Every one of them streams: a write to each reaches its own target, and one worker serves all moves."""
    address = f"sqlite:///{tmp_path / 'log.db'}"
    with prepared(Rig(dsn, plan_name, address, tmp_path, SCHEMA, {"plan.toml": PLAN, **MAPPINGS})) as rig:
        assert sum(len(move.sources) for move in rig.plan.moves) == 500
        rig.capture()
        rig.consume()
        for n in range(MOVES):
            rig.conn.execute(
                f"INSERT INTO many.base_{n} VALUES (1), (2);"
                f"INSERT INTO many.a_{n} VALUES (1, {n}); INSERT INTO many.b_{n} VALUES (1, {n}), (2, 7);"
                f"INSERT INTO many.c_{n} VALUES (2, {n}); INSERT INTO many.d_{n} VALUES (1, 3);"
                f"DELETE FROM many.b_{n} WHERE id = 2".encode(),
                prepare=False,
            )
        rig.drain(120)
        assert rig.differences() == {}
        row = rig.conn.execute(f"SELECT a, b, c, d FROM many.base_{MOVES - 1} ORDER BY id").fetchall()
        assert row == [(MOVES - 1, MOVES - 1, None, 3), (None, None, MOVES - 1, None)]
        assert rig.stop() == []
