"""The legacy database of the shipped plan: reproducible, complete, and broken in the stated proportions."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta, timezone
from pathlib import Path

import psycopg
import pytest

from sql.connection import Connection, connect
from sql.soleflipper.seed import install
from tests.integration.soleflipper import NOW, ROWS, seeded
from tests.services.databases import fresh_database
from tests.services.postgres import PostgresServer

# Every table that the optimization plan names.
TABLES = """
    analytics.marketplace_data analytics.sales_forecasts catalog.brand catalog.brand_patterns catalog.category
    catalog.product catalog.product_variant catalog.size_conversion catalog.size_master catalog.sizes
    financial.transaction inventory.stock inventory.stock_financial inventory.stock_lifecycle inventory.stock_metrics
    inventory.stock_reservation logging.event_store platform.marketplace pricing.price_history sales."order"
    sales.listing sales.pricing_history supplier.account
""".split()


def _contents(conn: Connection) -> dict[str, str]:
    """A digest of every table's rows."""
    query = "SELECT md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM {} t"
    return {table: str(conn.execute(query.format(table)).fetchone()) for table in TABLES}


def _share(conn: Connection, table: str, condition: str) -> float:
    """The share of a table's rows of which the condition is true."""
    row = conn.execute(f"SELECT avg(({condition})::int)::float8 FROM {table}").fetchone()
    assert row is not None
    return float(row[0])


def _count(conn: Connection, query: str) -> int:
    row = conn.execute(f"SELECT count(*) FROM {query}").fetchone()
    assert row is not None
    return int(row[0])


def test_every_table_of_the_plan_is_there_and_filled(dsn: str) -> None:
    with seeded(dsn) as conn:
        empty = [table for table in TABLES if _count(conn, table) == 0]
        keys = _count(conn, "pg_constraint WHERE contype = 'f' AND convalidated")
        identities = conn.execute(
            "SELECT DISTINCT relreplident FROM pg_class WHERE relkind = 'r' AND oid = ANY (%s::regclass[])", [TABLES]
        ).fetchall()
    assert empty == []
    assert keys == 30
    assert identities == [("d",)]  # nobody has prepared it for replication


def test_the_same_rows_seed_and_moment_give_the_same_data(dsn: str, server: PostgresServer) -> None:
    with seeded(dsn, rows=300) as conn:
        first = _contents(conn)
    with fresh_database(server) as other, seeded(other, rows=300) as conn:
        assert _contents(conn) == first
    with fresh_database(server) as other, seeded(other, rows=300, seed=2) as conn:
        different = _contents(conn)
    assert [table for table in TABLES if different[table] == first[table]] == []


def test_the_session_that_seeds_does_not_matter(dsn: str, server: PostgresServer) -> None:
    with seeded(dsn, rows=300) as conn:
        first = _contents(conn)
    with fresh_database(server) as other:
        with psycopg.connect(other) as conn:  # not in autocommit, and with settings of its own
            conn.execute("SET timezone = 'America/New_York'; SET datestyle = 'German'; SET extra_float_digits = 0")
            install(conn, 300, 1, NOW.astimezone(timezone(timedelta(hours=9))))
        with connect(other, "test") as conn:
            assert _contents(conn) == first


def test_fragments_are_missing_for_some(dsn: str) -> None:
    with seeded(dsn) as conn:
        for satellite, percent in {"financial": 92, "lifecycle": 95, "metrics": 60, "reservation": 30}.items():
            having = f"EXISTS (SELECT FROM inventory.stock_{satellite} f WHERE f.stock_id = s.id)"
            assert _share(conn, "inventory.stock s", having) == pytest.approx(percent / 100, abs=0.04), satellite


def test_reservations_are_many_and_run_out(dsn: str) -> None:
    with seeded(dsn) as conn:
        perhaps = "SELECT stock_id FROM inventory.stock_reservation GROUP BY stock_id HAVING count(*) > 1"
        assert _count(conn, f"({perhaps}) several") > ROWS * 0.15
        now, soon = NOW.replace(tzinfo=None), (NOW + timedelta(minutes=5)).replace(tzinfo=None)
        kinds = {
            f"coalesce(expires_at < '{now}', false)": 0.40,
            f"coalesce(expires_at BETWEEN '{now}' AND '{soon}', false)": 0.10,
            "expires_at IS NULL": 0.05,
            "status <> 'active'": 0.20,
        }
        for condition, share in kinds.items():
            assert _share(conn, "inventory.stock_reservation", condition) == pytest.approx(share, abs=0.05), condition


def test_the_two_ledgers_disagree_exactly_as_stated(dsn: str) -> None:
    booked_once = "financial.transaction t WHERE notes IS DISTINCT FROM 'imported' AND"
    both = """financial.transaction t JOIN sales."order" o USING (external_id)
               WHERE t.notes IS DISTINCT FROM 'imported'"""
    same = "(o.gross_sale, o.status, o.currency) IS NOT DISTINCT FROM (t.amount, t.status, t.currency)"
    number = "SELECT external_id FROM financial.transaction WHERE external_id > '' GROUP BY 1 HAVING count(*) > 1"
    order = 'SELECT FROM sales."order" o WHERE o.external_id = upper(btrim(t.external_id))'
    expected = {
        "financial.transaction WHERE notes = 'imported'": 14,
        f"({number}) twice": 9,
        f"{booked_once} external_id IS NULL": 10,
        f"{booked_once} external_id = ''": 2,
        f"{booked_once} external_id <> upper(external_id)": 18,
        f"{booked_once} external_id <> btrim(external_id)": 20,
        f"{booked_once} currency IS NULL": 3,
        f"{booked_once} abs(roi) >= 1000000": 1,
        f"{both} AND {same}": 396,
        f"{both} AND NOT {same}": 50,
        f"{booked_once} external_id > '' AND NOT EXISTS ({order})": 514,
        'sales."order" WHERE external_id IS NULL': 6,
        """sales."order" WHERE external_id LIKE 'WEB-%'""": 194,
    }
    with seeded(dsn) as conn:
        assert {query: _count(conn, query) for query in expected} == expected


def test_money_is_in_mixed_currencies_and_json_lacks_keys(dsn: str) -> None:
    with seeded(dsn) as conn:
        for table in ("inventory.stock_financial", "financial.transaction", 'sales."order"', "sales.listing"):
            for currency, percent in {"EUR": 70, "USD": 20, "GBP": 10}.items():
                share = _share(conn, table, f"coalesce(currency = '{currency}', false)")
                assert share == pytest.approx(percent / 100, abs=0.05), (table, currency)
        for condition in ("IS NULL", '@> \'{"shippingCost": "n/a"}\'', "? 'orderId'"):
            assert 0.05 < _share(conn, 'sales."order"', f"coalesce(platform_specific_data {condition}, false)") < 0.95
        assert 0.6 < _share(conn, "sales.listing", "coalesce(platform_specific_data ? 'listingId', false)") < 0.7
        assert 0.7 < _share(conn, "inventory.stock_financial", "coalesce(fees ? 'platform', false)") < 0.85


def test_the_command_seeds_a_given_database(dsn: str) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "sql.soleflipper.seed", "--dsn", dsn, "--rows", "20", "--seed", "7"]
    subprocess.run(command, cwd=root, check=True, timeout=60)
    with connect(dsn, "test") as conn:
        assert _count(conn, "inventory.stock") == 20


def test_too_few_rows_are_refused_before_anything_is_made(dsn: str) -> None:
    with connect(dsn, "test") as conn:
        with pytest.raises(ValueError, match="at least 20 rows, got 19"):
            install(conn, 19)
        assert _count(conn, "pg_namespace WHERE nspname = 'inventory'") == 0
