"""R1, R3: of both shipped moves, exactly what was planted is drift, under writers, while consumers come, go and are killed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from consumers.refresh import Refresher
from sql.connection import connect
from sql.soleflipper.seed import install
from tests.integration.planting import Field, Ground, exactly_what_was_planted_is_drift
from tests.integration.rig import Rig, prepared
from tests.integration.soleflipper import NOW

ROWS = 300
BOTH = pytest.mark.parametrize(
    ("server", "log_address"), [("pg15", "kafka"), ("pg18", "sqlite")], indirect=True, ids=["pg15-kafka", "pg18-sqlite"]
)

_STOCK = "UPDATE inventory.stock SET {} WHERE id = %(k1)s AND {} RETURNING id::text"
STOCK = [
    _STOCK.format(*each)
    for each in (
        ("sale_price = coalesce(sale_price, 0) + 0.01", "true"),
        ("purchase_price = NULL", "purchase_price IS NOT NULL"),
        ("state_changed_by = ''", "state_changed_by IS NULL"),
        ("state_changed_by = NULL", "state_changed_by IS NOT NULL"),
        ("lifecycle_status = lifecycle_status || ' '", "lifecycle_status IS NOT NULL"),
        ("purchase_price = sale_price, sale_price = purchase_price", "purchase_price <> sale_price"),
        ("""fees = jsonb_set(fees, '{platform}', (fees ->> 'platform' || '0')::jsonb)""", "fees ? 'platform'"),
        ("fees = '{}'", "fees IS NULL"),
        ("fees = NULL", "fees = '{}'"),
        (
            "state_changed_at = state_changed_at AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo'",
            "lifecycle_id IS NOT NULL",
        ),
        ("reserved_by = gen_random_uuid()", "true"),
        ("metrics_id = NULL", "metrics_id IS NOT NULL"),
        ("financial_id = lifecycle_id, lifecycle_id = financial_id", "financial_id <> lifecycle_id"),
    )
]
STOCK_SAME = [
    _STOCK.format(*each)
    for each in (
        ("purchase_price = purchase_price::numeric(14,6)", "true"),
        ("fees = (SELECT jsonb_object_agg(key, value ORDER BY key DESC) FROM jsonb_each(fees))", "fees ? 'platform'"),
        ("state_changed_at = state_changed_at AT TIME ZONE 'UTC' AT TIME ZONE 'UTC'", "true"),
        ("currency = currency::char(5)", "true"),
    )
]
_ORDER = """UPDATE sales."order" SET {} WHERE external_id = %(k1)s AND {} RETURNING external_id"""
ORDER = [
    *(
        _ORDER.format(*each)
        for each in (
            ("gross_sale = gross_sale + 0.01", "true"),
            ("net_profit = NULL", "net_profit IS NOT NULL"),
            ("platform_fee = net_profit, net_profit = platform_fee", "platform_fee <> net_profit"),
            ("status = status || ' '", "true"),
            ("currency = ''", "true"),
            ("sold_at = sold_at AT TIME ZONE 'UTC' AT TIME ZONE 'America/New_York'", "true"),
        )
    ),
    """DELETE FROM sales."order" WHERE external_id = %(k1)s RETURNING external_id""",
    """WITH new AS (INSERT INTO sales."order" (external_id, platform_id, gross_sale)
                    SELECT external_id || 'X', platform_id, 1 FROM sales."order" WHERE external_id = %(k1)s
                    RETURNING external_id),
            owned AS (INSERT INTO {owned} SELECT external_id FROM new)
       SELECT external_id FROM new""",
]
ORDER_SAME = [
    _ORDER.format("gross_sale = gross_sale::numeric(14,6)", "true"),
    _ORDER.format("updated_at = now(), platform_specific_data = '{}'", "true"),
    # Others' rows: one without a legacy row, and one that is kept as it is.
    """INSERT INTO sales."order" (external_id, platform_id, gross_sale)
       SELECT external_id || 'Y', platform_id, 1 FROM sales."order" WHERE external_id = %(k1)s RETURNING external_id""",
    """UPDATE sales."order" SET gross_sale = gross_sale + 1
        WHERE external_id = (SELECT o.external_id FROM sales."order" o JOIN financial.transaction t USING (external_id)
                              WHERE NOT EXISTS (SELECT FROM {owned} w WHERE w.external_id = o.external_id) LIMIT 1)
       RETURNING external_id""",
]
# An empty object beside NULL, in some quiet rows.
EMPTY_FEES = """
UPDATE inventory.stock_financial SET fees = '{}'
 WHERE stock_id IN (SELECT stock_id FROM inventory.stock_financial WHERE stock_id = ANY (%s::uuid[]) ORDER BY stock_id LIMIT 5)
"""
WRITES = (
    "UPDATE inventory.stock SET location = 'R' || %(n)s, version = version + 1 WHERE id = %(stock)s",
    "UPDATE inventory.stock_financial SET sale_price = %(n)s, fees = jsonb_build_object('platform', %(n)s::int) WHERE stock_id = %(stock)s",
    "DELETE FROM inventory.stock_financial WHERE stock_id = %(stock)s",
    "INSERT INTO inventory.stock_financial (stock_id, purchase_price) VALUES (%(stock)s, %(n)s) ON CONFLICT DO NOTHING",
    "UPDATE inventory.stock_lifecycle SET previous_status = status, status = 's' || %(n)s WHERE stock_id = %(stock)s",
    "UPDATE inventory.stock_metrics SET roi = %(n)s WHERE stock_id = %(stock)s",
    "INSERT INTO inventory.stock_reservation (stock_id, reserved_by) VALUES (%(stock)s, gen_random_uuid())",
    "UPDATE inventory.stock_reservation SET status = 'released' WHERE stock_id = %(stock)s",
    "UPDATE financial.transaction SET amount = %(n)s, status = 's' || %(n)s WHERE external_id = %(sale)s",
    "UPDATE financial.transaction SET currency = nullif(currency, 'EUR') WHERE external_id = %(sale)s",
    "UPDATE financial.transaction SET currency = coalesce(currency, 'EUR') WHERE external_id = %(sale)s",
)


def _named(name: str) -> dict[str, str]:
    """The shipped plan under another name."""
    folder = files("sql.soleflipper")
    return {
        file.name: file.read_text(encoding="utf-8")
        .replace("map_soleflipper", f"map_{name}")
        .replace("owned_soleflipper", f"owned_{name}")
        .replace('name = "soleflipper"', f'name = "{name}"')
        for file in folder.iterdir()
        if file.name.endswith((".toml", ".sql"))
    }


@pytest.fixture
def ground(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> Iterator[Ground]:
    with connect(dsn, "test") as conn:
        install(conn, ROWS, 1, NOW)
    with prepared(Rig(dsn, plan_name, log_address, tmp_path, "SELECT 1", _named(plan_name))) as rig:
        stock = _column(rig, "SELECT id::text FROM inventory.stock ORDER BY id")
        sales = _column(
            rig,
            f"SELECT external_id FROM {rig.move('order').view} m WHERE NOT EXISTS"
            ' (SELECT FROM sales."order" o WHERE o.external_id = m.external_id) ORDER BY external_id',
        )
        rig.conn.execute(EMPTY_FEES, (stock[1::2],))
        rig.capture()
        rig.start(Refresher(rig.dsn, rig.plan, rig.open_log()).run)
        owned = str(rig.move("order").owned)
        fields = {
            "stock": Field(STOCK, STOCK_SAME, [(key,) for key in stock[1::2]]),
            "order": Field(
                [each.replace("{owned}", owned) for each in ORDER],
                [each.replace("{owned}", owned) for each in ORDER_SAME],
                [(key,) for key in sales[1::2]],
            ),
        }

        def busy(dice: random.Random) -> dict[str, object]:
            return {"n": dice.randrange(1000), "stock": dice.choice(stock[::2]), "sale": dice.choice(sales[::2])}

        yield Ground(rig, fields, WRITES, busy)


def _column(rig: Rig, query: str) -> list[str]:
    return [value for (value,) in rig.conn.execute(query.encode())]


@BOTH
def test_r1_r3_exactly_what_was_planted_in_the_shipped_moves_is_drift(ground: Ground) -> None:
    exactly_what_was_planted_is_drift(ground, (0, 2, None))
