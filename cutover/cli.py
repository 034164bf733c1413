"""The command line: `cutover COMMAND`. Each group of commands is a module of `cutover.commands`."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from cutover.commands import again, demo, mend, plan, proof, status, stream, switch

app = typer.Typer(
    name="cutover",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["--help", "-h"]},
)
for group in (demo, plan, switch, stream, status, proof, again, mend):
    group.add_to(app)


def _print_version(asked: bool) -> None:
    if asked:
        with suppress(PackageNotFoundError):  # run from a checkout that is not installed
            typer.echo(version("cutover"))
        raise typer.Exit


@app.callback()
def root(
    shown: Annotated[bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print it.")] = False,
) -> None:
    """Consolidate PostgreSQL tables while the application keeps running: stream, prove, flip, undo."""


def main() -> None:
    """The console script."""
    app(prog_name="cutover")
