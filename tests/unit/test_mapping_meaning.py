"""What the analysis says beyond keys: lineage, own columns, one row per key, functions."""

from __future__ import annotations

import pytest

from sql.mapping import MappingAnalysis, OutputUse, analyse
from sql.names import Name
from sql.query import Shape

STOCK, FACT, HOLD = (Name("w", it) for it in ("stock", "fact", "hold"))
TABLES = {
    STOCK: Shape.plain("id", "sku", "price", "parent", unique=[["id"]]),
    FACT: Shape.plain("stock_id", "price", "fee", "kind", unique=[["stock_id"]]),
    HOLD: Shape.plain("hold_id", "stock_id", "qty", "until", "state", unique=[["hold_id"], ["stock_id", "state"]]),
}


def read(sql: str, *, clock_declared: bool = False) -> MappingAnalysis:
    return analyse(sql, ("id",), STOCK, TABLES, file="m.sql", clock_declared=clock_declared)


def column(found: MappingAnalysis, name: str) -> OutputUse:
    return next(output for output in found.outputs if output.name == name)


def codes(found: MappingAnalysis) -> list[str]:
    return [finding.code for finding in found.findings]


LEFT = "SELECT s.id, s.sku, f.price, f.fee FROM w.stock s LEFT JOIN w.fact f ON f.stock_id = s.id"


def test_a_left_join_to_one_row_concerns_only_the_columns_that_use_it() -> None:
    found = read(LEFT)
    assert column(found, "sku").depends == {STOCK}
    assert column(found, "price").depends == {STOCK, FACT}
    assert found.rows == {STOCK}


def test_an_inner_join_concerns_every_column() -> None:
    found = read(LEFT.replace("LEFT JOIN", "JOIN"))
    assert column(found, "sku").depends == {STOCK, FACT}
    assert found.rows == {STOCK, FACT}


def test_exists_concerns_every_column() -> None:
    found = read(LEFT + " WHERE EXISTS (SELECT FROM w.hold h WHERE h.stock_id = s.id AND h.state = 'on')")
    assert column(found, "sku").depends == {STOCK, HOLD}
    assert next(it for it in found.sources if it.name == HOLD).columns == {"stock_id", "state"}


def test_captured_columns_are_those_used_and_nothing_else() -> None:
    found = read(LEFT + " AND f.kind = 'x'")
    assert next(it for it in found.sources if it.name == FACT).columns == {"stock_id", "price", "fee", "kind"}
    assert next(it for it in found.sources if it.name == STOCK).columns == {"id"}


def test_own_columns_are_the_target_s_own_passed_through() -> None:
    found = read(
        "SELECT s.id, s.sku, s.price AS parent, coalesce(f.price, s.price) AS price"
        " FROM w.stock s LEFT JOIN w.fact f ON f.stock_id = s.id"
    )
    assert {output.name: output.own for output in found.outputs} == {
        "id": True, "sku": True, "parent": False, "price": False,
    }  # fmt: skip


def test_another_row_of_the_target_is_not_its_own() -> None:
    found = read("SELECT s.id, p.sku FROM w.stock s LEFT JOIN w.stock p ON p.id = s.parent")
    assert not column(found, "sku").own


def test_own_through_a_sub_select_and_a_cte() -> None:
    assert column(read("WITH q AS (SELECT * FROM w.stock) SELECT id, sku FROM (SELECT * FROM q) r"), "sku").own


def test_origin_is_what_the_value_is_made_of() -> None:
    found = read(
        "SELECT s.id, q.total FROM w.stock s LEFT JOIN LATERAL"
        " (SELECT sum(h.qty) AS total FROM w.hold h WHERE h.stock_id = s.id AND h.state = 'on') q ON true"
    )
    assert column(found, "total").origin == {(HOLD, "qty")}
    assert column(found, "total").reads == {(HOLD, "qty"), (HOLD, "stock_id"), (HOLD, "state"), (STOCK, "id")}


UNIQUE = {
    "unique on the join column": LEFT,
    "part of a composite unique index is a constant": (
        "SELECT s.id, h.qty FROM w.stock s LEFT JOIN w.hold h ON h.stock_id = s.id AND h.state = 'on'"
    ),
    "aggregated": (
        "SELECT s.id, q.n FROM w.stock s LEFT JOIN"
        " (SELECT stock_id, sum(qty) AS n FROM w.hold GROUP BY stock_id) q ON q.stock_id = s.id"
    ),
    "lateral, limit 1": (
        "SELECT s.id, q.qty FROM w.stock s LEFT JOIN LATERAL"
        " (SELECT qty FROM w.hold h WHERE h.stock_id = s.id ORDER BY until LIMIT 1) q ON true"
    ),
    "row_number = 1": (
        "SELECT q.stock_id AS id, q.qty FROM (SELECT stock_id, qty, row_number()"
        " OVER (PARTITION BY stock_id ORDER BY until) AS rn FROM w.hold) q WHERE q.rn = 1"
    ),
    "count(*) = 1": (
        "SELECT q.stock_id AS id FROM (SELECT stock_id, count(*) OVER (PARTITION BY stock_id) AS n FROM w.hold) q"
        " WHERE q.n = 1"
    ),
    "distinct on": "SELECT DISTINCT ON (stock_id) stock_id AS id, qty FROM w.hold ORDER BY stock_id, until",
    "grouped": "SELECT stock_id AS id, sum(qty) AS n FROM w.hold GROUP BY stock_id",
    "full join on the key": (
        "SELECT id, price FROM (SELECT id FROM w.stock) s "
        " FULL JOIN (SELECT stock_id AS id, price FROM w.fact) f USING (id)"
    ),
    "scalar sub-select": "SELECT s.id, (SELECT max(qty) FROM w.hold h WHERE h.stock_id = s.id) AS n FROM w.stock s",
}


@pytest.mark.parametrize("case", UNIQUE)
def test_one_row_per_key_is_proven(case: str) -> None:
    found = read(UNIQUE[case])
    assert found.unique
    assert not {"one-to-many", "not-unique"} & set(codes(found))


def test_A8_a_one_to_many_source_that_is_not_aggregated_is_refused_by_name() -> None:
    found = read("SELECT s.id, h.qty\n  FROM w.stock s\n  LEFT JOIN w.hold h ON h.stock_id = s.id")
    (finding,) = (it for it in found.findings if it.code == "one-to-many")
    assert not found.unique
    assert (finding.severity, finding.file, finding.line) == ("block", "m.sql", 3)
    assert "w.hold" in finding.message
    assert "aggregate" in (finding.cure or "")


MANY = {
    "in a sub-select": "SELECT s.id, q.qty FROM w.stock s LEFT JOIN (SELECT * FROM w.hold) q ON q.stock_id = s.id",
    "limit 2": (
        "SELECT s.id, q.qty FROM w.stock s LEFT JOIN LATERAL"
        " (SELECT qty FROM w.hold h WHERE h.stock_id = s.id ORDER BY until LIMIT 2) q ON true"
    ),
    "grouped too finely": (
        "SELECT s.id, q.n FROM w.stock s LEFT JOIN (SELECT stock_id, state, sum(qty) AS n FROM w.hold"
        " GROUP BY stock_id, state) q ON q.stock_id = s.id"
    ),
    "rollup": (
        "SELECT s.id, q.n FROM w.stock s LEFT JOIN (SELECT stock_id, sum(qty) AS n FROM w.hold"
        " GROUP BY GROUPING SETS ((stock_id), ())) q ON q.stock_id = s.id"
    ),
    "cross join": "SELECT s.id, h.qty FROM w.stock s, w.hold h WHERE h.stock_id = s.id",
}


@pytest.mark.parametrize("case", MANY)
def test_A8_many_rows_are_found_wherever_they_hide(case: str) -> None:
    found = read(MANY[case])
    assert not found.unique
    assert "one-to-many" in codes(found)


def test_A7_a_key_that_nothing_makes_unique_is_told() -> None:
    found = read("SELECT h.stock_id AS id, h.qty FROM w.hold h")
    assert not found.unique
    assert [(it.code, it.severity) for it in found.findings] == [("not-unique", "warn")]


def test_a_set_returning_function_multiplies_rows() -> None:
    assert not read("SELECT s.id, jsonb_array_elements(s.sku) AS price FROM w.stock s").unique
    assert not read("SELECT s.id, e.v FROM w.stock s, unnest(s.sku) AS e(v)").unique


@pytest.mark.parametrize("word", ["now()", "current_date", "CURRENT_TIMESTAMP", "localtime", "age(s.until)"])
def test_A10_the_clock_needs_a_declared_refresh(word: str) -> None:
    tables = {STOCK: Shape.plain("id", "until", unique=[["id"]])}
    sql = f"SELECT s.id,\n       {word} AS price FROM w.stock s"
    found = analyse(sql, ("id",), STOCK, tables, file="m.sql")
    (finding,) = found.findings
    assert (finding.code, finding.severity, finding.line) == ("undeclared-clock", "block", 2)
    assert "[moves.<move>.refresh]" in (finding.cure or "")
    assert analyse(sql, ("id",), STOCK, tables, clock_declared=True).findings == ()
    assert found.clock


@pytest.mark.parametrize("call", ["random()", "clock_timestamp()", "gen_random_uuid()", "nextval('w.seq')"])
def test_volatile_functions_are_refused(call: str) -> None:
    found = read(f"SELECT s.id,\n {call} AS price FROM w.stock s", clock_declared=True)
    assert [(it.code, it.line) for it in found.findings] == [("volatile-function", 2)]


def test_volatile_sample_is_refused() -> None:
    assert "volatile-function" in codes(read("SELECT s.id FROM w.stock s TABLESAMPLE system (10)"))


@pytest.mark.parametrize("call", ["current_user", "current_setting('x.y')", "session_user"])
def test_what_differs_between_sessions_is_refused(call: str) -> None:
    assert codes(read(f"SELECT s.id, {call} AS price FROM w.stock s")) == ["session-function"]


def test_A10_a_clock_that_stands_still_is_refused() -> None:
    assert codes(read("SELECT s.id FROM w.stock s WHERE s.sku < 'now'::timestamptz")) == ["frozen-clock"]


def test_A9_extraction_from_json_is_recognised_with_its_coalesce() -> None:
    found = read("SELECT s.id, s.sku ->> 'a' AS sku, coalesce(s.sku ->> 'b', 'x') AS price FROM w.stock s")
    assert [(it.name, it.json, it.coalesced) for it in found.outputs] == [
        ("id", False, False), ("sku", True, False), ("price", True, True),
    ]  # fmt: skip
