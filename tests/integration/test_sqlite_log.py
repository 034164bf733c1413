"""The SQLite log when the file, the disk or another process misbehaves."""

from __future__ import annotations

import os
import resource
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cdc import sqlite_file
from cdc.log import LogWriter
from cdc.sqlite_log import SqliteLog
from sql.errors import Busy, Gap, Refused, Unreachable, UsageError

TOPIC = "cutover.sqlite.stock"
SECONDS = 60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteLog]:
    log = SqliteLog(f"sqlite:///{path}")
    log.ensure_topic(TOPIC, 1)
    yield log
    log.close()


@pytest.fixture
def writer(log: SqliteLog) -> Iterator[LogWriter]:
    writer = log.writer()
    yield writer
    writer.close()


def append(writer: LogWriter, value: bytes) -> None:
    sequence = writer.append(TOPIC, 0, value)
    assert writer.wait(sequence, SECONDS)


def append_for_ever(writer: LogWriter, value: bytes) -> None:
    while True:
        append(writer, value)


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """A disk on which no file grows beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_l7_acknowledged_means_synced(log: SqliteLog) -> None:
    connection = log._file.connection()
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_l7_a_full_disk_stops_the_writer_and_loses_nothing(log: SqliteLog, path: Path, writer: LogWriter) -> None:
    with disk_of(2 << 20), pytest.raises(Unreachable, match="nothing acknowledged is lost"):
        append_for_ever(writer, bytes(100_000))
    (written,) = log.end_offsets(TOPIC)
    assert 0 < written < 20
    with pytest.raises(Unreachable):
        writer.append(TOPIC, 0, b"broken until it is opened again")
    again = log.writer()
    append(again, b"after")
    again.close()
    reader = log.reader()
    reader.assign({(TOPIC, 0): 0})
    records = reader.poll(SECONDS, max_bytes=1 << 30)
    assert [len(record.value) for record in records] == [100_000] * written + [5]


def test_l7_what_was_acknowledged_survives_without_a_checkpoint(log: SqliteLog, path: Path, writer: LogWriter) -> None:
    """The file and its WAL as a loss of power would leave them."""
    append(writer, b"safe")
    copy = path.with_name("copy.db")
    for suffix in ("", "-wal"):
        copy.with_name(copy.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())
    after = SqliteLog(f"sqlite:///{copy}")
    assert after.end_offsets(TOPIC) == [1]
    reader = after.reader()
    reader.assign({(TOPIC, 0): 0})
    assert [record.value for record in reader.poll(SECONDS)] == [b"safe"]
    after.close()


def test_l7_a_writer_waits_for_another_process(log: SqliteLog, path: Path, writer: LogWriter) -> None:
    append(writer, b"a")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    sequence = writer.append(TOPIC, 0, b"b")
    assert not writer.wait(sequence, 0.2)
    other.execute("COMMIT")
    other.close()
    assert writer.wait(sequence, SECONDS)


def test_l7_a_lock_that_is_never_released_is_busy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_MS", 50)
    log = SqliteLog(f"sqlite:///{path}")
    log.ensure_topic(TOPIC, 1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy, match="try again"):
        log.ensure_topic("cutover.sqlite.other", 1)
    other.execute("COMMIT")
    other.close()
    log.ensure_topic("cutover.sqlite.other", 1)
    log.close()


@pytest.mark.parametrize("replaced", [False, True])
def test_l2_a_file_that_is_removed_or_replaced_is_a_gap(
    log: SqliteLog, path: Path, writer: LogWriter, replaced: bool
) -> None:
    append(writer, b"a")
    reader = log.reader()
    reader.assign({(TOPIC, 0): 0})
    assert len(reader.poll(SECONDS)) == 1
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    if replaced:
        other = SqliteLog(f"sqlite:///{path}")
        other.ensure_topic(TOPIC, 1)
        other.close()
    with pytest.raises(Gap, match="replaced" if replaced else "removed"):
        append(writer, b"b")
    with pytest.raises(Gap):
        reader.poll(SECONDS)
    with pytest.raises(Gap):
        log.end_offsets(TOPIC)


def test_l2_a_new_file_is_another_log(log: SqliteLog, path: Path) -> None:
    first = log.identity()
    log.close()
    path.unlink()
    again = SqliteLog(f"sqlite:///{path}")
    assert again.identity() != first
    assert again.topic_identity(TOPIC) is None
    again.close()


def test_l2_a_record_that_is_missing_is_a_gap(log: SqliteLog, path: Path, writer: LogWriter) -> None:
    for value in (b"a", b"b", b"c"):
        append(writer, value)
    other = sqlite3.connect(path)
    other.execute("DELETE FROM record WHERE value = ?", (b"b",))
    other.commit()
    other.close()
    reader = log.reader()
    reader.assign({(TOPIC, 0): 0})
    with pytest.raises(Gap, match="offset 1 is missing"):
        reader.poll(SECONDS)


def test_a_damaged_file_is_a_gap(path: Path) -> None:
    path.write_bytes(b"not a database, by far" * 1000)
    with pytest.raises(Gap, match="heal"):
        SqliteLog(f"sqlite:///{path}").identity()


def test_a_file_of_a_newer_version_is_refused(log: SqliteLog, path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("UPDATE meta SET value = '2' WHERE name = 'format'")
    other.commit()
    other.close()
    with pytest.raises(UsageError, match="upgrade"):
        SqliteLog(f"sqlite:///{path}").identity()


def test_a_directory_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="create the directory"):
        SqliteLog(f"sqlite:///{tmp_path}/nowhere/log.db").identity()


def test_several_processes_may_create_the_file(tmp_path: Path) -> None:
    """As threads with a log each: what SQLite sees is the same."""
    address = f"sqlite:///{tmp_path}/log.db"
    found: list[tuple[str, str]] = []

    def create() -> None:
        log = SqliteLog(address)
        found.append((log.identity(), log.ensure_topic(TOPIC, 1)))
        log.close()

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_deleted_topic_gives_its_space_back(log: SqliteLog, path: Path) -> None:
    def fill() -> int:
        """Append 24 MB; how many pages the file has then."""
        log.ensure_topic(TOPIC, 1)
        writer = log.writer()
        for _ in range(30):
            writer.append(TOPIC, 0, os.urandom(800_000))
        assert writer.wait(30, SECONDS)
        writer.close()
        (pages,) = log._file.connection().execute("PRAGMA page_count").fetchone()
        return int(pages)

    first = fill()
    log.delete_topic(TOPIC)
    assert log.topic_identity(TOPIC) is None
    assert fill() <= first * 1.1
    log.prune(TOPIC, 0, 30)
    assert log.begin_offsets(TOPIC) == log.end_offsets(TOPIC) == [30]
    assert log._file.connection().execute("SELECT count(*) FROM record").fetchone() == (0,)


def test_l3_more_partitions_are_refused_after_records(log: SqliteLog, writer: LogWriter) -> None:
    append(writer, b"a")
    with pytest.raises(Refused, match="keys would change partition"):
        log.ensure_topic(TOPIC, 2)
