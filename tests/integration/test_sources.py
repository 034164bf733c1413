"""The legacy tables by themselves: one-to-many, duplicates, orphans, rows without a key; told apart, with examples."""

from __future__ import annotations

import pytest

from reconcile.diff import Comparison
from reconcile.sources import source_rows
from tests.integration.arena import arena

LEGACY = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.a (tenant text, id int, name text, PRIMARY KEY (tenant, id));
CREATE TABLE old."Viele" (n int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant text, a_id int, qty int);
CREATE TABLE old.one (tenant text, a_id int, note text, UNIQUE (tenant, a_id));
CREATE TABLE new.t (tenant text, id int, name text, qty bigint, note text, PRIMARY KEY (tenant, id));
INSERT INTO old.a SELECT 'n', n, 'x' FROM generate_series(1, 100) n;
INSERT INTO old."Viele" (tenant, a_id, qty) SELECT 'n', 1 + n % 50, 1 FROM generate_series(1, 150) n;
INSERT INTO old."Viele" (tenant, a_id, qty) VALUES ('n', 7, 1), ('left over', 1, 1), ('n', 101, 1), ('n', 101, 1), (NULL, 1, 1);
INSERT INTO old.one SELECT 'n', n, 'y' FROM generate_series(1, 80) n;
"""
MAPPING = """
SELECT a.tenant, a.id, a.name, v.qty, o.note
  FROM old.a LEFT JOIN (SELECT tenant, a_id, sum(qty) AS qty FROM old."Viele" GROUP BY 1, 2) v
    ON v.tenant = a.tenant AND v.a_id = a.id
  LEFT JOIN old.one o ON o.tenant = a.tenant AND o.a_id = a.id
"""


def test_each_table_is_counted(dsn: str) -> None:
    with arena(dsn, LEGACY, MAPPING, key=("tenant", "id")) as it:
        it.drain()
        report = it.reconcile(sources=True)
        found = {each.source: each for each in report.sources}
        assert report.verdict == "match"  # of the keys that the mapping shows
        many = found['old."Viele"']
        assert (many.rows, many.keys, many.several, many.most, many.without_key) == (155, 52, 51, 4, 1)
        assert many.orphans == 3
        assert sorted(many.orphan_keys) == [["left over", "1"], ["n", "101"]]
        for name, rows in (("old.a", 100), ("old.one", 80)):
            one = found[name]
            assert (one.rows, one.keys, one.several, one.most, one.orphans) == (rows, rows, 0, 1, 0)
        assert it.reconcile().sources == []


@pytest.mark.parametrize("server", ["pg18"], indirect=True)
def test_what_cannot_be_counted_is_said(dsn: str) -> None:
    with arena(dsn, LEGACY, MAPPING, key=("tenant", "id")) as it:
        it.run("INSERT INTO old.\"Viele\" (tenant, a_id, qty) SELECT 'n', n, 1 FROM generate_series(1, 200000) n")
        found = {each.source: each for each in source_rows(Comparison(it.conn, it.move), limit_ms=1)}
        assert found['old."Viele"'].told == "not counted: it takes longer than 0.001 s"
        it.run("CREATE ROLE nobody_here; GRANT USAGE ON SCHEMA old, new, cutover TO nobody_here; SET ROLE nobody_here")
        try:
            comparison = Comparison(it.conn, it.move)
            assert {each.told for each in source_rows(comparison, 5000)} == {"not counted: this role may not read it"}
        finally:
            it.run("RESET ROLE; DROP OWNED BY nobody_here; DROP ROLE nobody_here")
