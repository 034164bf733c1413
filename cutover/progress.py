"""Progress of long work: a bar on a terminal, a line of log every few seconds elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cutover.command import Invocation

_LOG = logging.getLogger(__name__)
_EVERY = 10.0  # seconds between two lines

Report = Callable[[int, int], None]  # done, total


@contextmanager
def progress(call: Invocation, title: str) -> Iterator[Report]:
    """A function that takes (done, total) and shows it."""
    if not call.live:
        yield _lines(title)
        return
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=call.err, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(title: str) -> Report:
    last = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            _LOG.info("%s: %d of %d", title, done, total, extra={"done": done, "total": total})

    return report
