"""Pace: how long changes are collected before they go on, from their own rate (DESIGN section 3).

Small frames cost CPU at every hop; a frame that waits costs latency. A trickle goes on at once, a flood is collected:
one microsecond for each change per second, so 1 ms at a thousand a second and LONGEST from fifty thousand up.
"""

from __future__ import annotations

from typing import Final

PER_RATE: Final = 1e-6  # seconds for each change per second
LONGEST: Final = 0.05
_WINDOW: Final = 0.1  # seconds over which the rate is smoothed


class Pace:
    """The pace of one stream. Times are seconds of a monotonic clock."""

    __slots__ = ("_last", "pause", "rate")

    def __init__(self, now: float) -> None:
        self.rate = 0.0  # changes per second
        self.pause = 0.0  # seconds to collect
        self._last = now

    def passed(self, changes: int, now: float) -> None:
        """So many changes went on just now, after those of the call before."""
        elapsed = max(now - self._last, 1e-6)
        self._last = now
        self.rate += (changes / elapsed - self.rate) * min(1.0, elapsed / _WINDOW)
        self.pause = min(LONGEST, self.rate * PER_RATE)

    def due(self, now: float) -> bool:
        """Has been collected for long enough?"""
        return now - self._last >= self.pause
