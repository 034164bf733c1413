"""Usage errors of the command line: with the value that was given, and off a terminal as one JSON object a line."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

import typer

_USAGE: Any = typer.BadParameter.__mro__[1]  # a usage error of the parser that typer has, whichever that is


def name_value(error: typer.BadParameter) -> None:
    """Put the value that is wrong at the head of an error that does not have it: typer says only what it should be."""
    found: Any = getattr(error.__cause__, "errors", None)  # pydantic's, where typer asks that
    value = str(found()[0]["input"]) if callable(found) else ""
    error.message = error.message.removeprefix("Value error, ")
    if value and value not in error.message:
        error.message = f"{value}: {error.message}"


def run_in_lines(app: typer.Typer, program: str) -> int:
    """Run the command line where standard error is no terminal; returns the exit code."""
    try:
        return int(app(prog_name=program, standalone_mode=False) or 0)
    except _USAGE as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # the help itself
            error.show()
        else:
            import_module("cutover.logs").setup()
            path = error.ctx.command_path if error.ctx is not None else program
            logging.getLogger("cutover").error("%s", error.format_message(), extra={"hint": f"see {path} --help"})
        return int(error.exit_code)
