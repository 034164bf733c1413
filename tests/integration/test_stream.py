"""The stream end to end: what happens to the sources is in the targets, whatever happens on the way."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cdc import clock, frame
from cdc.replication import now_us
from consumers import lease, positions
from consumers.backfill import backfill
from sql.errors import Busy
from tests.integration.rig import Rig, shop


@pytest.fixture
def rig(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> Iterator[Rig]:
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        yield rig


@pytest.fixture
def running(rig: Rig) -> Rig:
    rig.capture()
    rig.consume()
    return rig


def items(rig: Rig, count: int = 20) -> list[uuid.UUID]:
    """New items with a cost and a state each."""
    ids = [uuid.uuid4() for _ in range(count)]
    with rig.conn.transaction():
        for each in ids:
            rig.conn.execute("INSERT INTO shop.item (id, name) VALUES (%s, 'thing')", (each,))
            rig.conn.execute("INSERT INTO shop.item_cost VALUES (%s, 10, 'EUR', 'card-4711-secret')", (each,))
            rig.conn.execute("INSERT INTO shop.item_state (item_id, state) VALUES (%s, 'new')", (each,))
    return ids


def one(rig: Rig, query: str, *parameters: object) -> tuple[object, ...]:
    row = rig.conn.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row


def test_backfill_and_stream_end_equal(rig: Rig) -> None:
    """Start order does not matter: rows before prepare, backfill before anything runs, then changes of every kind."""
    before = items(rig)
    rig.backfill()
    rig.consume()
    rig.capture()
    after = items(rig)
    rig.conn.execute("UPDATE shop.item_cost SET cost = cost + 1")
    rig.conn.execute("DELETE FROM shop.item_state WHERE item_id = %s", (before[0],))
    rig.conn.execute("INSERT INTO shop.item_hold (item_id, qty) SELECT id, 2 FROM shop.item, generate_series(1, 2)")
    rig.conn.execute("INSERT INTO shop.payment (ref, amount) SELECT 'R' || n, n FROM generate_series(1, 50) n")
    rig.conn.execute(
        """INSERT INTO "Lager"."Preis" SELECT 'DE', 'a"b\\,{' || n, '€', n FROM generate_series(1, 50) n"""
    )
    rig.drain()
    assert rig.differences() == {}
    assert one(rig, "SELECT cost, state, held FROM shop.item WHERE id = %s", before[0])[1:] == (None, 4)
    assert one(rig, "SELECT count(*) FROM shop.item WHERE cost = 11 AND held = 4") == (len(before) + len(after),)
    assert one(rig, 'SELECT count(*) FROM shop."order"') == (50,)
    assert one(rig, 'SELECT count(*) FROM "Lager"."select"') == (50,)


@pytest.mark.parametrize("log_address", ["sqlite"], indirect=True)
def test_an_interrupted_backfill_knows_of_what_came_meanwhile(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while it lies there and while it runs: as long as keys are left, it never says that it has them all."""
    monkeypatch.setattr("consumers.backfill.CHUNK", 1_000)
    more = "INSERT INTO shop.payment (ref, amount) SELECT lpad(n::text, 6, '0'), n FROM generate_series(%s::int, %s) n"
    rig.conn.execute(more, (1, 3_000))
    rig.conn.execute("ANALYZE shop.payment")
    told: list[tuple[int, int]] = []
    stop = threading.Event()

    def heard(done: int, total: int) -> None:
        told.append((done, total))
        if len(told) == 2:
            stop.set()
        if len(told) == 5:
            rig.conn.execute(more, (10_001, 20_000))

    backfill(rig.dsn, rig.plan, rig.move("ledger"), rig.log, stop, heard)
    rig.conn.execute(more, (3_001, 10_000))
    backfill(rig.dsn, rig.plan, rig.move("ledger"), rig.log, threading.Event(), heard)
    assert [done for done, _ in told[:-1]] == [n * 1_000 for n in range(1, 21)]
    assert told[-1] == (20_000, 20_000)  # the estimate ends where it is done
    assert all(2_800 <= total <= 3_200 for _, total in told[:2])
    assert all(9_000 <= total <= 11_000 for _, total in told[2:9])
    assert all(18_000 <= total <= 22_000 for _, total in told[11:-1])
    assert one(rig, "SELECT done, total FROM cutover.backfill WHERE move = 'ledger'") == (20_000, 20_000)


def test_c6_a_moved_key_converges_both_ends(running: Rig) -> None:
    first, second = items(running, 2)
    running.conn.execute("DELETE FROM shop.item_state WHERE item_id = %s", (second,))
    running.conn.execute("UPDATE shop.item_state SET item_id = %s WHERE item_id = %s", (second, first))
    running.drain()
    assert one(running, "SELECT state FROM shop.item WHERE id = %s", first) == (None,)
    assert one(running, "SELECT state FROM shop.item WHERE id = %s", second) == ("new",)
    assert running.differences() == {}


def test_c7_an_unchanged_toast_value_stays(running: Rig) -> None:
    (item,) = items(running, 1)
    running.conn.execute(
        "UPDATE shop.item_state SET note = (SELECT string_agg(md5(n::text), '') FROM generate_series(1, 2000) n)"
    )
    running.conn.execute("UPDATE shop.item_state SET state = 'changed'")
    running.drain()
    assert one(running, "SELECT state, length(note) FROM shop.item WHERE id = %s", item) == ("changed", 64000)


def test_c8_truncate_halts_the_move_and_says_so(running: Rig) -> None:
    """The other moves go on; the operator's heal is tested with the command."""
    items(running)
    running.drain()
    running.conn.execute("TRUNCATE shop.item_cost")
    running.wait_until(
        "SELECT halted LIKE '%%truncated%%' FROM cutover.move WHERE plan = %s AND move = 'item'", (running.name,)
    )
    running.conn.execute("INSERT INTO shop.payment (ref, amount) VALUES ('after', 1)")
    running.wait_until("""SELECT EXISTS (SELECT FROM shop."order" WHERE ref = 'after')""")
    assert one(running, "SELECT count(cost) FROM shop.item") == (20,), "nothing of a halted move is applied"


def test_c11_the_log_holds_mapped_columns_only(running: Rig) -> None:
    items(running)
    running.conn.execute("UPDATE shop.item_cost SET cost = 12, secret = secret || 'x'")
    running.drain()
    raw = b"".join(running.records("item"))
    assert b"12.00" in raw
    assert b"card-4711" not in raw


def test_c12_own_writes_do_not_come_back(running: Rig) -> None:
    """The annotation writes the captured table itself; its change must not be captured again."""
    running.conn.execute("INSERT INTO shop.payment (ref, amount) VALUES ('one', 1)")
    running.wait_until("SELECT bool_and(seen) FROM shop.payment")
    running.drain()
    seen = [change for value in running.records("ledger") for change in frame.decode(value).changes()]
    assert [chr(change[0]) for change in seen] == ["I"]


def test_c15_nothing_of_an_aborted_part_is_applied(running: Rig) -> None:
    (item,) = items(running, 1)
    with running.conn.transaction():
        running.conn.execute("UPDATE shop.item_cost SET cost = 1")
        with running.conn.transaction() as savepoint:
            running.conn.execute("UPDATE shop.item_cost SET cost = 2")
            raise psycopg.Rollback(savepoint)
    running.conn.execute("BEGIN")
    running.conn.execute("UPDATE shop.item_state SET state = 'prepared'")
    running.conn.execute("PREPARE TRANSACTION 'two'")
    running.drain()
    assert one(running, "SELECT cost::int, state FROM shop.item WHERE id = %s", item) == (1, "new")
    running.conn.execute("COMMIT PREPARED 'two'")
    running.drain()
    assert one(running, "SELECT cost::int, state FROM shop.item WHERE id = %s", item) == (1, "prepared")


def test_a2_a_zombie_worker_applies_nothing(rig: Rig) -> None:
    """A worker whose position row was advanced by another finds out before it writes."""
    move = rig.move("item")
    rig.conn.execute('UPDATE cutover.position SET "offset" = 7 WHERE plan = %s AND partition = 1', (rig.name,))
    with pytest.raises(Busy, match="expected"):
        positions.lock(rig.conn, move, {1: 3})
    rig.conn.execute("ROLLBACK")


def test_a4_a_replay_writes_nothing_that_is_not_true(running: Rig) -> None:
    ids = items(running)
    running.conn.execute("UPDATE shop.item_cost SET cost = 1")
    running.conn.execute("UPDATE shop.item_cost SET cost = 2")
    running.drain()
    running.stop()
    before = running.conn.execute("SELECT id, xmin::text FROM shop.item ORDER BY id").fetchall()
    running.conn.execute('UPDATE cutover.position SET "offset" = 0 WHERE plan = %s', (running.name,))
    running.capture()
    running.consume()
    running.drain()
    assert running.conn.execute("SELECT id, xmin::text FROM shop.item ORDER BY id").fetchall() == before
    assert len(ids) == len(before)


def test_a5_the_application_is_never_the_deadlock_victim(running: Rig) -> None:
    """The application holds a target row and wants another one in the wrong order; the consumer gives way."""
    first, second = sorted(items(running, 2))
    running.drain()
    with psycopg.connect(running.dsn) as app:
        app.execute("UPDATE shop.item SET name = 'locked' WHERE id = %s", (second,))
        running.conn.execute("UPDATE shop.item_cost SET cost = 77")
        running.wait_until(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'cutover consume%%'"
            " AND wait_event_type = 'Lock')"
        )
        app.execute("UPDATE shop.item SET name = 'too' WHERE id = %s", (first,))
    running.drain()
    assert running.differences() == {}


def test_a6_a11_poison_becomes_a_dead_letter_and_the_rest_goes_on(running: Rig) -> None:
    """One key of many cannot be written; it is named with SQLSTATE, never with its value, and mends itself later."""
    ids = items(running, 30)
    running.drain()
    running.conn.execute("ALTER TABLE shop.item ADD CONSTRAINT small CHECK (cost < 1000)")
    with running.conn.transaction():
        running.conn.execute("UPDATE shop.item_cost SET cost = 5")
        running.conn.execute("UPDATE shop.item_cost SET cost = 123456 WHERE item_id = %s", (ids[3],))
    running.drain()
    letters = running.conn.execute(
        "SELECT key, sqlstate, message, attempts FROM cutover.dead_letter WHERE plan = %s AND state = 'open'",
        (running.name,),
    ).fetchall()
    assert [(key, state) for key, state, _, _ in letters] == [([str(ids[3])], "23514")]
    assert "123456" not in letters[0][2]
    assert one(running, "SELECT count(*) FROM shop.item WHERE cost = 5") == (29,)
    running.conn.execute("UPDATE shop.item_cost SET cost = 6 WHERE item_id = %s", (ids[3],))
    running.drain()
    assert one(
        running, "SELECT count(*) FROM cutover.dead_letter WHERE plan = %s AND state = 'open'", running.name
    ) == (0,)
    assert running.differences() == {}


def test_a6_a_dead_letter_stays_open_while_its_column_is_behind(running: Rig) -> None:
    """A later change of another column of the same key succeeds; the letter must not be closed by it."""
    ids = items(running, 3)
    running.drain()
    running.conn.execute("ALTER TABLE shop.item ADD CONSTRAINT small CHECK (cost < 1000)")
    running.conn.execute("UPDATE shop.item_cost SET cost = 5000 WHERE item_id = %s", (ids[0],))
    running.drain()
    running.conn.execute("UPDATE shop.item_state SET state = 'later' WHERE item_id = %s", (ids[0],))
    running.drain()
    row = one(running, "SELECT state, attempts FROM cutover.dead_letter WHERE plan = %s", running.name)
    assert row == ("open", 2)


def test_a6_a_letter_that_has_no_key_of_the_move_holds_no_backfill_up(running: Rig) -> None:
    """Entered by hand, or of an earlier key: it stays as it is, and a letter of a key that has left is resolved."""
    keys: list[list[Any]] = [["x", None], [None, None], [["a", "b"]], [], ["x"], ["x", "gone"]]
    for key in keys:
        running.conn.execute(
            'INSERT INTO cutover.dead_letter (plan, move, key, partition, "offset", sqlstate, message)'
            " VALUES (%s, 'price', %s::text[], 0, 0, '22003', 'by hand')",
            (running.name, key),
        )
    running.conn.execute("""INSERT INTO "Lager"."Preis" VALUES ('DE', '1', 'EUR', 1)""")
    running.backfill("price")
    running.drain()
    assert one(running, "SELECT finished_at IS NOT NULL FROM cutover.backfill WHERE move = 'price'") == (True,)
    letters = running.conn.execute("SELECT key, state FROM cutover.dead_letter ORDER BY id").fetchall()
    assert letters == [(key, "resolved" if key == ["x", "gone"] else "open") for key in keys]
    assert running.differences() == {}


def test_a6_a_letter_of_a_backfill_that_was_cut_short_is_asked_for_when_it_goes_on(running: Rig) -> None:
    """Its key came by before the end of the first run, and has left since: no list of keys names it any more."""
    (move,) = [each for each in running.plan.moves if each.name == "price"]
    stop = threading.Event()
    stop.set()
    assert backfill(running.dsn, running.plan, move, running.log, stop) == 0  # it has begun, and no more
    running.conn.execute(
        'INSERT INTO cutover.dead_letter (plan, move, key, partition, "offset", sqlstate, message)'
        " VALUES (%s, 'price', ARRAY['x', 'gone'], 0, 0, '22003', 'in the first run')",
        (running.name,),
    )
    running.backfill("price")
    running.drain()
    assert one(running, "SELECT state, attempts FROM cutover.dead_letter") == ("resolved", 1)


def test_a11_no_value_is_in_a_dead_letter(running: Rig) -> None:
    """Conversion errors and errors of triggers quote values; what is stored does not."""
    items(running, 1)
    running.drain()
    running.conn.execute(
        "CREATE FUNCTION shop.refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'card 4711 refused for %', NEW.id; END$$;"
        "CREATE TRIGGER refuse BEFORE UPDATE ON shop.item FOR EACH ROW EXECUTE FUNCTION shop.refuse()",
        prepare=False,
    )
    running.conn.execute("UPDATE shop.item_cost SET cost = 1")
    running.drain()
    sqlstate, message = one(running, "SELECT sqlstate, message FROM cutover.dead_letter WHERE plan = %s", running.name)
    assert sqlstate == "P0001"
    assert "4711" not in str(message)


def test_a7_duplicate_and_null_keys_never_pick_a_winner(running: Rig) -> None:
    running.conn.execute("INSERT INTO shop.payment (ref, amount) VALUES ('dup', 1), ('dup', 2), (NULL, 3), ('ok', 4)")
    running.drain()
    assert running.conn.execute('SELECT ref FROM shop."order"').fetchall() == [("ok",)]
    running.conn.execute("DELETE FROM shop.payment WHERE amount = 1")
    running.drain()
    assert running.conn.execute('SELECT ref, total::int FROM shop."order" ORDER BY 1').fetchall() == [
        ("dup", 2),
        ("ok", 4),
    ]


def test_a12_a_deleted_satellite_row_takes_its_columns_back(running: Rig) -> None:
    (item,) = items(running, 1)
    running.conn.execute("INSERT INTO shop.item_hold (item_id, qty) VALUES (%s, 5)", (item,))
    running.drain()
    assert one(running, "SELECT cost::int, held FROM shop.item") == (10, 5)
    running.conn.execute("DELETE FROM shop.item_cost")
    running.conn.execute("DELETE FROM shop.item_hold")
    running.drain()
    assert one(running, "SELECT cost, held, state FROM shop.item") == (None, None, "new")


def test_others_rows_of_an_add_move_are_never_written(running: Rig) -> None:
    running.conn.execute("""INSERT INTO shop."order" (ref, total) VALUES ('theirs', 99), ('alone', 1)""")
    running.conn.execute("INSERT INTO shop.payment (ref, amount) VALUES ('theirs', 5), ('ours', 7)")
    running.drain()
    rows = running.conn.execute('SELECT ref, total::int FROM shop."order" ORDER BY 1').fetchall()
    assert rows == [("alone", 1), ("ours", 7), ("theirs", 99)]
    running.conn.execute("UPDATE shop.payment SET amount = 8 WHERE ref = 'ours'")
    running.drain()
    assert one(running, """SELECT total::int FROM shop."order" WHERE ref = 'ours'""") == (8,)
    running.conn.execute("DELETE FROM shop.payment")
    running.drain()
    assert running.conn.execute('SELECT ref FROM shop."order" ORDER BY 1').fetchall() == [("alone",), ("theirs",)]


def test_s10_after_wait_for_a_reader_sees_what_it_wrote(running: Rig) -> None:
    """The application writes the old side, waits for its own commit, and reads the new side."""
    (item,) = items(running, 1)
    for cost in range(1, 21):
        running.conn.execute("UPDATE shop.item_cost SET cost = %s WHERE item_id = %s", (cost, item))
        lsn = one(running, "SELECT pg_current_wal_insert_lsn()::text")[0]
        running.conn.execute("SELECT cutover.wait_for(%s::pg_lsn, %s, 'item', '30 s')", (lsn, running.name))
        assert one(running, "SELECT cost::int FROM shop.item WHERE id = %s", item) == (cost,)


def test_a_clock_that_runs_ahead_does_not_hold_batches_back(
    dsn: str, plan_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lag is told by the server's clock, which stamps commits: a consumer an hour ahead of it is not an hour behind, and
    the watermarks of such a capture do not hide an hour of lag."""
    hour = 3_600_000_000
    monkeypatch.setattr(clock, "now_us", lambda: now_us() + hour)
    with shop(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path) as rig:
        rig.capture()
        rig.consume()
        rig.conn.execute("INSERT INTO shop.item (id, name) SELECT gen_random_uuid(), 'thing'")
        rig.conn.execute("INSERT INTO shop.item_cost SELECT id, 1, 'EUR' FROM shop.item")
        rig.drain()
        row = rig.conn.execute("SELECT max(latency_ms) FROM cutover.position WHERE plan = %s", (rig.name,)).fetchone()
        assert row is not None
        assert 0 <= row[0] < 60_000
        marks = [found for value in rig.records("item") if (found := frame.decode(value)).kind == frame.WATERMARK]
        assert marks
        assert max(found.time for found in marks) < now_us() + hour // 2


def test_ten_consumers_share_four_partitions(dsn: str, plan_name: str, tmp_path: Path) -> None:
    """A2: more workers than partitions: each partition has one, the others stand by, and take over when it goes."""
    with shop(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path) as rig:
        rig.capture()
        consumers = [rig.consume() for _ in range(10)]
        leased = (
            "SELECT count(*) = (SELECT count(*) FROM cutover.position WHERE plan = %s) AND count(*) = count(DISTINCT objid)"
            " FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        for _ in range(3):
            rig.wait_until(leased, (plan_name, lease._LEASE))
            rig.conn.execute(
                "INSERT INTO shop.item (id, name) SELECT gen_random_uuid(), 'x' FROM generate_series(1, 50)"
            )
            rig.conn.execute("INSERT INTO shop.item_cost SELECT id, 1 FROM shop.item ON CONFLICT DO NOTHING")
            rig.drain()
            assert rig.differences() == {}
            assert rig.stop(*(consumers.pop() for _ in range(3))) == []
        assert rig.stop() == []
