"""Which replica identity a source gets: the cheapest one that always says the old target key."""

from __future__ import annotations

from dataclasses import replace

from sql.catalog import Table, UniqueIndex
from sql.identity import identity_cure, identity_problem
from sql.model import Column
from sql.names import Name


def column(name: str, *, not_null: bool = True) -> Column:
    return Column(name, "integer", 23, -1, 0, not_null)


PRIMARY = UniqueIndex("fact_pkey", ("id",), primary=True, identity=False, complete=True)
FACT = Table(
    Name("w", "fact"), 1, "r", "p", "d", False, False, False, False, 0.0,
    (column("id"), column("stock_id"), column("lost", not_null=False)), (PRIMARY,), (),
)  # fmt: skip
KEY = [("stock_id",)]


def test_C4_without_an_identity_the_application_would_fail() -> None:
    bare = replace(FACT, unique=())
    assert "UPDATE and DELETE on it fail" in (identity_problem(bare, KEY) or "")
    assert identity_cure(bare, KEY).statements == ("ALTER TABLE w.fact REPLICA IDENTITY FULL",)
    assert "fail" in (identity_problem(replace(FACT, replident="n"), [("id",)]) or "")


def test_C4_an_identity_index_that_was_dropped_is_none() -> None:
    assert replace(FACT, replident="i").identity == "nothing"


def test_C5_the_primary_key_does_not_say_the_old_key() -> None:
    assert "would not say the old stock_id" in (identity_problem(FACT, KEY) or "")
    assert identity_cure(FACT, KEY).statements == (
        "CREATE UNIQUE INDEX CONCURRENTLY fact_cutover_identity ON w.fact (stock_id, id)",
        "ALTER TABLE w.fact REPLICA IDENTITY USING INDEX fact_cutover_identity",
    )


def test_C5_an_index_that_is_there_is_taken() -> None:
    unique = UniqueIndex("fact_stock", ("stock_id",), primary=False, identity=False, complete=True)
    table = replace(FACT, unique=(PRIMARY, unique))
    assert identity_cure(table, KEY).statements == ("ALTER TABLE w.fact REPLICA IDENTITY USING INDEX fact_stock",)
    chosen = replace(table, replident="i", unique=(PRIMARY, replace(unique, identity=True)))
    assert identity_problem(chosen, KEY) is None


def test_C5_a_partial_index_or_a_nullable_column_is_no_identity() -> None:
    partial = UniqueIndex("fact_stock", ("stock_id",), primary=False, identity=False, complete=False)
    assert "fact_cutover_identity" in identity_cure(replace(FACT, unique=(PRIMARY, partial)), KEY).statements[0]
    cure = identity_cure(FACT, [("lost",)])
    assert cure.statements == ("ALTER TABLE w.fact REPLICA IDENTITY FULL",)
    assert "whole old row" in cure.cost


def test_full_and_a_key_within_the_primary_key_are_enough() -> None:
    assert identity_problem(replace(FACT, replident="f"), KEY) is None
    assert identity_problem(FACT, [("id",)]) is None


def test_two_keys_are_both_needed() -> None:
    both = [("stock_id",), ("id",)]
    assert identity_cure(FACT, both).statements[0].endswith("(stock_id, id)")


def test_the_index_s_name_fits_63_bytes() -> None:
    long = replace(FACT, name=Name("w", "ß" * 31))
    name = identity_cure(long, KEY).statements[1].rsplit(" ", 1)[1].strip('"')
    assert len(name.encode()) <= 63


def test_C4_of_a_partitioned_table_every_partition_counts() -> None:
    parts = ((Name("w", "p1"), "f"), (Name("w", "p2"), "d"))
    table = replace(FACT, kind="p", replident="f", partitions=parts)
    assert "stock_id" in (identity_problem(table, KEY) or "")
    assert identity_problem(replace(table, partitions=parts[:1]), KEY) is None
    assert identity_problem(replace(table, partitions=((Name("w", "p1"), "n"),)), KEY) is not None
    assert identity_cure(table, KEY).statements == (
        "ALTER TABLE w.fact REPLICA IDENTITY FULL",
        "ALTER TABLE w.p1 REPLICA IDENTITY FULL",
        "ALTER TABLE w.p2 REPLICA IDENTITY FULL",
    )
