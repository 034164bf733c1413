"""Touches: frames of keys that somebody wants made right. The consumer of each key's partition does it."""

from __future__ import annotations

from collections.abc import Iterable

from cdc import frame
from cdc.log import LogWriter
from cdc.replication import now_us
from cdc.router import encode_key, partition_of
from sql.model import Move

KEYS_PER_FRAME = 1_000  # so that live changes never queue behind a large one


def touch(writer: LogWriter, move: Move, keys: Iterable[tuple[str, ...]]) -> int:
    """Append a touch for each key (components as PostgreSQL's text output) and let them go; returns how many.

    They are durable once `writer.wait(writer.queued(), …)` says so.
    """
    portions: dict[int, dict[bytes, None]] = {}
    count = 0
    for key in keys:
        encoded = encode_key(key)
        portions.setdefault(partition_of(encoded, move.partitions), {})[encoded] = None
        count += 1
    for partition, portion in portions.items():
        listed = list(portion)
        for start in range(0, len(listed), KEYS_PER_FRAME):
            for fitting in frame.split_keys(listed[start : start + KEYS_PER_FRAME]):
                writer.append(move.topic, partition, frame.encode(frame.TOUCH, lsn=0, time=now_us(), keys=fitting))
    writer.commit()
    return count
