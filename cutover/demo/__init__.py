"""The demo: the whole story on live traffic, with a ledger of every acknowledged write as its judge."""

from __future__ import annotations

from contextlib import ExitStack

from rich.console import Console

from cutover.demo.report import DemoReport
from cutover.demo.show import Screen, render_report
from cutover.demo.stage import stage
from cutover.demo.story import Options, Story
from cutover.settings import Settings

__all__ = ["DemoReport", "Options", "demo", "render_report"]


def demo(settings: Settings, options: Options, console: Console | None = None) -> DemoReport:
    """Tell the story and return what it proved; `console` shows it live.

    Without a DSN in the settings it runs on a throwaway PostgreSQL, without a log on a SQLite file; else in a database
    and topics of its own there, which it drops. Raises what the service raises; claims that do not hold are in the
    report, with the exit code.
    """
    with Screen(console) as screen, ExitStack() as stack:
        with screen.step("set the stage") as note:
            ready = stack.enter_context(stage(settings))
            note(f"{ready.server}, log {ready.log.address}")
        return Story(ready, options, screen).run()
