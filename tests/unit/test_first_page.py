"""The first page of the command line: true, although nothing is imported for it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.main import get_group

from cutover.cli import GROUPS, app, load


@pytest.mark.parametrize("group", GROUPS)
def test_each_summary_is_the_first_paragraph_of_the_commands_own_page(group: str) -> None:
    own = {name: command.help.split("\n\n")[0].replace("\n", " ") for name, command in load(group).items()}
    assert own == GROUPS[group]


def test_the_first_page_has_every_command() -> None:
    assert list(get_group(app).commands) == [name for commands in GROUPS.values() for name in commands]


def test_the_first_page_and_status_wait_for_nothing_that_they_do_not_use() -> None:
    """Each of these takes longer to import than the page takes to print."""
    heavy = "{'pglast', 'kafka', 'jinja2', 'reconcile'} & set(sys.modules)"
    script = (
        f"import sys, cutover.cli as cli; first = {heavy} | {{'psycopg', 'pydantic'}} & set(sys.modules);"
        f"cli.load('status'); print(first, {heavy})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()", "set()"]


@pytest.mark.parametrize(
    ("group", "unused"),
    [("stream", {"reconcile"}), ("backfill", {"reconcile", "cdc.capture", "consumers.worker"})],
)
def test_long_work_waits_for_no_import_that_it_does_not_use(group: str, unused: set[str]) -> None:
    """A backfill of a small table is half start; each consumer of many starts once more after every fall."""
    script = f"import sys, cutover.cli as cli; cli.load({group!r}); print(sorted({unused!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
