"""The demo on a terminal: its steps as they go, and a table of figures in the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cutover.demo.report import DemoReport, Spread, StepTaken
from cutover.demo.traffic import Counts
from sql.counted import counted

_LOG = logging.getLogger("cutover.demo")
_SHOWN = 10  # wrong cells


class Screen:
    """Remembers the steps, and shows them: live on a terminal, as one line of log each elsewhere."""

    def __init__(self, console: Console | None) -> None:
        self.begun = time.monotonic()
        self.steps: list[StepTaken] = []
        self._current: tuple[Spinner, float] | None = None
        self._counts: Callable[[], Counts] | None = None
        self._live = console and Live(console=console, get_renderable=self._render, refresh_per_second=8)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """A step; what is yielded takes a word on how it went."""
        begun = time.monotonic()
        said: list[str] = []
        self._current = (Spinner("dots", Text(title)), begun)
        try:
            yield said.append
        finally:
            self._current = None
        taken = StepTaken(step=title, seconds=round(time.monotonic() - begun, 1), detail="; ".join(said))
        self.steps.append(taken)
        if not self._live:
            _LOG.info("%s: %.1f s%s", title, taken.seconds, f", {taken.detail}" if taken.detail else "")

    def follow(self, counts: Callable[[], Counts]) -> None:
        """Show these counts from now on."""
        self._counts = counts

    def _render(self) -> RenderableType:
        parts: list[RenderableType] = [_steps(self.steps)] if self.steps else []
        if self._current is not None:
            spinner, begun = self._current
            line = Table.grid(padding=(0, 2))
            line.add_row(f"{time.monotonic() - begun:6.1f} s", spinner)
            parts.append(line)
        if self._counts is not None:
            parts.append(_traffic(self._counts()))
        return Group(*parts)


def _steps(steps: list[StepTaken]) -> Table:
    table = Table.grid(padding=(0, 2))
    for each in steps:
        table.add_row(f"{each.seconds:6.1f} s", each.step, Text(each.detail, style="dim"))
    return table


def _traffic(counts: Counts) -> Text:
    failed = sum((counts.failed or {}).values())
    writers = f"{counted(counts.transactions, 'transaction')}, {counted(counts.writes, 'row')}"
    text = Text(f"\nwriters {writers}   readers {counts.reads:,}   ")
    text.append(f"failed {failed}", style="bold red" if failed else "green")
    if counts.lag is not None:
        text.append(f"   lag {counts.lag * 1000:.1f} ms")
    return text


def render_report(report: DemoReport) -> RenderableType:
    """The figures, then each claim with what proves it, then what is wrong."""
    parts: list[RenderableType] = [Text(), _figures(report), Text(), _claims(report)]
    for cell in report.wrong[:_SHOWN]:
        parts.append(
            Text(f"{cell.move} {cell.key}: {cell.column} is {cell.found!r}, acknowledged was {cell.expected!r}", "red")
        )
    if len(report.wrong) > _SHOWN:
        parts.append(Text(f"… and {len(report.wrong) - _SHOWN} more; --json lists them", "red"))
    return Group(*parts)


def _figures(report: DemoReport) -> Table:
    table = Table.grid(padding=(0, 3))
    writes = report.writes
    table.add_row(
        "writes acknowledged", f"{counted(writes.transactions, 'transaction')}, {counted(writes.rows, 'row')}"
    )
    table.add_row("writes lost", f"{writes.lost:,} of {counted(writes.keys, 'key')}")
    failed = ", ".join(f"{state} {count}" for state, count in writes.failed.items())
    unknown = f"; {counted(writes.unknown, 'commit')} without an answer" if writes.unknown else ""
    table.add_row("statements failed", f"{failed or 0}{unknown}")
    table.add_row("commit to visible", _spread(report.lag_ms))
    table.add_row("transactions took", _spread(report.transaction_ms))
    table.add_row("reads took", _spread(report.read_ms))
    for flip in report.flips:
        table.add_row(
            f"flip {flip.move} to {flip.to}" + (f", {flip.percent} %" if 0 < flip.percent < 100 else ""),
            f"lock {flip.lock_ms:.1f} ms in {counted(flip.attempts, 'attempt')};"
            f" longest wait around it: writers {flip.writer_wait_ms:.0f} ms, readers {flip.reader_wait_ms:.0f} ms",
        )
    for each in report.reconciled:
        kept = f", {each.kept:,} kept by rule" if each.kept else ""
        table.add_row(
            f"{each.move} {each.when}",
            f"{each.verdict}: {counted(each.compared, 'key')}, {each.in_flight:,} seen in flight,"
            f" {each.drift:,} drift{kept}; invariants {each.invariants}; {each.seconds:.1f} s",
        )
    if report.kills:
        table.add_row("consumers killed with -9", f"{report.kills}")
    table.add_row("duration", f"{report.seconds:.0f} s on {report.server}, log {report.log}")
    return table


def _spread(spread: Spread) -> str:
    if not spread.samples:
        return "not measured"
    return f"p50 {spread.p50} ms, p99 {spread.p99} ms, longest {spread.longest} ms ({spread.samples:,} samples)"


def _claims(report: DemoReport) -> Table:
    table = Table.grid(padding=(0, 2))
    for claim in report.claims:
        mark = Text("proven", "bold green") if claim.holds else Text("FAILED", "bold red")
        table.add_row(mark, claim.claim, Text(claim.why, style="dim" if claim.holds else "red"))
    return table
