"""A streaming standby of a server of our own: made by pg_basebackup, promoted by pg_ctl."""

from __future__ import annotations

from contextlib import suppress

import psycopg

from tests.services.postgres import LocalPostgres

FAILOVER_SLOTS = 17  # the first version that copies logical slots to standbys
_SLOT = "standby"


class Standby(LocalPostgres):
    """A hot standby that streams from `primary`, on a port of its own. A context manager."""

    def __init__(self, primary: LocalPostgres) -> None:
        settings = {"hot_standby_feedback": "on", "wal_receiver_status_interval": "1s"}
        if primary.version >= FAILOVER_SLOTS:
            settings["sync_replication_slots"] = "on"
        super().__init__(primary.version, settings)
        self._primary = primary
        self._password = primary._password

    def _initialise(self) -> None:
        assert self._binaries is not None
        source = f"host={self._primary.folder} port={self._primary.port} user=postgres dbname=postgres"
        self._run(
            self._binaries / "pg_basebackup", "-D", str(self._data), "-d", source,
            "-R", "-X", "stream", "-c", "fast", "-C", "-S", _SLOT, "--no-sync",
        )  # fmt: skip

    def promote(self) -> None:
        """Make it a primary; returns once it takes writes."""
        assert self._binaries is not None
        self._run(self._binaries / "pg_ctl", "promote", "-D", str(self._data), "-w")

    def cut(self) -> None:
        """Receive nothing any more; returns once it has stopped to."""
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            conn.execute("ALTER SYSTEM SET primary_conninfo = ''")
            conn.execute("SELECT pg_reload_conf()")
            while conn.execute("SELECT 1 FROM pg_stat_wal_receiver").fetchone():
                conn.execute("SELECT pg_sleep(0.05)")

    def wait_for_replay(self, lsn: str) -> None:
        """Return once everything up to this LSN is replayed."""
        self._wait("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", lsn)

    def wait_for_slot(self, slot: str) -> None:
        """Return once this logical slot of the primary would survive a promotion."""
        self._wait("SELECT bool_or(synced AND NOT temporary) FROM pg_replication_slots WHERE slot_name = %s", slot)

    def _wait(self, query: str, value: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            for _ in range(600):
                if conn.execute(query.encode(), (value,)).fetchone() == (True,):
                    return
                with suppress(psycopg.Error), psycopg.connect(self._primary.dsn, autocommit=True) as primary:
                    primary.execute(
                        "SELECT pg_log_standby_snapshot()" if self.version > 15 else "SELECT txid_current()"
                    )
                conn.execute("SELECT pg_sleep(0.1)")
        raise AssertionError(f"never: {query}")
