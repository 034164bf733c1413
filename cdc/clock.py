"""The server's clock, which stamps commits: what lag is measured by, wherever a process of the service runs."""

from __future__ import annotations

from typing import Final

from cdc.replication import now_us
from sql.connection import Connection

# Microseconds since 2000-01-01 UTC.
_CLOCK: Final = (
    "SELECT (extract(epoch FROM clock_timestamp() - timestamptz '2000-01-01 00:00:00+00') * 1000000)::bigint"
)


class Clock:
    """This machine's clock, set right by the server's each time they are compared."""

    def __init__(self) -> None:
        self.ahead = 0  # microseconds of this machine's

    def compare(self, conn: Connection) -> None:
        """Ask the server once more: either clock may jump."""
        row = conn.execute(_CLOCK, prepare=True).fetchone()
        self.ahead = now_us() - int(row[0]) if row else 0

    def now_us(self) -> int:
        """Microseconds since 2000-01-01 UTC by the server's clock."""
        return now_us() - self.ahead
