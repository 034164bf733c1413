"""Which column of each source is traced to the key, over the shapes that SQL has for saying so."""

from __future__ import annotations

import pytest

from sql.errors import PlanError
from sql.mapping import analyse
from sql.names import Name
from sql.query import Shape

STOCK, FACT, HOLD, EVENT = (Name("w", it) for it in ("stock", "fact", "hold", "event"))
TABLES = {
    STOCK: Shape.plain("id", "sku", "parent", "note", unique=[["id"]]),
    FACT: Shape.plain("stock_id", "alt_id", "price", "fee", unique=[["stock_id"]]),
    HOLD: Shape.plain("hold_id", "stock_id", "qty", "until", "state", unique=[["hold_id"]]),
    EVENT: Shape.plain("a", "b", "v", unique=[["a", "b"]]),
}
S = (("id",),)
X = (("stock_id",),)

TRACED: dict[str, tuple[str, dict[Name, tuple[tuple[str, ...], ...]]]] = {
    "left join": ("SELECT s.id, f.price FROM w.stock s LEFT JOIN w.fact f ON f.stock_id = s.id", {STOCK: S, FACT: X}),
    "other way round": ("SELECT s.id FROM w.stock s JOIN w.fact f ON s.id = f.stock_id", {STOCK: S, FACT: X}),
    "comma and where": ("SELECT s.id FROM w.stock s, w.fact f WHERE f.stock_id = s.id", {STOCK: S, FACT: X}),
    "schema.table.column": (
        "SELECT w.stock.id FROM w.stock JOIN w.fact ON w.fact.stock_id = w.stock.id",
        {STOCK: S, FACT: X},
    ),
    "using, renamed": (
        "SELECT id FROM w.stock s JOIN w.fact AS f(id) USING (id)",
        {STOCK: S, FACT: X},
    ),
    "natural": (
        "SELECT id FROM (SELECT id FROM w.stock) s NATURAL LEFT JOIN (SELECT stock_id AS id, price FROM w.fact) f",
        {STOCK: S, FACT: X},
    ),
    "chain through a left join": (
        "SELECT s.id FROM w.stock s LEFT JOIN w.fact f ON f.stock_id = s.id"
        " LEFT JOIN w.hold h ON h.stock_id = f.stock_id",
        {STOCK: S, FACT: X, HOLD: X},
    ),
    "right join": ("SELECT s.id FROM w.fact f RIGHT JOIN w.stock s ON f.stock_id = s.id", {STOCK: S, FACT: X}),
    "lateral aggregate": (
        "SELECT s.id, q.n FROM w.stock s LEFT JOIN LATERAL"
        " (SELECT sum(h.qty) AS n FROM w.hold h WHERE h.stock_id = s.id AND h.state = 'on') q ON true",
        {STOCK: S, HOLD: X},
    ),
    "lateral limit": (
        "SELECT s.id, q.qty FROM w.stock s LEFT JOIN LATERAL"
        " (SELECT qty FROM w.hold h WHERE h.stock_id = s.id ORDER BY until DESC LIMIT 1) q ON true",
        {STOCK: S, HOLD: X},
    ),
    "grouped sub-select": (
        "SELECT s.id, q.n FROM w.stock s LEFT JOIN"
        " (SELECT stock_id, count(*) AS n FROM w.hold GROUP BY stock_id) q ON q.stock_id = s.id",
        {STOCK: S, HOLD: X},
    ),
    "grouped by position": (
        "SELECT s.id, q.n FROM w.stock s LEFT JOIN"
        " (SELECT stock_id AS k, count(*) AS n FROM w.hold GROUP BY 1) q ON q.k = s.id",
        {STOCK: S, HOLD: X},
    ),
    "cte": (
        "WITH q AS (SELECT stock_id, max(qty) AS n FROM w.hold GROUP BY stock_id)"
        " SELECT s.id, q.n FROM w.stock s LEFT JOIN q ON q.stock_id = s.id",
        {STOCK: S, HOLD: X},
    ),
    "cte over cte, columns renamed": (
        "WITH a(k, n) AS (SELECT stock_id, qty FROM w.hold), b AS (SELECT k AS kk, sum(n) AS n FROM a GROUP BY k)"
        " SELECT s.id, b.n FROM w.stock s LEFT JOIN b ON b.kk = s.id",
        {STOCK: S, HOLD: X},
    ),
    "scalar sub-select": (
        "SELECT s.id, (SELECT max(h.qty) FROM w.hold h WHERE h.stock_id = s.id) AS n FROM w.stock s",
        {STOCK: S, HOLD: X},
    ),
    "exists": (
        "SELECT s.id FROM w.stock s WHERE EXISTS (SELECT FROM w.hold h WHERE h.stock_id = s.id)",
        {STOCK: S, HOLD: X},
    ),
    "not exists": (
        "SELECT s.id FROM w.stock s WHERE NOT EXISTS (SELECT FROM w.hold h WHERE h.stock_id = s.id AND h.qty > 0)",
        {STOCK: S, HOLD: X},
    ),
    "exists or something": (
        "SELECT s.id FROM w.stock s WHERE s.note = 'x' OR EXISTS (SELECT FROM w.hold h WHERE h.stock_id = s.id)",
        {STOCK: S, HOLD: X},
    ),
    "in": ("SELECT s.id FROM w.stock s WHERE s.id IN (SELECT h.stock_id FROM w.hold h)", {STOCK: S, HOLD: X}),
    "= any": ("SELECT s.id FROM w.stock s WHERE s.id = ANY (SELECT h.stock_id FROM w.hold h)", {STOCK: S, HOLD: X}),
    "exists in an outer join's condition": (
        "SELECT s.id, f.price FROM w.stock s LEFT JOIN w.fact f"
        " ON f.stock_id = s.id AND EXISTS (SELECT FROM w.hold h WHERE h.stock_id = f.stock_id)",
        {STOCK: S, FACT: X, HOLD: X},
    ),
    "union all": (
        "SELECT id, sku AS v FROM w.stock UNION ALL SELECT stock_id, price FROM w.fact",
        {STOCK: S, FACT: X},
    ),
    "except": ("SELECT id FROM w.stock EXCEPT SELECT stock_id FROM w.fact", {STOCK: S, FACT: X}),
    "union in a sub-select": (
        "SELECT s.id, u.v FROM w.stock s LEFT JOIN (SELECT stock_id AS k, price AS v FROM w.fact"
        " UNION SELECT stock_id, qty FROM w.hold) u ON u.k = s.id",
        {STOCK: S, FACT: X, HOLD: X},
    ),
    "full join using": (
        "SELECT id, f.price FROM w.stock s FULL JOIN (SELECT stock_id AS id, price FROM w.fact) f USING (id)",
        {STOCK: S, FACT: X},
    ),
    "full join, coalesced": (
        "SELECT coalesce(s.id, f.stock_id) AS id, f.price FROM w.stock s FULL JOIN w.fact f ON f.stock_id = s.id",
        {STOCK: S, FACT: X},
    ),
    "three full joins": (
        "SELECT id, a.price FROM (SELECT stock_id AS id, price FROM w.fact) a"
        " FULL JOIN (SELECT id FROM w.stock) b USING (id)"
        " FULL JOIN (SELECT stock_id AS id, qty FROM w.hold) c USING (id)",
        {STOCK: S, FACT: X, HOLD: X},
    ),
    "one table through two columns": (
        "SELECT s.id, f.price, g.fee FROM w.stock s LEFT JOIN w.fact f ON f.stock_id = s.id"
        " LEFT JOIN w.fact g ON g.alt_id = s.id",
        {STOCK: S, FACT: (("stock_id",), ("alt_id",))},
    ),
    "the table itself, as parent": (
        "SELECT s.id, (SELECT count(*) FROM w.stock c WHERE c.parent = s.id) AS children FROM w.stock s",
        {STOCK: (("id",), ("parent",))},
    ),
    "window over the key": (
        "SELECT s.id, q.qty FROM w.stock s LEFT JOIN (SELECT stock_id, qty,"
        " row_number() OVER (PARTITION BY stock_id ORDER BY until) AS rn FROM w.hold) q"
        " ON q.stock_id = s.id AND q.rn = 1",
        {STOCK: S, HOLD: X},
    ),
    "named window": (
        "SELECT s.id, q.n FROM w.stock s LEFT JOIN (SELECT stock_id, count(*) OVER (p ORDER BY until) AS n FROM w.hold"
        " WINDOW p AS (PARTITION BY stock_id)) q ON q.stock_id = s.id",
        {STOCK: S, HOLD: X},
    ),
    "distinct on": (
        "SELECT s.id, q.qty FROM w.stock s LEFT JOIN (SELECT DISTINCT ON (stock_id) stock_id, qty FROM w.hold"
        " ORDER BY stock_id, until) q ON q.stock_id = s.id",
        {STOCK: S, HOLD: X},
    ),
    "select star": ("SELECT * FROM w.fact AS f(id)", {FACT: X}),
    "cast within the family": (
        "SELECT s.id FROM w.stock s JOIN w.fact f ON f.stock_id::text = s.id::text",
        {STOCK: S, FACT: X},
    ),
    "inner join inside an outer one": (
        "SELECT s.id, h.qty FROM w.stock s LEFT JOIN (w.fact f JOIN w.hold h ON h.stock_id = f.stock_id)"
        " ON f.stock_id = s.id",
        {STOCK: S, FACT: X, HOLD: X},
    ),
    "join alias": (
        "SELECT j.id FROM (w.stock s JOIN w.fact f ON f.stock_id = s.id) AS j",
        {STOCK: S, FACT: X},
    ),
    "jsonb columns of a source": (
        "SELECT s.id, r.x FROM w.stock s LEFT JOIN LATERAL jsonb_to_record(s.note) AS r(x int) ON true",
        {STOCK: S},
    ),
    "values": (
        "SELECT s.id, v.label FROM w.stock s LEFT JOIN (VALUES ('a', 1), ('b', 2)) AS v(code, label) ON v.code = s.sku",
        {STOCK: S},
    ),
}


@pytest.mark.parametrize("case", TRACED)
def test_key_is_traced(case: str) -> None:
    sql, expected = TRACED[case]
    found = analyse(sql, ("id",), STOCK, TABLES)
    assert {source.name: set(source.keys) for source in found.sources} == {
        name: set(keys) for name, keys in expected.items()
    }
    assert not [finding for finding in found.findings if finding.code == "untraceable-key"]


UNTRACEABLE = {
    "joined on something else": ("SELECT s.id FROM w.stock s JOIN w.fact f ON f.price = s.sku", FACT),
    "inequality": ("SELECT s.id FROM w.stock s LEFT JOIN w.fact f ON f.stock_id >= s.id", FACT),
    "expression": ("SELECT s.id FROM w.stock s LEFT JOIN w.fact f ON lower(f.stock_id) = s.id", FACT),
    "cast that cuts": ("SELECT s.id FROM w.stock s LEFT JOIN w.fact f ON f.stock_id::varchar(3) = s.id", FACT),
    "only in an or": ("SELECT s.id FROM w.stock s LEFT JOIN w.fact f ON f.stock_id = s.id OR f.price = 0", FACT),
    "the nullable side gives the key": (
        "SELECT f.stock_id AS id FROM w.stock s LEFT JOIN w.fact f ON f.stock_id = s.id",
        STOCK,
    ),
    "limit over all rows": (
        "SELECT s.id FROM w.stock s LEFT JOIN (SELECT stock_id FROM w.hold ORDER BY until LIMIT 1) q"
        " ON q.stock_id = s.id",
        HOLD,
    ),
    "window over all rows": (
        "SELECT s.id FROM w.stock s LEFT JOIN (SELECT stock_id, row_number() OVER (ORDER BY until) AS rn FROM w.hold) q"
        " ON q.stock_id = s.id",
        HOLD,
    ),
    "distinct on something else": (
        "SELECT s.id FROM w.stock s LEFT JOIN (SELECT DISTINCT ON (state) stock_id FROM w.hold ORDER BY state) q"
        " ON q.stock_id = s.id",
        HOLD,
    ),
    "one total for all": ("SELECT s.id, q.n FROM w.stock s, (SELECT sum(qty) AS n FROM w.hold) q", HOLD),
    "aggregate as key": (
        "SELECT s.id FROM w.stock s LEFT JOIN (SELECT max(stock_id) AS k FROM w.hold GROUP BY state) q ON q.k = s.id",
        HOLD,
    ),
    "not in: one NULL empties the mapping": (
        "SELECT s.id FROM w.stock s WHERE s.id NOT IN (SELECT h.stock_id FROM w.hold h)",
        HOLD,
    ),
    "in, as a value: one NULL changes it": (
        "SELECT s.id, s.id IN (SELECT h.stock_id FROM w.hold h) AS held FROM w.stock s",
        HOLD,
    ),
    "equal on the preserved side only": (
        "SELECT s.id FROM w.stock s LEFT JOIN w.fact f ON f.stock_id = s.id LEFT JOIN w.hold h ON s.id = s.parent",
        HOLD,
    ),
    "recursion": (
        "WITH RECURSIVE t(id) AS (SELECT id FROM w.stock WHERE parent IS NULL"
        " UNION ALL SELECT s.id FROM w.stock s JOIN t ON s.parent = t.id) SELECT id FROM t",
        STOCK,
    ),
    "full join on only one side": (
        "SELECT s.id FROM w.stock s FULL JOIN w.fact f ON f.stock_id = s.id",
        FACT,
    ),
    "limited mapping": ("SELECT id FROM w.stock ORDER BY sku LIMIT 10", STOCK),
}


@pytest.mark.parametrize("case", UNTRACEABLE)
def test_what_cannot_be_traced_is_refused_with_source_line_and_override(case: str) -> None:
    sql, source = UNTRACEABLE[case]
    found = [it for it in analyse(sql, ("id",), STOCK, TABLES, file="m.sql").findings if it.code == "untraceable-key"]
    assert [str(source) in finding.message for finding in found] == [True]
    assert (found[0].severity, found[0].file, found[0].line) == ("block", "m.sql", 1)
    assert found[0].cure is not None
    assert "[moves.<move>.sources]" in found[0].cure


def test_composite_key_needs_every_part() -> None:
    tables = {**TABLES, Name("w", "part"): Shape.plain("pa", "pb", "w", unique=[["pa", "pb"]])}
    whole = "SELECT e.a, e.b, p.w FROM w.event e LEFT JOIN w.part p ON (p.pa, p.pb) = (e.a, e.b)"
    found = analyse(whole, ("a", "b"), EVENT, tables)
    assert {source.name.relation: source.keys for source in found.sources} == {
        "event": (("a", "b"),),
        "part": (("pa", "pb"),),
    }
    half = "SELECT e.a, e.b, p.w FROM w.event e LEFT JOIN w.part p ON p.pa = e.a"
    assert "untraceable-key" in {finding.code for finding in analyse(half, ("a", "b"), EVENT, tables).findings}


def test_composite_in() -> None:
    sql = "SELECT e.a, e.b FROM w.event e WHERE (e.a, e.b) IN (SELECT h.stock_id, h.state FROM w.hold h)"
    found = analyse(sql, ("a", "b"), EVENT, TABLES)
    assert {source.name: source.keys for source in found.sources}[HOLD] == (("stock_id", "state"),)


def test_types_of_other_text_do_not_carry_the_key() -> None:
    tables = {
        STOCK: Shape(("id",), (frozenset({"id"}),), {"id": "int"}),
        FACT: Shape(("stock_id", "n"), (frozenset({"stock_id"}),), {"stock_id": "numeric of scale 2"}),
    }
    found = analyse("SELECT s.id FROM w.stock s LEFT JOIN w.fact f ON f.stock_id = s.id", ("id",), STOCK, tables)
    assert [finding.code for finding in found.findings if finding.severity == "block"] == [
        "untraceable-key",
        "one-to-many",
    ]


def test_a_stated_key_settles_an_untraceable_source() -> None:
    sql, source = UNTRACEABLE["expression"]
    found = analyse(sql, ("id",), STOCK, TABLES, overridden=frozenset({source}))
    assert "untraceable-key" not in {finding.code for finding in found.findings}


@pytest.mark.parametrize(
    ("sql", "line", "says"),
    [
        ("SELECT s.id\n  FROM w.stock s\n WHERE s.skuu = 1", 3, "did you mean sku?"),
        ("SELECT id FROM w.stok", 1, "did you mean w.stock?"),
        ("SELECT id\nFROM stock", 2, "has no schema"),
        ("SELECT id, xmin FROM w.stock", 1, "system column"),
        ("SELECT sku FROM w.stock", 1, "yields no key column id"),
        ("SELECT id, sku, sku FROM w.stock", 1, "twice"),
        ("SELECT id FROM w.stock; SELECT 1", 1, "exactly one SELECT"),
        ("DELETE FROM w.stock", 1, "exactly one SELECT"),
        ("SELECT id FROM w.stock FOR UPDATE", 1, "only reads"),
        ("WITH d AS (DELETE FROM w.stock RETURNING id) SELECT id FROM d", 1, "changes data"),
        ("SELECT id\nFROM w.stock s WHEER", 2, "syntax error"),
    ],
)
def test_a_mapping_that_is_wrong_names_the_line_and_the_nearest_word(sql: str, line: int, says: str) -> None:
    with pytest.raises(PlanError) as error:
        analyse(sql, ("id",), STOCK, TABLES, file="m.sql")
    assert (error.value.file, error.value.line) == ("m.sql", line)
    assert says in str(error.value)


def test_text_is_kept_without_semicolon_and_comments_around_it() -> None:
    found = analyse("-- why\nSELECT id -- the key\n FROM w.stock; -- done", ("id",), STOCK, TABLES)
    assert found.text == "SELECT id -- the key\n FROM w.stock"
