"""Replay: a stretch of the log is read again, and the target ends as the mapping says, whatever was done to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc import stretch
from cdc.replication import lsn_number
from cdc.stretch import Stretch
from consumers import reading
from consumers.outlook import look, only_partitions
from consumers.replay import Replayed, Replayer
from sql.errors import Busy, Gap, UsageError
from tests.integration.rig import Rig, shop
from tests.integration.test_stream import items

LOGS = pytest.mark.parametrize(
    ("server", "log_address"), [("pg15", "kafka"), ("pg18", "sqlite")], indirect=True, ids=["pg15-kafka", "pg18-sqlite"]
)
ONE = pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])


@pytest.fixture
def rig(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> Iterator[Rig]:
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        rig.capture()
        yield rig


def replay(rig: Rig, move: str, stretches: list[Stretch] | None = None, **options: object) -> Replayed:
    found = rig.move(move)
    log = rig.open_log()
    replayer = Replayer(rig.dsn, rig.plan, found, log, options.pop("stop", threading.Event()))  # type: ignore[arg-type]
    return replayer.run("test", stretch.whole(log, found) if stretches is None else stretches, **options)  # type: ignore[arg-type]


def write(rig: Rig) -> None:
    items(rig, 60)
    rig.conn.execute(
        "INSERT INTO shop.payment (ref, amount) SELECT gen_random_uuid()::text, n FROM generate_series(1, 60) n"
    )
    rig.conn.execute("""INSERT INTO "Lager"."Preis" SELECT 'DE', 'N,' || n, 'EUR', n FROM generate_series(1, 60) n""")
    rig.conn.execute("""DELETE FROM "Lager"."Preis" WHERE betrag > 50""")
    rig.drain()


@LOGS
def test_a_healthy_target_stays_as_it_is_and_a_damaged_one_is_made_whole(rig: Rig) -> None:
    """A4, A3: old frames write nothing that is not true now; no clock and no order decides."""
    rig.consume()
    write(rig)
    for name in ("item", "ledger", "price"):
        done = replay(rig, name)
        assert (done.changed, done.finished, done.dead_letters) == (0, True, 0)
        assert done.records > 0
        assert done.keys >= 60
    # (A write to `item` itself is streamed: its consumer may have mended it before the replay comes.)
    rig.conn.execute("UPDATE shop.item SET cost = 99, state = NULL, note = 'wrong' WHERE random() < 0.5 OR id IS NULL")
    rig.conn.execute("""DELETE FROM "Lager"."select" WHERE betrag < 20""")
    rig.conn.execute("""INSERT INTO "Lager"."select" VALUES ('DE', 'N,60', 'back', 60)""")  # a row that was deleted
    rig.conn.execute("""UPDATE "Lager"."select" SET betrag = -1 WHERE betrag > 40""")
    rig.conn.execute('DELETE FROM shop."order" WHERE total < 10')
    assert set(rig.differences()) >= {"ledger", "price"}
    changed = {name: replay(rig, name).changed for name in ("item", "ledger", "price")}
    assert rig.differences() == {}
    assert changed["ledger"] == 9
    assert changed["price"] == 19 + 10 + 1


@ONE
def test_the_target_is_emptied_and_replayed_from_the_start(rig: Rig) -> None:
    rig.consume()
    write(rig)
    rig.conn.execute("""TRUNCATE "Lager"."select" """)
    assert replay(rig, "price").changed == 50
    assert rig.differences() == {}


@ONE
def test_a_key_is_converged_once_for_all_changes_that_it_could_see(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many records it stands in; what somebody asked for is converged each time. A damaged row is mended."""
    rig.consume()
    write(rig)
    for _ in range(8):  # each in records of its own
        rig.conn.execute("""UPDATE "Lager"."Preis" SET betrag = betrag + 100""")
        rig.drain()
    rig.backfill("price")
    rig.drain()
    rig.conn.execute("""UPDATE "Lager"."select" SET betrag = -1""")
    monkeypatch.setattr(reading, "GATHER", 1)  # each record for itself: nothing falls together by chance
    done = replay(rig, "price")
    assert (done.changed, done.dead_letters) == (50, 0)
    assert 110 <= done.keys <= 220  # the 60 that there ever were, the 50 of the backfill; not 8 times as many
    assert rig.differences() == {}


@LOGS
def test_while_consumers_work_and_writers_write(rig: Rig) -> None:
    """Live changes go on beside it; neither takes the other's place."""
    rig.consume()
    rig.consume()
    write(rig)
    running = threading.Event()
    stop = threading.Event()

    def again(stop: threading.Event) -> None:
        while not stop.is_set():
            replay(rig, "item")
            running.set()

    loop = rig.start(again)
    assert running.wait(60)
    for _ in range(10):
        rig.conn.execute("UPDATE shop.item_cost SET cost = cost + 1")
        rig.conn.execute("DELETE FROM shop.item_state WHERE random() < 0.1")
        rig.drain()
        assert rig.difference("item") == []
    stop.set()
    assert rig.stop(loop) == []


@LOGS
def test_a_cold_start_from_an_older_target(rig: Rig) -> None:
    """Consumers were down for a day and the target is last night's: they catch up, and replay mends what is older."""
    consumer = rig.consume()
    write(rig)
    assert rig.stop(consumer) == []
    rig.conn.execute("CREATE TABLE shop.backup AS SELECT * FROM shop.item")
    consumer = rig.consume()
    rig.conn.execute("UPDATE shop.item_cost SET cost = 2")
    rig.drain()
    assert rig.stop(consumer) == []
    rig.conn.execute("UPDATE shop.item_cost SET currency = 'CHF' WHERE random() < 0.5")
    with rig.conn.transaction():  # the restore
        rig.conn.execute("UPDATE shop.item i SET cost = b.cost, currency = b.currency FROM shop.backup b USING (id)"
                         .replace(" USING (id)", " WHERE b.id = i.id"))  # fmt: skip
    done = replay(rig, "item")  # no consumer runs
    assert done.changed == 60
    rig.consume()
    rig.drain()
    assert rig.differences() == {}


@LOGS
def test_stretches_by_lsn_offset_and_time(rig: Rig) -> None:
    rig.consume()
    write(rig)
    row = rig.conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None
    lsn = lsn_number(row[0])
    rig.conn.execute("""UPDATE "Lager"."Preis" SET betrag = betrag + 0.5 WHERE "Nummer" = 'N,7'""")
    rig.drain()
    move, log = rig.move("price"), rig.open_log()
    everything = look(log, move, stretch.whole(log, move))
    assert everything.keys == 60
    late = stretch.from_lsn(log, move, lsn)
    assert look(log, move, late).keys < 60
    early = stretch.until_lsn(log, move, stretch.whole(log, move), lsn)
    assert look(log, move, early).keys == 60
    keys = [("DE", "N,7")]
    mine = only_partitions(move, late, keys)
    assert len(mine) == 1
    assert look(log, move, mine, keys).keys == 1
    rig.conn.execute("""UPDATE "Lager"."select" SET betrag = 0 WHERE "Nummer" IN ('N,7', 'N,8')""")
    assert replay(rig, "price", mine, keys=keys).changed == 1
    assert rig.differences() == {"price": [("DE", "N,8")]}

    (end, *_) = (each.end for each in stretch.whole(log, move))
    with pytest.raises(UsageError, match=rf"offset {end + 10_000} .* is not in the log"):
        stretch.from_offsets(log, move, {0: end + 10_000})
    with pytest.raises(UsageError, match="no partition 99"):
        stretch.from_offsets(log, move, {99: 0})
    (rest,) = stretch.from_offsets(log, move, {0: end})
    assert (rest.partition, rest.start) == (0, end)  # where it ends is the log's end, which watermarks move
    assert rest.end >= end
    assert look(log, move, stretch.from_time(log, move, 0)).keys == 60
    assert look(log, move, stretch.until_time(log, move, stretch.whole(log, move), 0)).records == 0


@ONE
def test_it_goes_on_where_it_stopped_and_only_one_runs(rig: Rig) -> None:
    rig.consume()
    write(rig)
    found, log, stop = rig.move("price"), rig.open_log(), threading.Event()
    replayer = Replayer(rig.dsn, rig.plan, found, log, stop, lambda done, total: stop.set())
    first = replayer.run("spec", stretch.whole(log, found))
    if not first.finished:  # stopped after its first portion
        again = Replayer(rig.dsn, rig.plan, found, log, threading.Event()).run("spec", stretch.whole(log, found))
        assert again.resumed
        assert again.finished
        assert again.records >= first.records
    rows = rig.conn.execute("SELECT count(*) FROM cutover.replay WHERE finished_at IS NOT NULL").fetchone()
    assert rows == (1,)
    with rig.conn.transaction():
        rig.conn.execute(
            "SELECT pg_advisory_lock(hashtextextended('cutover.replay.' || %s || '.price', 0))", (rig.name,)
        )
        pid = rig.conn.info.backend_pid
        who = rf"another replay of price runs, since 2\d{{3}}-.* UTC, from .* \(session {pid} of the server\)"
        with pytest.raises(Busy, match=rf"{who}\n  hint: let it end.*pg_terminate_backend\({pid}\)"):
            replay(rig, "price")


@LOGS
def test_a_topic_that_is_another_is_a_gap(rig: Rig) -> None:
    rig.consume()
    write(rig)
    topic = rig.move("price").topic
    rig.stop()
    rig.log.delete_topic(topic)
    rig.log.ensure_topic(topic, rig.move("price").partitions)
    with pytest.raises(Gap):
        replay(rig, "price")
