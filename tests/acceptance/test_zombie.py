"""A2: a consumer that was frozen in the midst of a batch for longer than it may be, and woken; by its own process."""

from __future__ import annotations

import signal
import time

import psycopg
import pytest

from tests.acceptance.command import Cli

CONSUMERS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'cutover consume%'"
)
WAITS = f"SELECT EXISTS ({CONSUMERS} AND wait_event_type = 'Lock')"
IN_HAND = f"SELECT EXISTS ({CONSUMERS} AND state = 'idle in transaction')"
ROWS = """SELECT tenant, sku, price, xmin::text FROM "Lager".product ORDER BY 1, 2"""
POSITIONS = 'SELECT partition, "offset" FROM cutover.position ORDER BY 1'


def eventually(conn: psycopg.Connection, query: str, expected: object = True) -> None:
    deadline = time.monotonic() + 60
    while (row := conn.execute(query.encode()).fetchone()) != (expected,):
        assert time.monotonic() < deadline, (query, row)
        time.sleep(0.02)


def read_to_the_end(tour: Cli) -> None:
    deadline = time.monotonic() + 60
    while True:
        (move,) = tour.run("status", "--json", code=None).document["moves"]
        if all(each["offset"] == each["end_offset"] for each in move["partitions"]):
            return
        assert time.monotonic() < deadline, move


@pytest.mark.parametrize(
    ("server", "log_address", "by_itself"),
    [("pg15", "sqlite", True), ("pg18", "kafka", False)],
    indirect=["server", "log_address"],
    ids=["pg15-sqlite", "pg18-kafka"],
)
def test_a2_a_frozen_consumer_that_is_woken_applies_nothing(tour: Cli, dsn: str, by_itself: bool) -> None:
    """SIGSTOP while its batch is written and not committed. The server ends its session (`idle_in_transaction_session_
    timeout`; or an operator does), another process takes its partitions, applies the batch and what came since. Woken
    by SIGCONT, the first finds its session gone: not a row and not a position is other than the second left it."""
    tour.run("prepare", "--set-identity")
    with (
        psycopg.connect(dsn, autocommit=True) as conn,
        psycopg.connect(dsn) as application,
        tour.start("capture") as capture,
        tour.start("consume", "--sessions", "1") as frozen,
    ):
        capture.wait_for("capturing")
        frozen.wait_for("has 4 partitions")
        tour.run("backfill")
        conn.execute("SELECT cutover.wait_for(pg_current_wal_insert_lsn())")
        tour.eventually("reconcile")
        application.execute("""SELECT FROM "Lager".product WHERE sku = 'A-7' FOR UPDATE""")
        conn.execute("""UPDATE "Lager"."Preis" SET "Betrag" = 111 WHERE "ArtikelNr" = 'A-7'""")
        eventually(conn, WAITS)
        frozen.process.send_signal(signal.SIGSTOP)
        application.rollback()
        eventually(conn, IN_HAND)  # written, for itself alone
        with tour.start("consume", "--sessions", "1") as other:
            if not by_itself:
                conn.execute(
                    f"SELECT pg_terminate_backend(pid) FROM ({CONSUMERS} AND state = 'idle in transaction') s".encode()
                )
            other.wait_for("has 4 partitions")
            conn.execute("""UPDATE "Lager"."Preis" SET "Betrag" = 222 WHERE "ArtikelNr" = 'A-7'""")
            tour.eventually("reconcile")
            assert other.stop() == 0
        assert capture.stop() == 0  # nothing more comes, of which it could be said that the woken one applied it
        with tour.start("consume", "--sessions", "1") as other:
            other.wait_for("has 4 partitions")
            read_to_the_end(tour)
            ends = conn.execute(POSITIONS.encode()).fetchall()
            rows = conn.execute(ROWS.encode()).fetchall()
            frozen.process.send_signal(signal.SIGCONT)
            frozen.wait_for("has 2 partitions")  # in a new session, with its share
            assert conn.execute(POSITIONS.encode()).fetchall() == ends
            assert conn.execute(ROWS.encode()).fetchall() == rows
            assert {str(price) for _, sku, price, _ in rows if sku == "A-7"} == {"222.00"}
            assert other.stop() == 0
        assert frozen.stop() == 0
