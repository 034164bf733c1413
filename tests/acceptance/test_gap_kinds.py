"""Every kind of gap: found at start and while running, named by `status` and `doctor`, healed by what doctor prints.

Hazards C2, C3 and L2. The database that was set back is in tests/integration/test_set_back.py.
"""

from __future__ import annotations

import shlex
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cdc.replication import lsn_number
from cdc.tail import read_tail
from sql.errors import Gap
from tests.acceptance.command import Cli
from tests.integration.rig import Rig, shop
from tests.integration.test_gaps import drop_slot, lose, recorded_gap, write
from tests.services.databases import fresh_database
from tests.services.postgres import PostgresServer
from tests.services.topics import forget

PRICE = """INSERT INTO "Lager"."Preis" VALUES ('DE', '1', 'EUR', 1) ON CONFLICT DO NOTHING"""  # no proof without rows
STARTS = {"cutover capture", "cutover consume"}
Fault = Callable[[Rig], None]
# A consumer's session that began after a moment has leases: more locks than that of its presence.
HOLDS = """
SELECT count(*) > 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid IN (
    SELECT pid FROM pg_stat_activity WHERE application_name = %s AND backend_start > %s)
"""
ONE = pytest.mark.parametrize("server", ["pg18"], indirect=True)
SQLITE = pytest.mark.parametrize("log_address", ["sqlite"], indirect=True)


def recreate_slot(rig: Rig) -> None:
    drop_slot(rig)
    lose(rig)
    rig.conn.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (rig.plan.slot,))


def advance_slot(rig: Rig) -> None:
    lose(rig)
    rig.conn.execute("SELECT pg_replication_slot_advance(%s, pg_current_wal_insert_lsn())", (rig.plan.slot,))


def delete_topic(rig: Rig) -> None:
    rig.log.delete_topic(rig.move("item").topic)


def recreate_topic(rig: Rig) -> None:
    delete_topic(rig)
    move = rig.move("item")
    rig.log.ensure_topic(move.topic, move.partitions)


def retain_nothing(rig: Rig) -> None:
    topic = rig.move("item").topic
    for partition, end in enumerate(rig.log.end_offsets(topic)):
        forget(rig.log, topic, partition, end)


def set_position(rig: Rig, offset: str) -> None:
    rig.conn.execute(f'UPDATE cutover.position SET "offset" = {offset} WHERE partition = 1'.encode())


def skip_records(rig: Rig) -> None:
    """Ahead of what is applied, and within the log."""
    topic = rig.move("item").topic
    row = rig.conn.execute("SELECT \"offset\" FROM cutover.position WHERE move = 'item' AND partition = 1").fetchone()
    assert row is not None
    assert row[0] < rig.log.end_offsets(topic)[1]
    rig.conn.execute('UPDATE cutover.position SET "offset" = "offset" + 1 WHERE move = \'item\' AND partition = 1')


def remove_position(rig: Rig) -> None:
    rig.conn.execute("DELETE FROM cutover.position WHERE partition = 1")


def files(rig: Rig) -> list[Path]:
    return list(Path(rig.address.removeprefix("sqlite:///")).parent.glob("log.db*"))


def remove_file(rig: Rig) -> None:
    for file in files(rig):
        file.unlink()


AT_START: dict[str, Fault] = {
    "slot-dropped": drop_slot,
    "slot-recreated": recreate_slot,
    "slot-advanced": advance_slot,
    "topic-deleted": delete_topic,
    "topic-recreated": recreate_topic,
    "retention": retain_nothing,
    "position-beyond-the-end": lambda rig: set_position(rig, '"offset" + 1000000'),
    "position-skips-records": skip_records,
    "position-negative": lambda rig: set_position(rig, "-1"),
    "position-removed": remove_position,
}
WHILE_RUNNING: dict[str, Fault] = {
    name: AT_START[name]
    for name in ("slot-dropped", "topic-deleted", "topic-recreated", "position-beyond-the-end", "position-removed")
}


@dataclass(frozen=True, slots=True)
class World:
    rig: Rig
    cli: Cli

    def stream(self) -> None:
        """Both sides equal, and whatever ran stopped."""
        self.rig.capture()
        self.rig.consume()
        write(self.rig, 1)
        self.rig.conn.execute(PRICE)
        self.rig.backfill()
        self.rig.drain()
        assert self.rig.stop() == []

    def fill_log(self) -> None:
        """Changes that reach the log, and that nobody applies."""
        capture = self.rig.capture()
        lose(self.rig)
        row = self.rig.conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        assert row is not None
        self.rig.conn.execute("SELECT pg_logical_emit_message(true, 'cutover', 'watermark')")
        while read_tail(self.rig.log, self.rig.plan.moves, 0).reaches < lsn_number(row[0]):
            self.rig.conn.execute("SELECT pg_sleep(0.05)")
        assert self.rig.stop(capture) == []

    def named(self) -> str:
        """The one command that doctor prints for it, besides those that start what does not run."""
        assert self.cli.run("status", "--json").document["slot"]["gap"] is not None
        problems = self.cli.run("doctor", "--json", code=5).document["problems"]
        cures = {each["cure"] for each in problems if each["severity"] == "broken"}
        cures -= STARTS
        assert len(cures) == 1, problems
        return str(cures.pop())

    def refused(self, parts: Iterable[str]) -> None:
        """Started, they say that it is a gap, and end."""
        for part in parts:
            (error,) = self.rig.ended(self.rig.capture() if part == "capture" else self.rig.consume(), 60)
            assert isinstance(error, Gap)
        self.rig.stop()

    def healed(self, cure: str) -> None:
        """Do what doctor printed, then let everything run."""
        for line in cure.splitlines():
            program, *arguments = shlex.split(line)
            assert program == "cutover"
            done = self.cli.run(*arguments, "--json", code=None)  # prepare tells of the gap that heal is for
        assert done.code == 0, done.err
        assert done.document["finished"] is True
        self.rig.log = self.rig.open_log()  # the old one may be open on what is gone
        self.rig.capture()
        self.rig.consume()
        write(self.rig, 5)
        self.rig.drain()
        assert self.rig.differences() == {}
        self.cli.eventually("reconcile")
        assert self.rig.stop() == []


@pytest.fixture
def world(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> Iterator[World]:
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        yield world_of(rig, tmp_path)


def world_of(rig: Rig, folder: Path) -> World:
    variables = {"CUTOVER_DSN": rig.dsn, "CUTOVER_LOG": rig.address, "CUTOVER_PLAN": str(rig.folder)}
    return World(rig, Cli(folder, variables))


def started(kind: str) -> list[str]:
    """The processes that must find it."""
    if kind.startswith("slot"):
        return ["capture"]
    return ["consume", "capture"] if kind.startswith("topic") else ["consume"]


# What the log does not matter for is tried on one: a position that says by itself what is wrong with it, too.
BOTH = ("topic-deleted", "topic-recreated", "retention", "position-beyond-the-end")
KINDS = [
    pytest.param(log, kind, id=f"{log}-{kind}")
    for kind in AT_START
    for log in (["sqlite", "kafka"] if kind in BOTH else ["sqlite"])
]


@ONE
@pytest.mark.parametrize(("log_address", "kind"), KINDS, indirect=["log_address"])
def test_c2_l2_a_gap_is_found_at_start(world: World, kind: str) -> None:
    """By status and doctor before anything runs, then by what is started."""
    world.stream()
    world.fill_log()
    AT_START[kind](world.rig)
    write(world.rig, 4)
    cure = world.named()
    assert cure == "cutover heal"
    world.refused(started(kind))
    world.healed(cure)


@ONE
@pytest.mark.parametrize(
    ("log_address", "kind"), [each for each in KINDS if each.values[1] in WHILE_RUNNING], indirect=["log_address"]
)
def test_c2_l2_a_gap_is_found_while_everything_runs(world: World, kind: str) -> None:
    world.stream()
    running = {"capture": world.rig.capture(), "consume": world.rig.consume()}
    write(world.rig, 2)
    world.rig.drain()
    WHILE_RUNNING[kind](world.rig)
    write(world.rig, 4)
    (error,) = world.rig.ended(running[started(kind)[0]], 60)
    assert isinstance(error, Gap)
    world.rig.stop()
    world.healed(world.named())


@SQLITE
@pytest.mark.parametrize("running", [False, True], ids=["at-start", "running"])
def test_c10_a_publication_that_was_dropped_is_found(world: World, running: bool) -> None:
    """What was written while it was not there no server can decode; PostgreSQL 15 would end the stream each time."""
    world.stream()
    capture = world.rig.capture() if running else None
    write(world.rig, 2)
    if running:
        world.rig.consume()
        world.rig.drain()
    world.rig.conn.execute(f"DROP PUBLICATION {world.rig.plan.publication}".encode())
    write(world.rig, 4)
    if capture is None:
        world.refused(["capture"])
    else:
        (error,) = world.rig.ended(capture, 60)
        assert isinstance(error, Gap)
        world.rig.stop()
    cures = {each["cure"] for each in world.cli.run("doctor", "--json", code=5).document["problems"]}
    assert cures - STARTS == {"cutover heal", "cutover prepare\ncutover heal"}
    world.healed("cutover prepare\ncutover heal")


@pytest.mark.parametrize("server", ["pg15"], indirect=True)
@SQLITE
def test_c10_a_slot_that_cannot_be_decoded_is_a_gap(world: World) -> None:
    """Healed by an older version, which left the slot as it was: capture says so, and does not try again for ever."""
    world.stream()
    world.rig.conn.execute(f"DROP PUBLICATION {world.rig.plan.publication}".encode())
    write(world.rig, 4)
    world.cli.run("prepare", code=None)
    world.rig.conn.execute("UPDATE cutover.plan SET gap = NULL, gap_since = NULL")
    world.refused(["capture"])
    assert world.cli.run("status", "--json").document["slot"]["gap"].startswith("the slot cannot be read")
    world.healed("cutover heal")


@ONE
@SQLITE
def test_l2_a_log_file_that_was_removed_is_found_at_start(world: World) -> None:
    world.stream()
    world.fill_log()
    world.rig.log.close()
    remove_file(world.rig)
    for part in ("capture", "consume"):
        assert "cutover heal" in world.cli.run(part, code=5).said
    world.healed(world.named())


@ONE
@SQLITE
def test_l2_a_log_file_that_was_removed_is_found_while_everything_runs(world: World) -> None:
    world.stream()
    running = [world.rig.capture(), world.rig.consume()]
    write(world.rig, 2)
    world.rig.drain()
    remove_file(world.rig)
    write(world.rig, 4)
    for each in running:
        (error,) = world.rig.ended(each, 60)
        assert isinstance(error, Gap)
    world.rig.stop()
    world.healed(world.named())


@ONE
@SQLITE
@pytest.mark.parametrize("part", ["capture", "consume"])
def test_l2_who_slept_through_a_heal_does_not_tell_of_the_gap_again(world: World, part: str) -> None:
    """Frozen while the log's file was removed and healed, and woken: it finds the file that it has open gone, which
    is no gap any more. It ends, and started again it goes on."""
    world.stream()
    with world.cli.start(part, *(["--sessions", "1"] if part == "consume" else [])) as sleeper:
        sleeper.wait_for("capturing" if part == "capture" else "has 12 partitions")
        sleeper.process.send_signal(signal.SIGSTOP)
        world.rig.log.close()
        remove_file(world.rig)
        cure = world.named()
        world.cli.run(*shlex.split(cure)[1:])
        sleeper.process.send_signal(signal.SIGCONT)
        assert sleeper.process.wait(60) == Gap.exit_code
    assert world.cli.run("status", "--json").document["slot"]["gap"] is None
    world.healed("cutover heal")  # nothing to do


@ONE
@SQLITE
@pytest.mark.parametrize("applied", [True, False], ids=["applied", "not-applied"])
def test_l2_a_log_that_lost_its_end_is_found(world: World, tmp_path: Path, applied: bool) -> None:
    """An older copy of the file: the slot was told of more, whether consumers have applied it or not."""
    world.stream()
    world.rig.log.close()
    saved = tmp_path / "saved"
    saved.mkdir()
    for file in files(world.rig):
        shutil.copy(file, saved)
    world.rig.log = world.rig.open_log()
    if applied:
        world.stream()
    else:
        world.fill_log()
    world.rig.log.close()
    remove_file(world.rig)
    for file in saved.iterdir():
        shutil.copy(file, tmp_path)
    world.refused(["capture"])
    world.healed(world.named())


def test_c3_a_slot_that_the_server_invalidated_is_found(
    own_server: PostgresServer, plan_name: str, tmp_path: Path
) -> None:
    """Under a capture that cannot read on, since the log does not take more."""
    with fresh_database(own_server) as dsn, shop(dsn, plan_name, f"sqlite:///{tmp_path / 'log.db'}", tmp_path) as rig:
        world = world_of(rig, tmp_path)
        world.stream()
        rig.conn.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        rig.conn.execute("SELECT pg_reload_conf()")
        lose(rig)
        invalid = "SELECT wal_status = 'lost' FROM pg_replication_slots WHERE slot_name = %s"
        while rig.conn.execute(invalid, (rig.plan.slot,)).fetchone() != (True,):
            rig.conn.execute("SELECT pg_switch_wal(), pg_logical_emit_message(true, 'test', repeat('x', 1000000))")
            rig.conn.execute("CHECKPOINT")
        rig.conn.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
        rig.conn.execute("SELECT pg_reload_conf()")
        cure = world.named()
        world.refused(["capture"])
        world.healed(cure)


@ONE
@SQLITE
def test_l2_who_lived_through_a_heal_records_the_next_gap(world: World) -> None:
    """A consumer that the lost slot did not concern goes on while that is healed, and is the first to miss a topic."""
    world.stream()
    consume = world.rig.consume()
    write(world.rig, 2)
    drop_slot(world.rig)
    cure = world.named()
    (before,) = world.rig.conn.execute("SELECT clock_timestamp()").fetchone() or (None,)
    world.cli.run(*shlex.split(cure)[1:])
    world.rig.wait_until(HOLDS, (f"cutover consume {world.rig.name}", before))  # it has seen the heal
    capture = world.rig.capture()
    world.rig.drain()
    assert world.rig.stop(capture) == []
    delete_topic(world.rig)
    (error,) = world.rig.ended(consume, 60)
    assert isinstance(error, Gap)
    assert world.rig.move("item").topic in recorded_gap(world.rig)
    world.rig.stop()
    world.healed(world.named())
