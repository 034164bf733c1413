"""Whose a row of the target is: joined where others have many, looked up where they have few; the same is found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import pytest

from reconcile.bounds import bounds
from reconcile.diff import Comparison
from tests.integration.arena import Arena, arena

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True)

DDL = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.a (land text, nr int, v numeric(10,2), PRIMARY KEY (land, nr));
CREATE TABLE new.t (land text COLLATE "C", nr int, v numeric(10,2), PRIMARY KEY (land, nr));
INSERT INTO old.a SELECT CASE WHEN n % 2 = 0 THEN 'DE' ELSE 'at' END, n, n FROM generate_series(1, 2000) n;
INSERT INTO new.t SELECT * FROM old.a;
"""
# Of the keys 10 to 49: as the row is in the target, and in the move's memory of its own rows. All others are its own.
PLANTED = """
DELETE FROM new.t WHERE nr BETWEEN 10 AND 14;
DELETE FROM {owned} WHERE nr BETWEEN 10 AND 12;
UPDATE new.t SET v = -nr WHERE nr BETWEEN 20 AND 29;
DELETE FROM {owned} WHERE nr BETWEEN 25 AND 29;
DELETE FROM old.a WHERE nr BETWEEN 30 AND 39;
DELETE FROM {owned} WHERE nr BETWEEN 35 AND 39;
UPDATE new.t SET v = NULL WHERE nr IN (41, 42);
DELETE FROM {owned} WHERE nr BETWEEN 42 AND 43;
"""
MISSING, OWN, OF_OTHERS, EXTRA = set(range(10, 15)), {*range(20, 25), 41}, {*range(25, 30), 42}, set(range(30, 35))


@pytest.fixture(params=["report", "keep", "overwrite"])
def it(dsn: str, request: pytest.FixtureRequest) -> Iterator[Arena]:
    key = ("land", "nr")
    with arena(dsn, DDL, "SELECT land, nr, v FROM old.a", key=key, rows="add", existing=request.param) as it:
        it.run(f"INSERT INTO {it.move.owned} SELECT land, nr FROM new.t")
        it.run(PLANTED.format(owned=it.move.owned))
        it.run("ANALYZE")
        yield it


def compared(comparison: Comparison, ends: Sequence[tuple[str, ...] | None]) -> tuple[list[int], set[int]]:
    """Sums over the ranges between these ends, and the numbers of the keys that differ."""
    sums, different = [0] * 6, set()
    for low, high in pairwise(ends):
        sql = comparison.pairs.chunk(low=low is not None, high=high is not None)
        row: Any = comparison.conn.execute(sql.encode(), {**bounds(low, high), "cap": 100}, prepare=False).fetchone()
        sums = [one + other for one, other in zip(sums, row, strict=False)]
        different |= {int(nr) for _, nr in row[6] or ()}
    return sums, different


@pytest.mark.parametrize("few_others", [False, True], ids=["joined", "looked up"])
@pytest.mark.parametrize("ends", [(), (("DE", "30"), ("DE", "1000"), ("at", "27"), ("at", "41"))], ids=["whole", "cut"])
def test_whose_a_row_is_changes_what_is_found_in_no_way_but_the_rules(
    it: Arena, ends: tuple[tuple[str, ...], ...], few_others: bool
) -> None:
    comparison = Comparison(it.conn, it.move)
    comparison.carry(None, few_others=few_others)
    keeps = it.move.existing == "keep"
    sums, different = compared(comparison, (None, *ends, None))
    legacy, consolidated, others, pairs, kept, number = sums
    assert (legacy, consolidated, others, pairs) == (1990, 1990, 5, 1995)
    assert different == MISSING | OWN | EXTRA | (set() if keeps else OF_OTHERS)
    assert (number, kept) == (len(different), len(OF_OTHERS) if keeps else 0)


@pytest.mark.parametrize("few_others", [False, True], ids=["joined", "looked up"])
def test_a_chunk_reads_no_more_of_the_own_rows_than_it_needs(it: Arena, few_others: bool) -> None:
    """PostgreSQL carries no range over a LEFT JOIN: it read the memory of a million rows whole, for each chunk."""
    comparison = Comparison(it.conn, it.move)
    comparison.carry(None, few_others=few_others)
    sql = f"EXPLAIN (ANALYZE, FORMAT JSON) {comparison.pairs.chunk(low=True, high=True)}"
    ((plan,),) = comparison.conn.execute(
        sql.encode(), {**bounds(("DE", "1000"), ("at", "60")), "cap": 100}, prepare=False
    ).fetchall()
    assert it.move.owned is not None
    read = round(sum(rows(plan[0]["Plan"], it.move.owned.relation)))
    assert read < (20 if few_others else 600)  # of 1985: a row or two for each one in question; those of the range


@pytest.mark.parametrize(("others", "few"), [(0, True), (100, True), (1000, False)])
def test_others_are_few_or_many_by_the_planners_estimate(it: Arena, others: int, few: bool) -> None:
    it.run(f"INSERT INTO new.t SELECT 'xx', n FROM generate_series(1, {others}) n")
    it.run("ANALYZE")
    assert Comparison(it.conn, it.move).few_others() is few
    report = it.reconcile(progress=lambda step: it.advance())
    assert report.rows.others == others + 5


def rows(node: dict[str, Any], relation: str) -> Iterator[float]:
    """How many rows each scan of a relation in a plan has found."""
    if node.get("Relation Name") == relation:
        yield node["Actual Rows"] * node["Actual Loops"]
    for child in node.get("Plans", ()):
        yield from rows(child, relation)
