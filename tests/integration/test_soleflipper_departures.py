"""Why the shipped plan departs from the optimization plan: its own statements, run on the database it presumes.

docs/soleflipper.md states each of these.
"""

from __future__ import annotations

import psycopg
import pytest

from sql.connection import Connection
from tests.integration.soleflipper import planned, seeded

REFUSED = {
    "the backfill of stock refers to its target in a join condition": (
        "42P01",
        """UPDATE inventory.stock s SET notes = sl.status FROM inventory.stock_financial sf
             LEFT JOIN inventory.stock_lifecycle sl ON sl.stock_id = s.id WHERE sf.stock_id = s.id""",
    ),
    "order is a reserved word": ("42601", "SET search_path = sales; SELECT count(*) FROM order"),
    "a cast of extracted text stops at the first that is no number": (
        "22P02",
        """UPDATE sales."order" SET gross_sale = (platform_specific_data ->> 'shippingCost')::numeric
            WHERE platform_specific_data ->> 'shippingCost' IS NOT NULL""",
    ),
    "a view cannot take the name of a table": (
        "42P07",
        "CREATE VIEW catalog.sizes AS SELECT id, value FROM catalog.size_master, (SELECT 1 AS value) v",
    ),
    "refreshing concurrently needs a unique index": (
        "55000",
        """CREATE MATERIALIZED VIEW sales.daily AS
               SELECT DATE(sold_at) AS sale_date, count(*) AS total_orders FROM sales."order" GROUP BY 1;
           CREATE INDEX idx_daily_sales_date ON sales.daily (sale_date DESC);
           REFRESH MATERIALIZED VIEW CONCURRENTLY sales.daily""",
    ),
    "a row of today has no partition": (
        "23514",
        """CREATE TABLE pricing.price_history_new (LIKE pricing.price_history) PARTITION BY RANGE (created_at);
           CREATE TABLE pricing.price_history_2024_12 PARTITION OF pricing.price_history_new
               FOR VALUES FROM ('2024-12-01') TO ('2025-01-01');
           INSERT INTO pricing.price_history_new SELECT * FROM pricing.price_history""",
    ),
    "an audited token keeps its account from being deleted": (
        "23503",
        """CREATE TABLE supplier.payment_vault (id bigserial PRIMARY KEY, account_id uuid NOT NULL
               REFERENCES supplier.account (id) ON DELETE CASCADE);
           CREATE TABLE supplier.token_audit (token_id bigint REFERENCES supplier.payment_vault (id));
           UPDATE inventory.stock SET supplier_id = NULL;
           INSERT INTO supplier.payment_vault (account_id) SELECT id FROM supplier.account;
           INSERT INTO supplier.token_audit SELECT id FROM supplier.payment_vault;
           DELETE FROM supplier.account""",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_postgres_refuses_it_to_the_letter(dsn: str, what: str) -> None:
    state, statements = REFUSED[what]
    with seeded(dsn, rows=200) as conn, pytest.raises(psycopg.Error) as refused:
        conn.execute(statements)
    assert refused.value.sqlstate == state


def test_order_needs_no_quotes_behind_its_schema(dsn: str) -> None:
    with seeded(dsn, rows=200) as conn:
        assert _count(conn, "SELECT count(*) FROM sales.order") == _count(conn, 'SELECT count(*) FROM sales."order"')


def test_the_backfill_made_to_parse_loses_rows_and_picks_any_reservation(dsn: str) -> None:
    with planned(dsn) as conn:
        conn.execute("""
            UPDATE inventory.stock s
               SET lifecycle_status = sl.status, reserved_qty = coalesce(sr.reserved_qty, 0)
              FROM inventory.stock_financial sf
              LEFT JOIN inventory.stock_lifecycle sl ON sl.stock_id = sf.stock_id
              LEFT JOIN inventory.stock_reservation sr ON sr.stock_id = sf.stock_id
             WHERE sf.stock_id = s.id""")
        differs = "SELECT count(*) FROM inventory.stock s JOIN cutover.map_soleflipper_stock m USING (id) WHERE"
        lost = f"{differs} s.lifecycle_status IS NULL AND m.lifecycle_status IS NOT NULL"
        assert (
            _count(conn, lost)
            == _count(
                conn,
                """
            SELECT count(*) FROM inventory.stock_lifecycle l
             WHERE NOT EXISTS (SELECT FROM inventory.stock_financial f WHERE f.stock_id = l.stock_id)""",
            )
            > 100
        )
        assert _count(conn, f"{differs} s.reserved_qty <> m.reserved_qty") > 200


def test_the_verification_of_the_ledgers_never_reaches_zero(dsn: str) -> None:
    verification = """SELECT count(*) FROM financial.transaction t
                       WHERE NOT EXISTS (SELECT FROM sales."order" o WHERE o.external_id = t.external_id)"""
    with seeded(dsn) as conn:
        assert _count(conn, verification) > 500  # and none of the plan's statements would insert them
        conn.execute("""INSERT INTO sales."order" (external_id, platform_id, gross_sale)
                        SELECT DISTINCT ON (external_id) external_id, platform_id, amount FROM financial.transaction
                        ON CONFLICT DO NOTHING""")
        assert _count(conn, verification) == 10  # those without a number never match


def test_deprecated_by_default_would_mark_what_was_never_migrated(dsn: str) -> None:
    with seeded(dsn) as conn:
        conn.execute("""ALTER TABLE financial.transaction ADD COLUMN deprecated boolean DEFAULT true,
                                                          ADD COLUMN migrated_to_order_id uuid""")
        conn.execute("""UPDATE financial.transaction ft SET migrated_to_order_id = o.id
                          FROM sales."order" o WHERE o.external_id = ft.external_id""")
        unmigrated = "SELECT count(*) FROM financial.transaction WHERE deprecated AND migrated_to_order_id IS NULL"
        assert _count(conn, unmigrated) > 500


def _count(conn: Connection, query: str) -> int:
    row = conn.execute(query).fetchone()
    assert row is not None
    return int(row[0])
