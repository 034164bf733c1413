"""A commit is in the WAL, and decoded, before new snapshots see it (A1)."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path

import psycopg

from tests.integration.rig import shop
from tests.services.databases import fresh_database
from tests.services.postgres import PostgresServer


def test_a1_a_change_decoded_before_it_is_visible_is_not_lost(
    own_server: PostgresServer, plan_name: str, tmp_path: Path
) -> None:
    """A synchronous standby that never answers holds a commit in that window for as long as the test likes."""
    with fresh_database(own_server) as dsn, shop(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path) as rig:
        rig.capture()
        rig.consume()
        item = uuid.uuid4()
        rig.conn.execute("INSERT INTO shop.item (id, name) VALUES (%s, 'thing')", (item,))
        rig.conn.execute("INSERT INTO shop.item_cost VALUES (%s, 10, 'EUR')", (item,))
        rig.drain()
        database = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
        # Only the application waits for the standby; the sessions of service and test begin after this setting.
        rig.conn.execute("SET synchronous_commit = local")
        rig.conn.execute(f"ALTER DATABASE {database} SET synchronous_commit = local".encode())
        rig.stop()
        rig.capture()
        rig.consume()
        rig.drain()
        ends = sum(rig.log.end_offsets(rig.move("item").topic))
        standby(rig.conn, "nobody")

        def write() -> None:
            with psycopg.connect(dsn, autocommit=True, options="-c synchronous_commit=on") as app:
                app.execute("UPDATE shop.item_cost SET cost = 55 WHERE item_id = %s", (item,))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            rig.wait_until("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')")
            assert cost(rig.conn, "item_cost", "item_id", item) == 10, "the commit is visible: this tests nothing"
            rig.wait_until(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'cutover consume%%'"
                " AND query LIKE '%%pg_current_snapshot%%' AND state <> 'idle' AND xact_start < now() - interval '0.3 s')"
            )
            assert sum(rig.log.end_offsets(rig.move("item").topic)) > ends
        finally:
            standby(rig.conn, "")
            writer.join(30)
        rig.drain()
        assert cost(rig.conn, "item", "id", item) == 55


def standby(conn: psycopg.Connection[tuple[object, ...]], name: str) -> None:
    conn.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'".encode())
    conn.execute("SELECT pg_reload_conf()")


def cost(conn: psycopg.Connection[tuple[object, ...]], table: str, key: str, item: uuid.UUID) -> int:
    row = conn.execute(f"SELECT cost::int FROM shop.{table} WHERE {key} = %s".encode(), (item,)).fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]
