"""How fast the logs are: appends, reads, and the time from an append to its record in another process.

    python -m bench.log kafka://host:port sqlite:////var/tmp/log.db

Makes a topic of its own in each log and removes it. Half of a frame's bytes are random, the others zero.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
import uuid
from multiprocessing.connection import Connection

from kafka.record.util import calc_crc32c

from cdc.log import Log, LogReader, open_log

PARTITIONS = 4
SIZES = (1_000, 20_000, 100_000, 500_000, 900_000)  # bytes a frame
VOLUME = 200_000_000  # bytes for each size, at most …
FRAMES = 20_000  # … this many frames
SAMPLES = 400  # round trips

spawn = multiprocessing.get_context("spawn")


def main() -> None:
    """Measure every log that is named on the command line, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="+")
    parser.add_argument("--pause", type=float, default=20.0, help="milliseconds between two round trips (20)")
    arguments = parser.parse_args()
    print(f"CRC: {crc_speed() / 1e6:.0f} MB/s")
    for address in arguments.address:
        log = open_log(address)
        topic = f"cutover.bench.{uuid.uuid4().hex[:10]}"
        log.ensure_topic(topic, PARTITIONS)
        print(f"\n{log.address}")
        try:
            latency(log, address, topic, arguments.pause / 1000)
            for size in SIZES:
                throughput(log, topic, size)
        finally:
            log.delete_topic(topic)
            log.close()


def crc_speed() -> float:
    """Bytes a second through the checksum that Kafka's records carry (L5)."""
    data = memoryview(os.urandom(1 << 20))
    begun = time.perf_counter()
    for _ in range(200):
        calc_crc32c(data)
    return 200 * len(data) / (time.perf_counter() - begun)


def latency(log: Log, address: str, topic: str, pause: float) -> None:
    """From just before `append` to just after `poll` in another process, on an otherwise idle log."""
    mine, its = spawn.Pipe()
    worker = spawn.Process(target=answer, args=(address, topic, its))
    worker.start()
    mine.recv()
    writer = log.writer()
    times, durable = [], []
    for number in range(SAMPLES):
        begun = time.monotonic()
        sequence = writer.append(topic, number % PARTITIONS, bytes(200))
        writer.commit()
        writer.wait(sequence, 10)
        durable.append(time.monotonic() - begun)
        times.append(mine.recv() - begun)  # CLOCK_MONOTONIC is the machine's, not the process's
        time.sleep(pause)
    mine.send(None)
    worker.join()
    writer.close()
    print(f"  append to durable: {percentiles(durable)}")
    print(f"  append to read:    {percentiles(times)}")


def answer(address: str, topic: str, pipe: Connection) -> None:
    """The other process: says when it got each record."""
    log = open_log(address)
    reader = log.reader()
    assign(log, reader, topic)
    reader.poll(0.2)
    pipe.send(None)
    for _ in range(SAMPLES):
        while not reader.poll(1):
            pass
        pipe.send(time.monotonic())
    pipe.recv()
    reader.close()
    log.close()


def throughput(log: Log, topic: str, size: int) -> None:
    """Append and then read as fast as one process can."""
    frame = os.urandom(size // 2) + bytes(size - size // 2)
    count = min(FRAMES, VOLUME // size)
    reader = log.reader()
    assign(log, reader, topic)
    writer = log.writer()
    begun, cpu = time.perf_counter(), time.process_time()
    for number in range(count):
        writer.append(topic, number % PARTITIONS, frame)
    writer.commit()
    writer.wait(count, 600)
    appended, append_cpu = time.perf_counter() - begun, time.process_time() - cpu
    writer.close()
    begun, cpu = time.perf_counter(), time.process_time()
    got = 0
    while got < count:
        got += len(reader.poll(10))
    read, read_cpu = time.perf_counter() - begun, time.process_time() - cpu
    reader.close()
    total = count * size / 1e6
    print(
        f"  frames of {size:>7}: append {total / appended:4.0f} MB/s ({count / appended:6.0f}/s, "
        f"cpu {append_cpu / appended:4.0%}), read {total / read:4.0f} MB/s ({count / read:6.0f}/s, "
        f"cpu {read_cpu / read:4.0%})"
    )


def assign(log: Log, reader: LogReader, topic: str) -> None:
    reader.assign({(topic, number): end for number, end in enumerate(log.end_offsets(topic))})


def percentiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    shown = [f"{name} {ordered[int(len(ordered) * part)] * 1000:.2f}" for name, part in (("p50", 0.5), ("p99", 0.99))]
    return f"{', '.join(shown)}, max {ordered[-1] * 1000:.2f} ms"


if __name__ == "__main__":
    main()
