"""The replication stream itself, against a real walsender."""

from __future__ import annotations

import threading

import psycopg
import pytest

from cdc.replication import ReplicationStream, lsn_text
from tests.services.databases import fresh_database
from tests.services.postgres import PostgresServer

FLOOD = "SELECT pg_logical_emit_message(false, 'test', repeat('x', 1000)) FROM generate_series(1, 50)"
SLOT = "SELECT active, confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = 'ending'"


@pytest.mark.parametrize("server", ["pg15"], indirect=True)
def test_c1_what_a_stream_confirms_at_its_end_the_slot_has(server: PostgresServer) -> None:
    """While the server sends more than anybody reads: a connection closed so is reset, which loses one word in four."""
    stop = threading.Event()

    def flood(dsn: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as conn:
            while not stop.is_set():
                conn.execute(FLOOD)

    with fresh_database(server) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SELECT pg_create_logical_replication_slot('ending', 'pgoutput')")
        conn.execute("CREATE PUBLICATION ending")
        writers = [threading.Thread(target=flood, args=(dsn,)) for _ in range(2)]
        for writer in writers:
            writer.start()
        try:
            for _ in range(20):
                stream = ReplicationStream(dsn, "ending", "ending")
                read = 0
                while read < 200:
                    read += len(stream.read(100))
                    stream.wait(0.1)
                (end,) = conn.execute("SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint").fetchone() or (0,)
                stream.feedback(end, end)
                stream.end()
                stream.close()
                while (found := conn.execute(SLOT, (lsn_text(end),)).fetchone()) and found[0]:
                    pass
                assert found == (False, True)
        finally:
            stop.set()
            for writer in writers:
                writer.join()
