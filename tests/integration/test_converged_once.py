"""A key of a backlog is converged once for all the changes that its convergence could see, and again for the others."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cdc import frame
from consumers import batch_size
from tests.integration.rig import Rig, shop
from tests.integration.test_visibility import cost, standby
from tests.services.databases import fresh_database
from tests.services.postgres import PostgresServer

SQLITE = pytest.mark.parametrize("log_address", ["sqlite"], indirect=True)
ITEM = uuid.UUID(int=7)


@pytest.fixture
def rig(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> Iterator[Rig]:
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        yield rig


@pytest.fixture(autouse=True)
def one_frame_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("FIRST_BATCH", "MIN_BATCH", "MAX_BATCH"):
        monkeypatch.setattr(batch_size, limit, 1)


def captured(rig: Rig, statement: str, *parameters: object) -> None:
    """Execute, and wait until the log has it: the next has a frame of its own."""
    before, deadline = frames(rig), time.monotonic() + 30
    rig.conn.execute(statement.encode(), parameters)
    while frames(rig) == before:
        assert time.monotonic() < deadline, "not in the log within 30 s"
        rig.conn.execute("SELECT pg_sleep(0.01)")


def frames(rig: Rig) -> int:
    return sum(1 for value in rig.records("item") if frame.decode(value).kind == frame.CHANGES)


def thing(rig: Rig) -> None:
    rig.conn.execute("INSERT INTO shop.item (id, name) VALUES (%s, 'thing')", (ITEM,))
    rig.conn.execute("INSERT INTO shop.item_cost VALUES (%s, 0, 'EUR')", (ITEM,))
    rig.conn.execute("INSERT INTO shop.item_state (item_id, state) VALUES (%s, 'new')", (ITEM,))


@SQLITE
def test_a_key_is_converged_once_for_what_it_could_see(rig: Rig) -> None:
    thing(rig)
    rig.capture()
    for at in range(1, 20):
        captured(rig, "UPDATE shop.item_cost SET cost = %s WHERE item_id = %s", at, ITEM)
    assert frames(rig) >= 19
    batches: list[int] = []
    rig.consume(lambda _move, result, _seconds: batches.append(result.keys))
    rig.drain()
    assert rig.differences() == {}
    assert sum(batches) < 10


@SQLITE
def test_what_another_table_changed_is_converged_too(rig: Rig) -> None:
    """The first look makes right only the columns that its frame's tables feed."""
    thing(rig)
    rig.capture()
    rig.consume()
    rig.drain()
    rig.stop()
    rig.capture()
    captured(rig, "UPDATE shop.item_cost SET cost = 5 WHERE item_id = %s", ITEM)
    captured(rig, "UPDATE shop.item_state SET state = 'sold' WHERE item_id = %s", ITEM)
    captured(rig, "UPDATE shop.item_cost SET cost = 6 WHERE item_id = %s", ITEM)
    rig.consume()
    rig.drain()
    assert rig.differences() == {}


def test_a1_a_change_that_was_hidden_from_the_look_is_converged(
    own_server: PostgresServer, plan_name: str, tmp_path: Path
) -> None:
    """Its commit is in WAL, before the look, and held back by a synchronous standby that never answers."""
    with fresh_database(own_server) as dsn:
        database = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
        with psycopg.connect(dsn, autocommit=True) as admin:  # for all but the application
            admin.execute(f"ALTER DATABASE {database} SET synchronous_commit = local".encode())
        with shop(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path) as rig:
            thing(rig)
            rig.capture()
            captured(rig, "UPDATE shop.item_cost SET cost = 10 WHERE item_id = %s", ITEM)
            before = frames(rig)
            standby(rig.conn, "nobody")

            def write() -> None:
                with psycopg.connect(dsn, autocommit=True, options="-c synchronous_commit=on") as app:
                    app.execute("UPDATE shop.item_cost SET cost = 55 WHERE item_id = %s", (ITEM,))

            writer = threading.Thread(target=write)
            writer.start()
            try:
                rig.wait_until("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')")
                captured(rig, "UPDATE shop.item_state SET note = 'later' WHERE item_id = %s", ITEM)
                assert frames(rig) > before
                rig.consume()
                rig.wait_until(
                    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'cutover consume%%'"
                    " AND query LIKE '%%pg_current_snapshot%%' AND state <> 'idle' AND xact_start < now() - interval '0.3 s')"
                )
                assert cost(rig.conn, "item", "id", ITEM) == 10
            finally:
                standby(rig.conn, "")
                writer.join(30)
            rig.drain()
            assert rig.differences() == {}
