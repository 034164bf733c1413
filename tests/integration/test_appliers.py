"""A worker that is alone with a backlog applies it in several sessions; whatever befalls one of them, nothing is lost."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc.frame import decode
from cdc.replication import lsn_number
from consumers import appliers, batch_size, holding, worker
from consumers.appliers import open_session
from consumers.worker import Worker
from sql.connection import Connection
from tests.integration.rig import Rig, shop

ON_SQLITE = pytest.mark.parametrize("log_address", ["sqlite"], indirect=True)
ON_18 = pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
KEYS = 2_000

# Who writes the target: a trigger of it writes down the session of each row.
WHO = """
CREATE TABLE shop.who (pid int PRIMARY KEY);
CREATE FUNCTION shop.who() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO shop.who VALUES (pg_backend_pid()) ON CONFLICT DO NOTHING;
    RETURN NEW;
END $$;
CREATE TRIGGER who BEFORE UPDATE ON shop.item FOR EACH ROW EXECUTE FUNCTION shop.who();
"""
# The second session that writes a row is ended from within, once.
CUT = """
CREATE SEQUENCE shop.cut;
CREATE OR REPLACE FUNCTION shop.who() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_backend_pid() <> (SELECT pid FROM pg_stat_activity WHERE application_name = current_setting('application_name')
                             ORDER BY backend_start LIMIT 1)
       AND nextval('shop.cut') = 1 THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
    RETURN NEW;
END $$
"""
# Two sessions hold partitions: each has more locks than that of its presence.
BOTH_HOLD = """
SELECT count(*) = 2 FROM (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid IN (
         SELECT pid FROM pg_stat_activity WHERE application_name = %s) GROUP BY pid HAVING count(*) > 1) AS holding
"""
SESSIONS = "SELECT count(*) = %s FROM pg_stat_activity WHERE application_name = %s"


@pytest.fixture
def rig(dsn: str, plan_name: str, log_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """Whatever waits is a backlog here, however new."""
    monkeypatch.setattr(batch_size, "BEHIND", -sys.maxsize)
    monkeypatch.setattr(batch_size, "COLLECT", 5.0)
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        rig.conn.execute(WHO)
        yield rig


def load(rig: Rig) -> None:
    rig.conn.execute(
        "INSERT INTO shop.item (id, name) SELECT gen_random_uuid(), 'thing' FROM generate_series(1, %s)", (KEYS,)
    )
    for cost in range(3):
        rig.conn.execute(
            "INSERT INTO shop.item_cost SELECT id, %s, 'EUR' FROM shop.item"
            " ON CONFLICT (item_id) DO UPDATE SET cost = excluded.cost",
            (cost,),
        )


@pytest.fixture
def backlog(rig: Rig) -> Rig:
    """It is in the log, and nobody applies it yet."""
    load(rig)
    capture = rig.capture()
    until_captured(rig)
    rig.stop(capture)
    return rig


def until_captured(rig: Rig) -> None:
    (written,) = rig.conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone() or ("",)
    deadline = time.monotonic() + 30
    while True:
        reached: dict[int, int] = {}
        for record in rig.placed("item"):
            reached[record.partition] = max(reached.get(record.partition, 0), decode(record.value).lsn)
        if reached and min(reached.values()) >= lsn_number(written):
            return
        assert time.monotonic() < deadline, "not in the log within 30 s"
        rig.conn.execute("SELECT pg_sleep(0.05)")


def several(rig: Rig, sessions: int = 3) -> Worker:
    return Worker(rig.dsn, rig.plan, rig.open_log(), rig.compile, sessions=sessions)


def writers(rig: Rig) -> int:
    (count,) = rig.conn.execute("SELECT count(*) FROM shop.who").fetchone() or (0,)
    return int(count)


def applied(rig: Rig) -> None:
    rig.capture()
    rig.drain()
    assert rig.differences() == {}
    assert rig.stop() == []


@ON_SQLITE
def test_a_lone_worker_applies_a_backlog_in_several_sessions(backlog: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """And closes those that it does not need any more."""
    monkeypatch.setattr(appliers, "KEPT", 1.0)
    monkeypatch.setattr(worker, "WATCH", 0.1)
    it = several(backlog)
    backlog.start(it.run)
    backlog.wait_until("SELECT count(*) = 3 FROM shop.who")
    backlog.capture()
    backlog.drain()
    backlog.wait_until(SESSIONS, (1, f"cutover consume {backlog.name}"))
    assert backlog.differences() == {}
    assert backlog.stop() == []
    assert it.keys >= KEYS


@ON_18
def test_several_workers_need_no_more_sessions(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "REBALANCE", 0.1)
    for _ in range(2):
        rig.start(several(rig).run)
    rig.wait_until(BOTH_HOLD, (f"cutover consume {rig.name}",))
    load(rig)
    applied(rig)
    assert 1 <= writers(rig) <= 2  # the partitions of one move may all be the same worker's


@ON_SQLITE
def test_a2_a_session_that_is_cut_loses_its_part_alone(backlog: Rig) -> None:
    """The other's part is committed, with its positions; the rest comes again."""
    backlog.conn.execute(CUT)
    backlog.start(several(backlog, 2).run)
    backlog.wait_until("SELECT is_called FROM shop.cut")
    applied(backlog)


@ON_18
def test_a_server_that_gives_no_more_sessions_is_asked_no_more(
    backlog: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The backlog is applied in those that there are."""

    def refused(_dsn: str, name: str) -> Connection:
        return open_session("host=127.0.0.1 port=1", name)

    monkeypatch.setattr(appliers, "open_session", refused)
    backlog.start(several(backlog).run)
    applied(backlog)
    assert writers(backlog) == 1
    assert caplog.text.count("one session less applies the backlog") == 1
