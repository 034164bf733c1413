"""Measurements one after the other: one that fails does not take the others with it, and the table at the end says so."""

from __future__ import annotations

import io
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """A measurement that was made: its lines as it printed them, or with `error` the lines until it failed."""

    name: str
    seconds: float
    lines: list[str]
    error: str | None


def in_turn(measurements: Mapping[str, Callable[[], object]]) -> list[Part]:
    """Make them all. What each prints is seen at once and kept; what it raises is printed and kept, Ctrl-C alone ends it."""
    return [_made(name, measure) for name, measure in measurements.items()]


def table(parts: Iterable[Part]) -> str:
    """Every line that was printed, under the name and the time of its measurement; failures last, in capitals."""
    parts = list(parts)
    width = max(len(part.name) for part in parts)
    rows = []
    for part in parts:
        head = f"{part.name:<{width}}  {part.seconds:>5.0f} s  "
        lines = part.lines + ([f"FAILED: {part.error}"] if part.error else [])
        rows += [(head if number == 0 else " " * len(head)) + line for number, line in enumerate(lines or ["-"])]
    failed = [part.name for part in parts if part.error]
    total = f"{sum(part.seconds for part in parts) / 60:.1f} minutes in all"
    return "\n".join(
        [*rows, f"{total}; FAILED: {', '.join(failed)}" if failed else f"{total}; every part was measured"]
    )


class _Both(io.StringIO):
    """Keeps what is written, and writes it to standard output, too."""

    def __init__(self) -> None:
        super().__init__()
        self._out = sys.stdout

    def write(self, text: str) -> int:
        self._out.write(text)
        return super().write(text)

    def flush(self) -> None:
        self._out.flush()


def _made(name: str, measure: Callable[[], object]) -> Part:
    began, error = time.perf_counter(), None
    with redirect_stdout(_Both()) as kept:
        try:
            measure()
        except (Exception, SystemExit) as failure:  # a missing program ends with SystemExit
            traceback.print_exc()
            error = f"{type(failure).__name__}: {failure}".splitlines()[0]
    return Part(name, time.perf_counter() - began, kept.getvalue().splitlines(), error)
