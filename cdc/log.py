"""The log: one small interface, two homes (Kafka in `cdc.kafka_log`, SQLite in `cdc.sqlite_log`).

A record is one frame (`cdc.frame`) of one (topic, partition). Offsets start at 0 and grow by one. Appends become
durable in the order they were made; `acknowledged` says how far.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Record:
    """One record as read back."""

    topic: str
    partition: int
    offset: int
    value: bytes
    time_ms: int  # when it was appended, Unix milliseconds


class LogWriter(Protocol):
    """Appends frames. At least once: an append that was not acknowledged may or may not be in the log.

    Errors: Unreachable (retryable; the writer is then broken: close it and open another), Gap (the topic is gone).
    """

    def append(self, topic: str, partition: int, value: bytes) -> int:
        """Queue one frame; returns its sequence number in this writer, from 1 up. Blocks while too much is queued."""

    def commit(self) -> None:
        """Let everything queued be sent now. Does not wait for the acknowledgement."""

    def acknowledged(self) -> int:
        """Every append up to this sequence number is durable. Raises what went wrong in the background."""

    def queued(self) -> int:
        """The last sequence number given out."""

    def wait(self, sequence: int, timeout: float) -> bool:
        """Wait until `sequence` is durable or `timeout` seconds are over; True when it is."""

    def close(self) -> None:
        """Release everything; what is not acknowledged may be lost."""


class LogReader(Protocol):
    """Reads partitions from given offsets, in order within each.

    Errors: Gap (an offset is outside the log, never a silent jump), Unreachable.
    """

    def assign(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Read exactly these partitions from now on. One that was read already goes on where it is, unless its
        offset differs from where the reader stands."""

    def poll(self, timeout: float, max_bytes: int = 8 << 20) -> Sequence[Record]:
        """Wait up to `timeout` seconds for records; returns at once with what there is, about `max_bytes` at most."""

    def close(self) -> None: ...


class Log(Protocol):
    """An address of a log. Cheap to make; every method may raise Unreachable."""

    address: str  # without secrets

    def identity(self) -> str:
        """Which log this is: Kafka's cluster id, the SQLite file's uuid."""

    def ensure_topic(self, topic: str, partitions: int) -> str:
        """Create the topic unless it is there; returns its identity (a new one after it was deleted and re-created).
        Refused when it has another number of partitions (L3)."""

    def topic_identity(self, topic: str) -> str | None:
        """The topic's identity; None when it does not exist."""

    def delete_topic(self, topic: str) -> None:
        """Remove the topic and all its records."""

    def begin_offsets(self, topic: str) -> list[int]:
        """The first offset still there, by partition."""

    def end_offsets(self, topic: str) -> list[int]:
        """The offset the next record will get, by partition."""

    def offsets_at(self, topic: str, time_ms: int) -> list[int]:
        """The first offset appended at or after a time, by partition; the end offset where there is none."""

    def writer(self) -> LogWriter: ...

    def reader(self) -> LogReader: ...

    def close(self) -> None: ...


def open_log(address: str, *, make: bool = True) -> Log:
    """The log at `kafka://host:port[,…][?option=value&…]` or `sqlite:///path`; UsageError for anything else.

    `make` False: a file that is not there is made by `ensure_topic` alone.
    """
    from sql.errors import UsageError

    if address.startswith("sqlite:"):
        from cdc.sqlite_log import SqliteLog

        return SqliteLog(address, make=make)
    if address.startswith("kafka:"):
        from cdc.kafka_log import KafkaLog

        return KafkaLog(address)
    shown = address.split("?")[0]
    near = difflib.get_close_matches(shown.partition(":")[0], _SCHEMES, 1)
    hint = f"did you mean {near[0]}:{shown.partition(':')[2]}? " if near and ":" in shown else ""
    raise UsageError(
        f"not an address of a log: {shown!r} (--log / CUTOVER_LOG)",
        hint=f"{hint}There are two kinds: kafka://host:port[,host:port…] and sqlite:///path",
    )


_SCHEMES = ("kafka", "sqlite")
