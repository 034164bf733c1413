"""Restore over a log that is more than one history: the server was put back to an earlier time, or changes are missing."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from consumers.backfill import backfill
from cutover.arguments import read_moment
from cutover.restore.moment import Moment
from sql.errors import Gap
from tests.integration.rig import FILES, PLAN, SCHEMA, Rig, prepared
from tests.integration.test_gaps import drop_slot, heal
from tests.integration.test_restore import rebuild, same
from tests.services.databases import fresh_database
from tests.services.postgres import LocalPostgres

WITH_ROWS = {**FILES, "plan.toml": PLAN.replace("\nkey ", '\nbackfill = "rows"\nkey ')}
SOURCE = '"Lager"."Preis"'


@contextmanager
def earlier(server: LocalPostgres, folder: Path) -> Iterator[None]:
    """Stop the server; put its data back to what they were on entry at the end, and start it."""
    with psycopg.connect(server.dsn) as conn:
        where, *_ = conn.execute("SHOW data_directory").fetchone() or ("",)
    server.stop()
    subprocess.run(["cp", "-a", where, folder / "earlier"], check=True)
    server.start()
    yield
    server.stop("immediate")
    subprocess.run(["rm", "-rf", where], check=True)
    subprocess.run(["cp", "-a", folder / "earlier", where], check=True)
    server.start()


def now(rig: Rig) -> tuple[Moment, Moment]:
    """This moment as LSN and as time."""
    row = rig.conn.execute("SELECT pg_current_wal_insert_lsn()::text, clock_timestamp()::text").fetchone()
    assert row is not None
    return read_moment("--at", row[0]), read_moment("--at", row[1])


def copy(rig: Rig, name: str) -> None:
    rig.conn.execute(f"CREATE TABLE {name} AS TABLE {SOURCE}".encode())


def test_c2_two_histories_within_a_minute_are_told_apart(plan_name: str, tmp_path: Path) -> None:
    """The server is put back to an earlier time, slot and control schema and all: only the log remembers. What was lost
    is not in what is rebuilt of the newer history, and what came instead is."""
    with LocalPostgres(18) as server, fresh_database(server) as dsn:
        rig = Rig(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path, SCHEMA, WITH_ROWS)
        rig.conn.execute(f"INSERT INTO {SOURCE} SELECT 'DE', n::text, 'EUR', n FROM generate_series(1, 200) n".encode())
        with prepared(rig):
            capture, consume = rig.capture(), rig.consume()
            backfill(rig.dsn, rig.plan, rig.move("price"), rig.log, threading.Event())
            rig.conn.execute(f"UPDATE {SOURCE} SET betrag = 1 WHERE betrag < 20".encode())
            rig.drain()
            rig.stop(capture, consume)
            rig.conn.close()
            with earlier(server, tmp_path):
                rig.reconnect()
                capture, consume = rig.capture(), rig.consume()
                rig.conn.execute(f"UPDATE {SOURCE} SET betrag = -1 WHERE betrag > 100".encode())
                rig.conn.execute(f"DELETE FROM {SOURCE} WHERE betrag BETWEEN 30 AND 60".encode())
                rig.conn.execute(
                    f"INSERT INTO {SOURCE} SELECT 'FR', n::text, 'EUR', n FROM generate_series(1, 50) n".encode()
                )
                copied = rig.conn.execute(f"SELECT count(*) FROM {SOURCE}".encode()).fetchone()
                _, before = now(rig)
                rig.conn.execute(f"UPDATE {SOURCE} SET betrag = -2".encode())
                rig.drain()
                rig.stop(capture, consume)
                rig.conn.close()
            rig.reconnect()
            capture = rig.capture()
            rig.conn.execute(f"UPDATE {SOURCE} SET betrag = 7 WHERE betrag > 190".encode())
            (error,) = rig.ended(capture)
            assert isinstance(error, Gap)
            heal(rig)
            rig.capture()
            rig.consume()
            rig.drain()
            rig.conn.execute(f"DELETE FROM {SOURCE} WHERE betrag = 70".encode())
            copy(rig, "copy")
            for number, moment in enumerate(now(rig)):
                rig.drain()
                found = rebuild(rig, SOURCE, moment, f"public.back{number}")
                assert found.certain
                assert found.gaps
                assert same(rig, f"public.back{number}", "copy") == (0, 0)
            # As of a time before that, it is what the server then had.
            found = rebuild(rig, SOURCE, before, "public.then")
            assert (found.rows, found.certain, found.gaps) == (copied[0] if copied else 0, True, []), found


@pytest.mark.parametrize("server", ["pg15"], indirect=True)
def test_c2_what_a_gap_swallowed_is_not_known(dsn: str, plan_name: str, tmp_path: Path) -> None:
    """The slot is dropped, rows change, the gap is healed: a moment within it is not known, one after the healing is."""
    rig = Rig(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path, SCHEMA, WITH_ROWS)
    rig.conn.execute(f"INSERT INTO {SOURCE} SELECT 'DE', n::text, 'EUR', n FROM generate_series(1, 200) n".encode())
    with prepared(rig):
        capture = rig.capture()
        rig.consume()
        backfill(rig.dsn, rig.plan, rig.move("price"), rig.log, threading.Event())
        rig.conn.execute(f"DELETE FROM {SOURCE} WHERE betrag > 190".encode())
        moments = [now(rig)]
        copy(rig, "copy0")
        rig.drain()
        rig.conn.execute(f"UPDATE {SOURCE} SET betrag = 0 WHERE betrag < 5".encode())
        rig.drain()
        assert rig.stop(capture) == []
        drop_slot(rig)
        rig.conn.execute(f"DELETE FROM {SOURCE} WHERE betrag > 100".encode())
        moments.append(now(rig))
        rig.conn.execute(f"UPDATE {SOURCE} SET betrag = -1 WHERE betrag > 90".encode())
        heal(rig)
        rig.capture()
        rig.consume()
        rig.drain()
        rig.conn.execute(f"DELETE FROM {SOURCE} WHERE betrag = 50".encode())
        moments.append(now(rig))
        copy(rig, "copy2")
        rig.drain()
        for number, ways in enumerate(moments):
            for way, moment in enumerate(ways):
                found = rebuild(rig, SOURCE, moment, f"public.back{number}{way}")
                assert found.certain is (number != 1), (number, way, found)
                assert found.reached is (number != 1)
                assert found.gaps == ([] if number < 2 else [0, 1, 2, 3])
                if found.certain:
                    assert same(rig, f"public.back{number}{way}", f"copy{number}") == (0, 0)
        assert any("there was a gap" in sentence for sentence in found.unknown())


@pytest.mark.parametrize("server", ["pg18"], indirect=True)
def test_c10_what_capture_could_not_follow_is_not_known(dsn: str, plan_name: str, tmp_path: Path) -> None:
    """A key column is renamed: capture halts the move, and what the table got from then on is not in the log."""
    rig = Rig(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path, SCHEMA, WITH_ROWS)
    rig.conn.execute(f"INSERT INTO {SOURCE} SELECT 'DE', n::text, 'EUR', n FROM generate_series(1, 50) n".encode())
    with prepared(rig):
        rig.capture()
        rig.consume()
        backfill(rig.dsn, rig.plan, rig.move("price"), rig.log, threading.Event())
        rig.drain()
        copy(rig, "copy0")
        before = now(rig)
        rig.conn.execute(f'ALTER TABLE {SOURCE} RENAME "Nummer" TO nr'.encode())
        rig.conn.execute(f"DELETE FROM {SOURCE} WHERE betrag < 30".encode())
        rig.wait_until("SELECT halted IS NOT NULL FROM cutover.move WHERE move = 'price'")
        after = now(rig)
        # The other moves go on; when they have passed this, so has capture.
        rig.conn.execute("SELECT cutover.wait_for(pg_current_wal_insert_lsn(), %s, 'item')", (rig.name,))
        assert rebuild(rig, SOURCE, before[0], "public.before").certain
        assert same(rig, "public.before", "copy0") == (0, 0)
        for way, moment in enumerate(after):
            found = rebuild(rig, SOURCE, moment, f"public.after{way}")
            assert (found.reached, found.certain) == (False, False)
