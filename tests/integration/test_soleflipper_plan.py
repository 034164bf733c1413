"""The statements of the shipped plan, each against the database that it is about."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from sql.connection import Connection
from sql.names import parse_column
from tests.integration.soleflipper import MAPPINGS, NOW, ROWS, add_columns, plan, planned, seeded, statement, text

LEGACY = {
    "stock": [
        "inventory.stock_financial",
        "inventory.stock_lifecycle",
        "inventory.stock_metrics",
        "inventory.stock_reservation",
    ],
    "order": ["financial.transaction"],
}
OWN_COLUMNS: dict[str, set[str]] = {
    "stock": set(),
    "order": {"id", "platform_specific_data", "created_at", "updated_at"},
}
SALE = "marketplace AS (SELECT id FROM platform.marketplace ORDER BY name LIMIT 1)"


def _rows(conn: Connection, query: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    return conn.execute(query, parameters).fetchall()


def _value(conn: Connection, query: str, parameters: dict[str, Any] | None = None) -> Any:
    ((value,),) = _rows(conn, query, parameters)
    return value


def _apply(conn: Connection) -> None:
    """Bring both targets up to their mappings, as a first backfill does."""
    columns = [
        c
        for (c,) in _rows(
            conn,
            "SELECT attname FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped"
            " AND attrelid = 'cutover.map_soleflipper_stock'::regclass AND attname <> 'id'",
        )
    ]
    listed, mapped = ", ".join(columns), ", ".join(f"m.{column}" for column in columns)
    conn.execute(
        f"UPDATE inventory.stock s SET ({listed}) = ROW({mapped})"
        " FROM cutover.map_soleflipper_stock m WHERE m.id = s.id"
    )
    conn.execute("""
        WITH added AS (
            INSERT INTO sales."order" (external_id, inventory_item_id, platform_id, status, sold_at, gross_sale,
                                       platform_fee, net_profit, roi, currency)
            TABLE cutover.map_soleflipper_order ON CONFLICT DO NOTHING RETURNING external_id)
        INSERT INTO cutover.owned_soleflipper_order SELECT external_id FROM added""")
    _annotate(conn)


def _annotate(conn: Connection, keys: list[str] | None = None) -> int:
    """Run the annotation for these keys, or all; the number of rows it wrote."""
    if keys is None:
        keys = [
            key
            for (key,) in _rows(
                conn, "SELECT DISTINCT external_id FROM financial.transaction WHERE external_id IS NOT NULL"
            )
        ]
    return conn.execute(statement("order_annotate.sql"), {"keys": keys}).rowcount


def _sell(conn: Connection, external_id: str | None) -> str:
    """Book a transaction under this number; its id."""
    return str(
        _value(
            conn,
            f"WITH {SALE} INSERT INTO financial.transaction"
            " (external_id, platform_id, transaction_date, amount, currency)"
            " SELECT %(number)s, id, now(), 100, 'EUR' FROM marketplace RETURNING id",
            {"number": external_id},
        )
    )


def _link(conn: Connection, transaction: str) -> tuple[Any, ...]:
    (row,) = _rows(
        conn,
        "SELECT migrated_to_order_id, deprecated FROM financial.transaction WHERE id = %(id)s",
        {"id": transaction},
    )
    return row


def test_each_mapping_yields_one_row_per_key_in_the_types_of_its_target(dsn: str) -> None:
    with planned(dsn) as conn:
        for move, target in MAPPINGS.items():
            (key,) = plan()["moves"][move]["key"]
            rows, keys, nulls = _rows(
                conn,
                f"SELECT count(*), count(DISTINCT {key}), count(*) FILTER (WHERE {key} IS NULL)"
                f" FROM cutover.map_soleflipper_{move}",
            )[0]
            assert rows == keys > ROWS * 0.4
            assert nulls == 0
            columns = """SELECT attname, atttypid, atttypmod, attcollation FROM pg_attribute
                          WHERE attrelid = %(table)s::regclass AND attnum > 0 AND NOT attisdropped"""
            mapped = set(_rows(conn, columns, {"table": f"cutover.map_soleflipper_{move}"}))
            there = set(_rows(conn, columns, {"table": target}))
            assert mapped <= there
            assert {column for column, *_ in there - mapped} == OWN_COLUMNS[move]


def test_what_the_order_mapping_leaves_out_is_optional_in_its_target(dsn: str) -> None:
    with planned(dsn) as conn:
        required = _rows(
            conn,
            """SELECT attname FROM pg_attribute WHERE attrelid = 'sales."order"'::regclass
                                   AND attnum > 0 AND attnotnull AND NOT atthasdef""",
        )
        mapped = _rows(conn, "SELECT * FROM cutover.map_soleflipper_order")
        names = [
            column.name for column in conn.execute("TABLE cutover.map_soleflipper_order LIMIT 0").description or []
        ]
        assert {name for (name,) in required} == {"platform_id", "gross_sale"}
        for (name,) in required:
            assert all(row[names.index(name)] is not None for row in mapped)


def test_every_legacy_column_is_mapped_or_waived_with_a_reason(dsn: str) -> None:
    with planned(dsn) as conn:
        for move, tables in LEGACY.items():
            waived = {parse_column(column): reason for column, reason in plan()["moves"][move]["waive"].items()}
            read = _rows(
                conn,
                """
                SELECT n.nspname, c.relname, a.attname
                  FROM pg_rewrite r
                  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                                  AND d.refclassid = 'pg_class'::regclass
                  JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                  JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE r.ev_class = %(view)s::regclass AND a.attnum > 0""",
                {"view": f"cutover.map_soleflipper_{move}"},
            )
            there = _rows(
                conn,
                """
                SELECT n.nspname, c.relname, a.attname
                  FROM pg_attribute a
                  JOIN pg_class c ON c.oid = a.attrelid
                  JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.oid = ANY (%(tables)s::regclass[]) AND a.attnum > 0""",
                {"tables": tables},
            )
            named = {(name.schema, name.relation, column) for name, column in waived}
            assert set(there) - set(read) - named == set()
            assert named <= set(there)
            assert all(len(reason) > 10 for reason in waived.values())


def test_the_ddl_only_adds_does_not_rewrite_and_runs_again(dsn: str) -> None:
    files = """SELECT relname, relfilenode FROM pg_class
                WHERE relname IN ('stock', 'transaction', 'order') AND relkind = 'r' ORDER BY 1"""
    with seeded(dsn, rows=100) as conn:
        before = _rows(conn, files)
        add_columns(conn)
        after = _rows(conn, "SELECT attrelid, attname FROM pg_attribute WHERE attnum > 0")
        add_columns(conn)
        assert _rows(conn, files) == before
        assert set(_rows(conn, "SELECT attrelid, attname FROM pg_attribute WHERE attnum > 0")) == set(after)
        assert _value(conn, "SELECT count(*) FROM inventory.stock WHERE reserved_qty = 0") == 100


def test_only_active_reservations_count_and_the_longest_holder_is_shown(dsn: str) -> None:
    now = datetime.now(UTC)
    reservation = """
        INSERT INTO inventory.stock_reservation (stock_id, reserved_qty, reserved_by, status, expires_at)
        VALUES (%(stock)s, %(quantity)s, md5(%(who)s)::uuid, %(status)s, %(expires)s)"""
    read = """SELECT reserved_qty, reserved_by = md5(%(who)s)::uuid, reservation_expires
                FROM cutover.map_soleflipper_stock WHERE id = %(stock)s"""

    def utc(minutes: float) -> datetime:
        return (now + timedelta(minutes=minutes)).replace(tzinfo=None)

    with planned(dsn, rows=100) as conn:
        free = _value(
            conn,
            "SELECT id FROM inventory.stock s WHERE NOT EXISTS"
            " (SELECT FROM inventory.stock_reservation r WHERE r.stock_id = s.id) LIMIT 1",
        )
        assert _rows(conn, read, {"stock": free, "who": ""}) == [(0, None, None)]
        for who, quantity, status, expires in [
            ("expired", 1, "active", utc(-1)),
            ("released", 2, "released", utc(60)),
            ("short", 4, "active", utc(10)),
            ("long", 8, "active", utc(20)),
        ]:
            values = {"stock": free, "quantity": quantity, "who": who, "status": status, "expires": expires}
            conn.execute(reservation, values)
        for zone in ("UTC", "Asia/Tokyo", "America/New_York"):  # of whoever reads: it must not matter
            conn.execute("SELECT set_config('timezone', %s, false)", [zone])
            assert _rows(conn, read, {"stock": free, "who": "long"}) == [(12, True, utc(20))], zone
        open_ended = {"stock": free, "quantity": 16, "who": "open", "status": "active", "expires": None}
        conn.execute(reservation, open_ended)
        assert _rows(conn, read, {"stock": free, "who": "open"}) == [(28, True, None)]


def test_the_refresh_names_each_key_whose_reservations_ran_out_in_its_window_once(dsn: str) -> None:
    expected = """SELECT DISTINCT stock_id FROM inventory.stock_reservation WHERE status = 'active'
                     AND expires_at > %(since)s::timestamp AND expires_at <= %(until)s::timestamp"""
    with planned(dsn) as conn:
        windows = [(NOW + timedelta(seconds=at), NOW + timedelta(seconds=at + 30)) for at in range(0, 300, 30)]
        found: set[Any] = set()
        for zone in ("UTC", "Asia/Tokyo"):
            conn.execute("SELECT set_config('timezone', %s, false)", [zone])
            for since, until in windows:
                due = conn.execute(statement("stock_due.sql"), {"since": since, "until": until}).fetchall()
                naive = {"since": since.replace(tzinfo=None), "until": until.replace(tzinfo=None)}
                assert sorted(due) == sorted(_rows(conn, expected, naive))
                found |= set(due)
        whole = {"since": windows[0][0].replace(tzinfo=None), "until": windows[-1][1].replace(tzinfo=None)}
        assert found == set(_rows(conn, expected, whole))
        assert len(found) > 20


def test_the_mapping_changes_for_the_due_keys_and_for_no_other(dsn: str) -> None:
    # The clock cannot be turned, so the data are: what ran out in the last minute is what a refresh has to name.
    with planned(dsn, rows=500, at=datetime.now(UTC) + timedelta(hours=1)) as conn:
        read = "SELECT id::text, reserved_qty, reserved_by, reservation_expires FROM cutover.map_soleflipper_stock"
        before = {row[0]: row[1:] for row in _rows(conn, read)}
        shift = timedelta(hours=1, minutes=3)
        conn.execute("UPDATE inventory.stock_reservation SET expires_at = expires_at - %s", [shift])
        after = {row[0]: row[1:] for row in _rows(conn, read)}
        until = datetime.now(UTC)
        due = conn.execute(statement("stock_due.sql"), {"since": until - shift, "until": until}).fetchall()
        changed = {key for key in before if before[key][:2] != after[key][:2]}
        assert changed
        assert changed <= {str(key) for (key,) in due}


def test_every_transaction_is_mapped_or_quarantined_once_with_its_reason(dsn: str) -> None:
    with planned(dsn) as conn:
        mapped = [key for (key,) in _rows(conn, "SELECT external_id FROM cutover.map_soleflipper_order")]
        quarantined = _rows(conn, text("order_quarantine.sql"))
        assert len(mapped) + len(quarantined) == _value(conn, "SELECT count(*) FROM financial.transaction")
        assert not {key for key, _ in quarantined} & set(mapped)
        assert all(key == key.strip().upper() != "" for key in mapped)
        reasons = Counter(reason.split(";")[0] for _, reason in quarantined)
        assert all("; cure: " in reason for _, reason in quarantined)
        assert reasons == {
            "no external_id": 12,
            "external_id is not canonical": 43,
            "external_id is not unique": 18,
            "no currency": 3,
            "roi does not fit numeric(8,2)": 1,
        }


@pytest.mark.parametrize(
    "defect",
    [
        "currency = NULL",
        "roi = 1000000",
        "roi = 'NaN'",
        "external_id = ''",
        "external_id = NULL",
        "external_id = lower(external_id)",
        "external_id = external_id || ' '",
    ],
)
def test_a_defect_moves_a_transaction_into_quarantine_and_its_cure_back(dsn: str, defect: str) -> None:
    with planned(dsn, rows=100) as conn:
        sold = {"id": _sell(conn, "SX-1")}
        mapped = "SELECT count(*) FROM cutover.map_soleflipper_order WHERE external_id = 'SX-1'"
        quarantined = f"SELECT count(*) FROM ({text('order_quarantine.sql')}) q"
        before = _value(conn, quarantined)
        assert _value(conn, mapped) == 1
        conn.execute(f"UPDATE financial.transaction SET {defect} WHERE id = %(id)s", sold)
        assert (_value(conn, mapped), _value(conn, quarantined)) == (0, before + 1)
        cure = "UPDATE financial.transaction SET external_id = 'SX-1', currency = 'EUR', roi = 1 WHERE id = %(id)s"
        conn.execute(cure, sold)
        assert (_value(conn, mapped), _value(conn, quarantined)) == (1, before)


def test_a_roi_too_large_never_breaks_a_reader_of_the_mapping(dsn: str) -> None:
    with planned(dsn) as conn:
        assert _value(conn, "SELECT count(*) FROM financial.transaction WHERE roi > 999999.99") == 1
        assert _value(conn, "SELECT count(*) FROM cutover.map_soleflipper_order WHERE roi > -1000 OR roi IS NULL") > 900


def test_links_follow_the_orders_and_are_written_only_when_they_change(dsn: str) -> None:
    with planned(dsn) as conn:
        _apply(conn)
        linked = """SELECT count(*), count(o.id) FROM financial.transaction t JOIN cutover.map_soleflipper_order m
                     USING (external_id) LEFT JOIN sales."order" o ON o.id = t.migrated_to_order_id
                      AND o.external_id = t.external_id WHERE t.deprecated"""
        mapped = _value(conn, "SELECT count(*) FROM cutover.map_soleflipper_order")
        assert _rows(conn, linked) == [(mapped, mapped)]
        assert _value(conn, "SELECT count(*) FROM financial.transaction WHERE deprecated") == mapped
        assert _annotate(conn) == 0

        one, other = _rows(
            conn,
            'SELECT id, external_id FROM sales."order" WHERE external_id IN'
            " (SELECT external_id FROM cutover.map_soleflipper_order) LIMIT 2",
        )
        transaction = _value(conn, "SELECT id FROM financial.transaction WHERE external_id = %(key)s", {"key": one[1]})
        conn.execute('DELETE FROM sales."order" WHERE id = %s', [one[0]])
        assert _annotate(conn, [other[1]]) == 0  # not asked about it
        assert _annotate(conn, [one[1]]) == 1
        assert _link(conn, transaction) == (None, False)


def test_a_link_is_cleared_when_the_number_is_taken_away_or_shared(dsn: str) -> None:
    with planned(dsn, rows=100) as conn:
        conn.execute(f"""WITH {SALE} INSERT INTO sales."order" (external_id, platform_id, gross_sale)
                             SELECT 'SX-' || n, id, 1 FROM marketplace, generate_series(1, 2) n""")
        first, second = _sell(conn, "SX-1"), _sell(conn, "SX-2")
        assert _annotate(conn, ["SX-1", "SX-2"]) == 2
        assert (_link(conn, first)[1], _link(conn, second)[1]) == (True, True)
        conn.execute("UPDATE financial.transaction SET external_id = NULL WHERE id = %s", [first])
        assert _annotate(conn, ["SX-1"]) == 1
        assert _link(conn, first) == (None, False)
        again = _sell(conn, "SX-2")
        assert _annotate(conn, ["SX-2"]) == 1
        assert (_link(conn, second), _link(conn, again)) == ((None, False), (None, False))


@pytest.mark.parametrize("move", MAPPINGS)
def test_a_few_keys_are_found_by_index(dsn: str, move: str) -> None:
    (key,) = plan()["moves"][move]["key"]
    with planned(dsn) as conn:
        keys = [str(key) for (key,) in _rows(conn, f"SELECT {key} FROM cutover.map_soleflipper_{move} LIMIT 100")]
        conn.execute("SET enable_seqscan = off")  # the tables of a test are too small for the planner to bother
        kind = "uuid" if key == "id" else "varchar"
        found = _value(
            conn,
            f"EXPLAIN (FORMAT JSON) SELECT * FROM cutover.map_soleflipper_{move}"
            f" WHERE {key} = ANY (%(keys)s::{kind}[])",
            {"keys": keys},
        )
        assert "Seq Scan" not in json.dumps(found)
        assert "Index" in json.dumps(found)
        if move == "order":
            found = _rows(conn, "EXPLAIN " + statement("order_annotate.sql"), {"keys": keys})
            assert not [line for (line,) in found if "Seq Scan" in line]


def test_the_invariants_agree_after_a_backfill_and_notice_a_changed_amount(dsn: str) -> None:
    spoil = {
        ("stock", "money per currency"): "UPDATE inventory.stock SET purchase_price = purchase_price + 0.01"
        " WHERE id = (SELECT id FROM inventory.stock WHERE purchase_price > 0 LIMIT 1)",
        ("stock", "items per lifecycle status"): "UPDATE inventory.stock SET lifecycle_status = 'lost'"
        " WHERE id = (SELECT id FROM inventory.stock WHERE lifecycle_id IS NOT NULL LIMIT 1)",
        ("stock", "metrics in total"): "UPDATE inventory.stock SET roi = roi + 0.01"
        " WHERE id = (SELECT id FROM inventory.stock WHERE roi < 100 LIMIT 1)",
        ("order", "transactions that have their order"): 'DELETE FROM sales."order" WHERE external_id ='
        " (SELECT external_id FROM cutover.owned_soleflipper_order LIMIT 1)",
        ("order", "money per currency"): """UPDATE sales."order" SET currency = 'XXX' WHERE external_id ="""
        " (SELECT external_id FROM cutover.owned_soleflipper_order LIMIT 1)",
    }
    invariants = {(move, it["name"]): it for move in MAPPINGS for it in plan()["moves"][move]["invariants"]}
    assert invariants.keys() == spoil.keys()
    with planned(dsn) as conn:
        _apply(conn)
        for which, it in invariants.items():
            (legacy,) = _rows(conn, it["legacy"])
            assert legacy[0] is not None
            assert _rows(conn, it["consolidated"]) == [legacy], which
        for which, damage in spoil.items():
            with conn.transaction(force_rollback=True):
                conn.execute(damage)
                it = invariants[which]
                assert _rows(conn, it["consolidated"]) != _rows(conn, it["legacy"]), which


def test_fragments_that_go_away_take_their_columns_back(dsn: str) -> None:
    with planned(dsn, rows=100) as conn:
        (stock,) = _rows(conn, "SELECT stock_id FROM inventory.stock_financial WHERE fees IS NOT NULL LIMIT 1")[0]
        columns = "purchase_price, sale_price, currency, fees, financial_id"
        conn.execute("UPDATE inventory.stock_financial SET fees = %s WHERE stock_id = %s", [Jsonb({"vat": 1}), stock])
        read = f"SELECT {columns} FROM cutover.map_soleflipper_stock WHERE id = %(id)s"
        assert _rows(conn, read, {"id": stock})[0][3] == {"vat": 1}
        conn.execute("DELETE FROM inventory.stock_financial WHERE stock_id = %s", [stock])
        assert _rows(conn, read, {"id": stock}) == [(None,) * 5]
