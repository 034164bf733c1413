"""What an output of a mapping is called where no AS names it: as PostgreSQL calls it, or the plan names another column."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from pglast import parse_sql

from sql.parsetree import output_name

EXPRESSIONS = """
t.a; t.a[1]; t.a[1:2]; t.j['x']; t.j['x']['y']; (t.c).im; (t.c).parts[1]; t.a::text; (t.a[1])::text; (t.a || t.a)::text; 1; 1::int8; -t.n;
t.n + 1; nullif(t.n, 1); coalesce(t.n, 1); greatest(t.n, 1); least(t.n, 1); lower(t.s); pg_catalog.upper(t.s); t.s COLLATE "C";
CASE WHEN true THEN 1 END; CASE WHEN true THEN 1 ELSE t.n END; (CASE WHEN true THEN 1 END)::text; (CASE WHEN true THEN 1 ELSE t.n END)::text;
CASE WHEN true THEN 1 ELSE lower(t.s)::int END; CASE WHEN true THEN 1 ELSE 2::int8 END; EXISTS (SELECT 1); ARRAY(SELECT 1); ARRAY[1];
ROW(1, 2); (SELECT n FROM t); (SELECT n AS m FROM t); (SELECT 1); (SELECT max(n) FROM t); (VALUES (1)); t.n IN (SELECT 1); current_date;
current_timestamp; current_timestamp(3); localtime; current_user; user; session_user; current_schema; t.s IS NULL; t.s LIKE 'x'; NOT true; true AND false; t.n::numeric(5,2); t.s::varchar; interval '1 day';
extract(year FROM current_date); substring(t.s FROM 1 FOR 2); trim(t.s); position('a' IN t.s); t.ts AT TIME ZONE 'UTC'; t.n BETWEEN 1 AND 2
"""
XML = (
    """xmlconcat('<a/>'::xml); xmlelement(name b); xmlserialize(content '<a/>'::xml AS text); '<a/>'::xml IS DOCUMENT"""
)


def name_of(query: str) -> str:
    statement: Any = parse_sql(query)[0].stmt
    return output_name(statement.targetList[0].val)


@pytest.mark.parametrize(
    ("server", "expressions"),
    [("pg15", EXPRESSIONS), ("pg18", EXPRESSIONS), ("pg15", XML)],
    indirect=["server"],
    ids=["pg15", "pg18", "pg15-xml"],
)
def test_an_output_without_as_has_the_name_that_postgresql_gives_it(dsn: str, expressions: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TYPE c AS (re int, im int, parts int[])")
        conn.execute("CREATE TABLE t (a int[], j jsonb, c c, n int, s text, ts timestamptz)")
        for each in expressions.split(";"):
            query = f"SELECT {each.strip()} FROM t"
            described = conn.execute(query.encode()).description
            assert described is not None
            assert name_of(query) == described[0].name, query
