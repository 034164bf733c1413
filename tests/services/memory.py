"""Where the files of the tests' servers are: in memory, where there is enough of it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ENOUGH = 6 << 30  # bytes; all servers of three pytest workers together hold about two gigabytes


@cache
def in_memory() -> Path | None:
    """A file system in memory; None where there is none, it is small, or TMPDIR says where temporary files go.

    Each test makes and removes a thousand files with its database: on a disk that is half of the server's work.
    """
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK | os.X_OK):
        return None
    room = os.statvfs(_MEMORY)
    return _MEMORY if min(room.f_bavail * room.f_frsize, _available()) >= _ENOUGH else None


def _available() -> int:
    """Bytes of memory that can be had (Linux)."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) << 10
    return 0
