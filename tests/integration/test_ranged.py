"""A mapping with a range written into its sources yields what its view yields in that range: random mappings, every
kind of a place, every move that the tests have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cutover.plan import load_plan
from reconcile.diff import Comparison
from reconcile.manner import Manner
from reconcile.one_move import OneMove
from reconcile.ranged import ranged
from sql import narrowed as narrowed_module
from sql.compile import compile_plan
from sql.connection import Connection, connect
from sql.functions import AGGREGATES
from sql.model import Plan
from sql.names import quote
from sql.narrowed import narrow
from sql.query import Leaf
from sql.render import _parameterised
from tests.integration.arena import arena
from tests.integration.rig import Rig
from tests.integration.soleflipper import planned
from tests.integration.test_mapping_truth import _SCHEMA, TABLES, Rows, _load, _mapping, _rows

_END = st.sampled_from([None, -1, 0, 1, 2])


def _within(low: int | None, high: int | None, names: Sequence[str]) -> str:
    tests = [f"{it} IS NOT NULL" for it in names]
    tests += [f"{it} > {low}" for it in names if low is not None]
    tests += [f"{it} <= {high}" for it in names if high is not None]
    return " AND ".join(tests)


def _bag(conn: Connection, sql: str) -> Counter[tuple[str, ...]]:
    return Counter(tuple(map(str, row)) for row in conn.execute(sql.encode(), prepare=False).fetchall())


def _random(conn: Connection, seen: list[int], examples: int) -> None:
    @settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate],
        derandomize=True,
    )  # fmt: skip
    @given(sql=_mapping(), rows=_rows(), low=_END, high=_END)
    def holds(sql: str, rows: Rows, low: int | None, high: int | None) -> None:
        conn.execute(
            f"DROP VIEW IF EXISTS random_mapping; CREATE TEMPORARY VIEW random_mapping AS {sql}".encode(), prepare=False
        )
        row = conn.execute("SELECT pg_get_viewdef('random_mapping'::regclass)").fetchone()
        assert row is not None
        found = narrow(str(row[0]).strip().removesuffix(";"), ("id",), TABLES, lambda *_: True, AGGREGATES)
        if found is None:
            return
        seen.append(len(found.places))
        _load(conn, rows)
        within = partial(_within, low, high)
        ranged_sql = f"SELECT * FROM ({found.query(within)}) r WHERE {within(['r.id'])}"
        expected = _bag(conn, f"SELECT * FROM random_mapping r WHERE {within(['r.id'])}")
        assert _bag(conn, ranged_sql) == expected, ranged_sql

    holds()


def test_a_range_in_the_sources_of_random_mappings_leaves_the_rows_of_the_range(dsn: str) -> None:
    with connect(dsn, "test") as conn:
        conn.execute(_SCHEMA.encode(), prepare=False)
        conn.execute("BEGIN")
        seen: list[int] = []
        _random(conn, seen, 500)
        assert len(seen) > 150
        assert max(seen) > 1


def test_a_range_in_a_place_whose_key_is_not_traced_would_be_seen(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def guess(leaf: Leaf, key: Any, names: tuple[str, ...]) -> tuple[str, ...]:
        return names

    monkeypatch.setattr(narrowed_module, "key_columns", guess)
    with connect(dsn, "test") as conn:
        conn.execute(_SCHEMA.encode(), prepare=False)
        conn.execute("BEGIN")
        with pytest.raises(AssertionError):
            _random(conn, [], 500)


_DDL = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE COLLATION old.bytes FROM "C";
CREATE TABLE old.a (id {type}, x text); CREATE TABLE old.b (id {type}, x text, n int);
CREATE TABLE old.c (id {other}, x text);
INSERT INTO old.a SELECT k, 'a' || k FROM unnest({keys}) k;
INSERT INTO old.b SELECT k, 'b' || k, n FROM unnest({keys}) WITH ORDINALITY u (k, n) WHERE n % 3 > 0;
INSERT INTO old.b SELECT k, 'again', 7 FROM unnest({keys}) WITH ORDINALITY u (k, n) WHERE n % 4 = 0;
INSERT INTO old.c SELECT k::{other}, 'c%' || k FROM unnest({keys}) WITH ORDINALITY u (k, n) WHERE n % 2 > 0;
INSERT INTO old.a VALUES (NULL, 'none'); INSERT INTO old.b VALUES (NULL, 'none', 1); INSERT INTO old.c VALUES (NULL, 'none');
CREATE TABLE new.t (id {bare} PRIMARY KEY, x text, y text);
"""
_NUMBERS, _WORDS = "ARRAY[1, 2, 3, 4, 5, 6, 7, 8]", "ARRAY['a', 'B', 'b', 'Ä', 'z', 'ab', 'É', '%s']"
_KEYS = {
    "int": ("int", "int", "int", _NUMBERS),
    "int4 and int8": ("int", "bigint", "int", _NUMBERS),
    "text": ("text", "text", "text", _WORDS),
    "collated": ("text COLLATE old.bytes", "text COLLATE old.bytes", "text", _WORDS),
    "collated and default": ("text COLLATE old.bytes", "text", "text", _WORDS),
}
_MAPPINGS = {
    "left": "SELECT a.id, a.x, c.x AS y FROM old.a LEFT JOIN old.c ON c.id = a.id",
    "right": "SELECT a.id, a.x, c.x || '%' AS y FROM old.c RIGHT JOIN old.a a ON c.id = a.id",
    "full": "SELECT id, a.x, b.x AS y FROM old.a FULL JOIN old.b USING (id)",
    "not exists": "SELECT a.id, a.x, 'y' AS y FROM old.a WHERE NOT EXISTS (SELECT 1 FROM old.b WHERE b.id = a.id)",
    "lateral": "SELECT a.id, a.x, n.y FROM old.a CROSS JOIN LATERAL (SELECT max(b.x) AS y, count(*) FROM old.b WHERE b.id = a.id) n",
    "self join": "SELECT a.id, a.x, z.x AS y FROM old.a JOIN old.a z ON z.id = a.id",
    "union": "SELECT id, x, 'a' AS y FROM old.a UNION ALL SELECT id, x, 'b' FROM old.b",
    "with": "WITH w AS (SELECT id, max(x) AS x FROM old.b GROUP BY id) SELECT a.id, a.x, w.x AS y FROM old.a LEFT JOIN w ON w.id = a.id",
    "with twice": "WITH w AS (SELECT id, x FROM old.b) SELECT a.id, a.x, w.x AS y FROM old.a LEFT JOIN w ON w.id = a.id LEFT JOIN w u ON u.x = a.x",
    "not the key": "SELECT a.id, a.x, b.x AS y FROM old.a LEFT JOIN old.b ON b.n::text = a.x",
    "whole row": "SELECT a.id, a.x, (a.*)::text AS y FROM old.a",
}  # fmt: skip


def _chunks(conn: Connection, comparison: Comparison, keys: Sequence[tuple[str, ...]]) -> int:
    """Every pair of bounds: the ranged mapping's rows are the view's. Returns how many places took the range."""
    pairs = comparison.pairs
    found = ranged(conn, comparison.move)
    if found is None:
        return 0
    comparison.carry(found)
    for low in [None, *keys]:
        for high in [None, *keys]:
            given = {
                f"{word}{at + 1}": part
                for word, end in (("lo", low), ("hi", high))
                for at, part in enumerate(end or ())
            }
            ends = (low is not None, high is not None)
            sides = [
                comparison.pairs._side("legacy", *ends, mapping) for mapping in (comparison.pairs._ranged(*ends), None)
            ]
            one, other = (_parameters(conn, side, given) for side in sides)
            assert one == other, (low, high, sides[0])
    comparison.pairs = pairs
    return len(found.places)


def _parameters(conn: Connection, side: str, given: dict[str, str]) -> Counter[tuple[str, ...]]:
    return Counter(tuple(map(str, row)) for row in conn.execute(_parameterised(side).encode(), given, prepare=False))


@pytest.mark.parametrize("key", _KEYS)
@pytest.mark.parametrize("mapping", _MAPPINGS)
def test_a_chunk_reads_what_the_view_has(dsn: str, mapping: str, key: str) -> None:
    kind, other, bare, keys = _KEYS[key]
    ddl = _DDL.format(type=kind, other=other, bare=bare, keys=keys)
    with arena(dsn, ddl, _MAPPINGS[mapping]) as it:
        ends = [(str(row[0]),) for row in it.run(f"SELECT k FROM unnest({keys}) k")]
        places = _chunks(it.conn, Comparison(it.conn, it.move), ends)
    if mapping == "whole row":
        assert places == 0
    elif mapping == "not the key":
        assert places == 1
    elif mapping == "left":
        assert places == (1 if key in ("int4 and int8", "collated and default") else 2)
    else:
        assert places >= 1


_SHOP = """
INSERT INTO shop.item (id, name) SELECT md5(n::text)::uuid, 'item ' || n FROM generate_series(1, 9) n;
INSERT INTO shop.item_cost SELECT id, 1, 'EUR' FROM shop.item WHERE left(id::text, 1) > '6';
INSERT INTO shop.item_state (item_id, state) SELECT id, 'new' FROM shop.item WHERE left(id::text, 1) < 'c';
INSERT INTO shop.item_hold (item_id, qty) SELECT id, n FROM shop.item, generate_series(1, 2) n;
INSERT INTO shop.payment (ref, amount) SELECT nullif('r' || n % 7, 'r3'), n FROM generate_series(1, 11) n;
INSERT INTO "Lager"."Preis" SELECT l, n, 'EUR', 1 FROM unnest(ARRAY['de', 'at', 'É']) l, unnest(ARRAY['1', 'a', '%s']) n;
INSERT INTO "Lager"."Rabatt" SELECT "Land", "Nummer", 0.5 FROM "Lager"."Preis" WHERE "Nummer" <> 'a';
"""


def test_the_moves_of_the_shop(dsn: str, plan_name: str, tmp_path: Path) -> None:
    it = Rig(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path)
    try:
        places = _every_move(it.conn, it.prepare(), _SHOP)
    finally:
        it.close()
    assert places == {"item": 4, "ledger": 2, "price": 2}


def test_the_moves_of_soleflipper(dsn: str) -> None:
    with planned(dsn, rows=20) as conn:
        folder = load_plan("soleflipper")
        places = _every_move(conn, compile_plan(conn, folder), "")
    assert all(number > 1 for number in places.values()), places


def _every_move(conn: Connection, plan: Plan, rows: str) -> dict[str, int]:
    if rows:
        conn.execute(rows.encode(), prepare=False)
    places = {}
    for move in plan.moves:
        conn.execute(f"COMMENT ON VIEW {move.view} IS '{move.mark}'".encode(), prepare=False)
        names = ", ".join(f"concat({quote(key.name)})" for key in move.key)
        keys = conn.execute(f"SELECT {names} FROM {move.view} ORDER BY random() LIMIT 7".encode()).fetchall()
        places[move.name] = _chunks(conn, Comparison(conn, move), [tuple(key) for key in keys if all(key)])
    return places


def test_the_view_is_read_where_the_sources_may_not_be(dsn: str) -> None:
    kind, other, bare, keys = _KEYS["int"]
    with arena(dsn, _DDL.format(type=kind, other=other, bare=bare, keys=keys), _MAPPINGS["left"]) as it:
        assert ranged(it.conn, it.move) is not None
        assert ranged(it.conn, replace(it.move, mapping_sql="SELECT 1")) is None
        run = OneMove(it.conn, it.conn, it.move, Manner(), others=[it.conn])
        assert run.parallel is not None
        assert all(
            "(SELECT id, x FROM old.c WHERE" in each.pairs.chunk(low=True, high=True) for each in run.parallel.others
        )
        it.run("CREATE ROLE reader_of_views; GRANT USAGE ON SCHEMA cutover, old TO reader_of_views")
        it.run(f"GRANT SELECT ON {it.move.view} TO reader_of_views")
        try:
            it.run("SET ROLE reader_of_views")
            assert it.run(f"SELECT count(*) FROM {it.move.view}")
            assert ranged(it.conn, it.move) is None
            it.run("RESET ROLE; ALTER TABLE old.c ENABLE ROW LEVEL SECURITY")
            assert ranged(it.conn, it.move) is None
        finally:
            it.run("RESET ROLE; DROP OWNED BY reader_of_views; DROP ROLE reader_of_views")


_UUIDS = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.a (id uuid PRIMARY KEY, x text); CREATE TABLE old.b (id uuid PRIMARY KEY, x text);
CREATE TABLE new.t (id uuid PRIMARY KEY, x text, y text);
INSERT INTO old.a SELECT md5(n::text)::uuid, 'a' FROM generate_series(1, 4000) n;
INSERT INTO old.b SELECT id, 'b' FROM old.a;
INSERT INTO new.t SELECT id, 'a', 'b' FROM old.a;
"""
_BUCKETS = """
ALTER TABLE old.a ALTER id SET STATISTICS {0}; ALTER TABLE old.b ALTER id SET STATISTICS {0};
ALTER TABLE new.t ALTER id SET STATISTICS {0}; ANALYZE old.a, old.b, new.t
"""


def test_a_range_of_which_the_planner_expects_nothing_stays_around_the_mapping(dsn: str) -> None:
    """R7: in a histogram of one bucket, as 50,000 keys of five million uuids are in. Each row of the one source would
    be joined with all of the other's."""
    mapping = "SELECT a.id, a.x, b.x AS y FROM old.a LEFT JOIN old.b ON b.id = a.id"
    with arena(dsn, _UUIDS, mapping) as it:
        comparison = Comparison(it.conn, it.move)
        comparison.carry(ranged(it.conn, it.move))
        low, high = comparison.bound("legacy", None, None, 1000), comparison.bound("legacy", None, None, 3000)
        within = comparison.pairs.chunk(low=True, high=True)
        around = comparison.pairs.chunk(low=True, high=True, narrowed=False)
        assert within != around
        for buckets, statement in ((1, around), (100, within)):
            it.conn.execute(_BUCKETS.format(buckets).encode(), prepare=False)
            assert comparison._chunk(low, high, 2000) == statement
            chunk = comparison.compare(low, high, 2000)
            assert chunk is not None
            assert (chunk.legacy, chunk.consolidated, chunk.different) == (2000, 2000, ())
