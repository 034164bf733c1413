"""Capture: WAL to frames, with a log that discards them and into the real one, beside pg_recvlogical to /dev/null."""

from __future__ import annotations

import subprocess
import threading
import time
from dataclasses import dataclass

from bench.programs import program
from bench.stage import Stage, stage
from cdc.capture import Capture
from cdc.log import Log, LogReader, LogWriter
from cdc.replication import lsn_number


class Discard:
    """A log writer that forgets everything at once."""

    def __init__(self) -> None:
        self._sequence = 0

    def append(self, topic: str, partition: int, value: bytes) -> int:
        self._sequence += 1
        return self._sequence

    def commit(self) -> None: ...

    def acknowledged(self) -> int:
        return self._sequence

    def queued(self) -> int:
        return self._sequence

    def wait(self, sequence: int, timeout: float) -> bool:
        return True

    def close(self) -> None: ...


class Discarding:
    """The stage's log for everything but writing."""

    def __init__(self, log: Log) -> None:
        self._log, self.address = log, log.address

    def writer(self) -> LogWriter:
        return Discard()

    def reader(self) -> LogReader:
        return self._log.reader()

    def identity(self) -> str:
        return self._log.identity()

    def topic_identity(self, topic: str) -> str | None:
        return self._log.topic_identity(topic)

    def ensure_topic(self, topic: str, partitions: int) -> str:
        return self._log.ensure_topic(topic, partitions)

    def delete_topic(self, topic: str) -> None: ...

    def begin_offsets(self, topic: str) -> list[int]:
        return self._log.begin_offsets(topic)

    def end_offsets(self, topic: str) -> list[int]:
        return self._log.end_offsets(topic)

    def offsets_at(self, topic: str, time_ms: int) -> list[int]:
        return self._log.offsets_at(topic, time_ms)

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Rates:
    """Changes per second of one WAL content, three ways."""

    changes: int
    recvlogical: float
    discarding: float
    into_log: float

    def lines(self) -> list[str]:
        return [
            f"capture, log discards{'':<23} ours {self.discarding:>9,.0f}/s   pg_recvlogical {self.recvlogical:>9,.0f}/s"
            f"   ratio {self.discarding / self.recvlogical:.2f}",
            f"capture, into the log{'':<23} ours {self.into_log:>9,.0f}/s   pg_recvlogical {self.recvlogical:>9,.0f}/s"
            f"   ratio {self.into_log / self.recvlogical:.2f}",
        ]


def measure(server: str, log: str, rows: int = 200_000, transactions: int = 200_000) -> Rates:
    """200k one-row transactions and one of 200k rows, read from copies of one slot."""
    with stage(server, log, rows) as made:
        made.load(transactions)
        made.load_whole()
        end = made.lsn()
        changes = rows + transactions
        for copy in ("warm", "recv"):
            made.conn.execute(
                "SELECT pg_copy_logical_replication_slot(%s, %s)", (made.plan.slot, f"{made.name}_{copy}")
            )
        made.conn.execute("SELECT pg_copy_logical_replication_slot(%s, %s)", (made.plan.slot, f"{made.name}_kept"))
        _recvlogical(made, end, "warm")  # the first reader of WAL pays for its caches
        recvlogical = changes / _recvlogical(made, end, "recv")
        discarding = changes / _capture(made, Discarding(made.log), end)
        while _active(made):
            time.sleep(0.01)
        made.conn.execute("SELECT pg_drop_replication_slot(%s)", (made.plan.slot,))
        made.conn.execute("SELECT pg_copy_logical_replication_slot(%s, %s)", (f"{made.name}_kept", made.plan.slot))
        into_log = changes / _capture(made, made.log, end)
    found = Rates(changes, recvlogical, discarding, into_log)
    print(*found.lines(), sep="\n", flush=True)
    return found


def _active(made: Stage) -> bool:
    """Does the walsender of the run before still have the slot?"""
    query = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
    row = made.conn.execute(query, (made.plan.slot,)).fetchone()
    return bool(row and row[0])


def _recvlogical(made: Stage, end: str, copy: str) -> float:
    options = [f"proto_version=1,publication_names={made.plan.publication},messages=true"]
    command = [program("pg_recvlogical"), "-d", made.dsn, "-S", f"{made.name}_{copy}", "--start", "-f", "/dev/null"]
    for option in options[0].split(","):
        command += ["-o", option]
    started = time.perf_counter()
    subprocess.run([*command, "--endpos", end, "--no-loop"], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def _capture(made: Stage, log: Log, end: str) -> float:
    """Seconds until capture has told its slot that everything before `end` is safe in the log."""
    until = lsn_number(end)
    capture = Capture(made.dsn, made.plan, log)
    stop = threading.Event()
    started = time.perf_counter()
    runner = threading.Thread(target=capture.run, args=(stop,))
    runner.start()
    while capture.acknowledged < until:
        time.sleep(0.005)
    seconds = time.perf_counter() - started
    stop.set()
    runner.join()
    return seconds
