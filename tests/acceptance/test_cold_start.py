"""Cold starts: what is started again is older than the log, newer than it, or was away for long; it ends proven."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from cdc.log import open_log
from cutover.embedded import wheel_binaries
from tests.acceptance.command import Cli
from tests.services.topics import forget

BOTH = pytest.mark.parametrize(
    ("server", "log_address"), [("pg18", "sqlite"), ("pg15", "kafka")], indirect=True, ids=["pg18-sqlite", "pg15-kafka"]
)
ONE = pytest.mark.parametrize(("server", "log_address"), [("pg15", "sqlite")], indirect=True, ids=["pg15-sqlite"])
CONFIRMED_BUSY = 2 << 20  # bytes of WAL
TARGET, POSITIONS = '"Lager".product', "cutover.position"
A_DAY = (
    """UPDATE "Lager"."Preis" SET "Betrag" = "Betrag" + 1 WHERE "ArtikelNr" LIKE 'A-1%'""",
    """DELETE FROM "Lager"."Preis" WHERE "ArtikelNr" LIKE 'A-2%'""",
    """DELETE FROM "Lager"."Artikel" WHERE "Nr" LIKE 'A-3%'""",
    """INSERT INTO "Lager"."Artikel" SELECT 'süd', 'B-' || n, 'neu' FROM generate_series(1, 500) n""",
)


def work(conn: psycopg.Connection, *, applied: bool = True) -> None:
    """What the application does in a day, and that it is applied, or at least in the log."""
    for statement in A_DAY:
        conn.execute(statement.encode())
    row = conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None
    if applied:
        conn.execute("SELECT cutover.wait_for(%s)", row)
    # Behind so much WAL capture says within a second how far the log is, else within ten.
    conn.execute("SELECT pg_logical_emit_message(true, 'test', repeat('x', %s))", (CONFIRMED_BUSY,))
    while conn.execute("SELECT confirmed_lsn >= %s FROM cutover.plan", row).fetchone() != (True,):
        conn.execute("SELECT pg_logical_emit_message(true, 'test', 'on'), pg_sleep(0.01)")


@dataclass(frozen=True, slots=True)
class Backup:
    """Tables as pg_dump found them last night."""

    dsn: str
    file: Path
    tables: tuple[str, ...]
    rows: dict[str, int]

    @classmethod
    def take(cls, conn: psycopg.Connection, tour: Cli, *tables: str) -> Backup:
        dsn, file = tour.variables["CUTOVER_DSN"], tour.folder / "last-night"
        chosen = [part for table in tables for part in ("-t", table)]
        subprocess.run([wheel_binaries() / "pg_dump", "-Fc", "-f", file, *chosen, "-d", dsn], check=True)
        return cls(dsn, file, tables, {table: count(conn, table) for table in tables})

    def restore(self, conn: psycopg.Connection) -> None:
        """Put them back, and nothing else."""
        for table in self.tables:
            conn.execute(f"DELETE FROM {table}".encode())
        # An older server does not know every setting of the newer pg_restore, which then goes on.
        command = [str(wheel_binaries() / "pg_restore"), "--data-only", "-d", self.dsn, str(self.file)]
        subprocess.run(command, check=False, stderr=subprocess.DEVNULL)
        assert {table: count(conn, table) for table in self.tables} == self.rows


def count(conn: psycopg.Connection, table: str) -> int:
    row = conn.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def broken(tour: Cli) -> list[tuple[str, str]]:
    """What doctor says is wrong, without that nothing runs: what, and the command that mends it."""
    problems = tour.run("doctor", "--json", code=None).document["problems"]
    ignored = ("capture is not running", "nobody consumes")
    return [(it["what"], it["cure"]) for it in problems if not it["what"].startswith(ignored)]


def do(tour: Cli, cure: str) -> None:
    """The commands that doctor prints, as they are printed."""
    for line in cure.splitlines():
        program, *arguments = line.split()
        assert program == "cutover"
        tour.run(*arguments)


@BOTH
def test_the_target_and_the_positions_are_last_nights(tour: Cli, dsn: str, log_address: str) -> None:
    """The whole control state of the consumers went back with the target: they read on from there, and nothing else
    need be done. Where retention has taken what they would read, doctor says so, and its command mends it (L2)."""
    tour.run("prepare", "--set-identity")
    with psycopg.connect(dsn, autocommit=True) as conn:
        with tour.start("run") as service:
            service.wait_for("capturing")
            tour.run("backfill")
            tour.eventually("reconcile")
            last_night = Backup.take(conn, tour, TARGET, POSITIONS)
            work(conn)
            assert service.stop() == 0
        last_night.restore(conn)
        assert broken(tour) == []
        with tour.start("run") as service:
            service.wait_for("capturing")
            tour.eventually("reconcile")
            tour.eventually("doctor")
            assert service.stop() == 0
        last_night.restore(conn)
        log = open_log(log_address)
        topic = f"cutover.{tour.run('status', '--json').document['plan']}.product"
        for partition, end in enumerate(log.end_offsets(topic)):
            forget(log, topic, partition, end)
        log.close()
        assert "cutover heal" in tour.run("consume", code=5).said
        ((what, cure), *_) = broken(tour)
        assert cure.startswith("cutover heal")
        assert "gap" in what or "outside the log" in what
        do(tour, cure)
        with tour.start("run") as service:
            service.wait_for("capturing")
            tour.eventually("reconcile")
            tour.eventually("doctor")
            assert service.stop() == 0


@BOTH
def test_the_target_alone_is_last_nights(tour: Cli, dsn: str) -> None:
    """Its positions stand at the log's end, so nobody would read again what it lacks: reconcile says that it drifted,
    and a replay from last night on makes it right."""
    tour.run("prepare", "--set-identity")
    with psycopg.connect(dsn, autocommit=True) as conn, tour.start("run") as service:
        service.wait_for("capturing")
        tour.run("backfill")
        tour.eventually("reconcile")
        row = conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        assert row is not None
        last_night = Backup.take(conn, tour, TARGET)
        work(conn)
        tour.eventually("reconcile")
        last_night.restore(conn)
        assert tour.run("reconcile", "--json", code=4).document["verdict"] == "drift"
        done = tour.run("replay", "product", "--from-lsn", row[0], "--json").document
        assert (done["finished"], done["changed"] > 700) == (True, True)
        tour.run("reconcile")
        tour.run("doctor")
        assert service.stop() == 0


@BOTH
def test_consumers_were_down_for_long(tour: Cli, dsn: str) -> None:
    """Capture alone ran on through many changes of the same rows; doctor says that nobody consumes, and who comes catches up."""
    tour.run("prepare", "--set-identity")
    with psycopg.connect(dsn, autocommit=True) as conn, tour.start("capture") as capture:
        capture.wait_for("capturing")
        with tour.start("consume") as consume:
            tour.run("backfill")
            tour.eventually("reconcile")
            assert consume.stop() == 0
        for statement in A_DAY:
            conn.execute(statement.encode())
        for _ in range(30):
            conn.execute("""UPDATE "Lager"."Preis" SET "Betrag" = "Betrag" + 1""")
        problems = tour.run("doctor", "--json", code=5).document["problems"]
        assert any(
            it["what"].startswith("nobody consumes") and it["cure"].startswith("cutover consume") for it in problems
        )
        assert tour.run("reconcile", "--json", "--timeout", "1", code=3).document["verdict"] in ("lag", "unresolved")
        with tour.start("consume") as consume:
            tour.eventually("reconcile")
            tour.run("doctor")
            assert consume.stop() == 0
        assert capture.stop() == 0


@ONE
@pytest.mark.parametrize("read", [True, False], ids=["read to its end", "not read to its end"])
def test_l2_the_log_is_an_older_copy(tour: Cli, dsn: str, read: bool) -> None:
    """Positions are newer than the log; or they are not, but the slot is. Capture appends nothing to it: once it had
    grown beyond what it was, nobody could tell any more that changes are missing."""
    tour.run("prepare", "--set-identity")
    file = Path(tour.variables["CUTOVER_LOG"].removeprefix("sqlite:///"))
    with psycopg.connect(dsn, autocommit=True) as conn:
        with tour.start("run") as service:
            service.wait_for("capturing")
            tour.run("backfill")
            tour.eventually("reconcile")
            assert service.stop() == 0
        copies = {each: each.read_bytes() for each in file.parent.glob(f"{file.name}*")}
        with tour.start("run" if read else "capture") as service:
            service.wait_for("capturing")
            work(conn, applied=read)
            assert service.stop() == 0
        for each in file.parent.glob(f"{file.name}*"):
            each.unlink()
        for each, content in copies.items():
            each.write_bytes(content)
        assert "is lost" in tour.run("capture", code=5).said
        ((_, cure), *_) = broken(tour)
        assert cure.startswith("cutover heal")
        do(tour, cure)
        with tour.start("run") as service:
            service.wait_for("capturing")
            tour.eventually("reconcile")
            tour.eventually("doctor")
            assert service.stop() == 0
