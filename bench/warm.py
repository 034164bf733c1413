"""A log that has been at work for a while, as a service has it; one that a benchmark has just started is slower."""

from __future__ import annotations

import os
import time
import uuid

from bench.log import assign
from cdc.log import LogReader, LogWriter, open_log

PARTITIONS = 4
FRAMES = 60  # in flight at once, as in a drain …
ROUND_TRIPS = 150  # … and one by one, as in an idle system
SIZES = (200, 20_000, 300_000)  # bytes
ROUNDS = range(6, 40)  # at least and at most


def warm(address: str) -> str:
    """Use the log at `address` as the service does, until a round takes no less than the rounds before it. Its Java
    compiles as it goes: the first drain of a new broker took it 0.75 s of CPU and the fifth 0.29, of three in all."""
    log = open_log(address)
    topic = f"cutover.bench.{uuid.uuid4().hex[:10]}"
    log.ensure_topic(topic, PARTITIONS)
    reader, writer = log.reader(), log.writer()
    try:
        assign(log, reader, topic)
        seconds: list[float] = []
        while len(seconds) < ROUNDS.stop and (
            len(seconds) < ROUNDS.start or min(seconds[-3:]) < 0.95 * min(seconds[:-3])
        ):
            seconds.append(_round(reader, writer, topic))
    finally:
        writer.close()
        reader.close()
        log.delete_topic(topic)
        log.close()
    return f"warmed the log in {len(seconds)} rounds, of {seconds[0]:.2f} s the first and {seconds[-1]:.2f} s the last"


def _round(reader: LogReader, writer: LogWriter, topic: str) -> float:
    begun = time.perf_counter()
    for size in SIZES:
        frame = os.urandom(size // 2) + bytes(size - size // 2)
        for number in range(FRAMES):
            writer.append(topic, number % PARTITIONS, frame)
            writer.commit()
        _read(reader, FRAMES)
    for number in range(ROUND_TRIPS):
        writer.append(topic, number % PARTITIONS, bytes(SIZES[0]))
        writer.commit()
        _read(reader, 1)
    return time.perf_counter() - begun


def _read(reader: LogReader, count: int) -> None:
    while count > 0:
        count -= len(reader.poll(1))
