"""The command line: `cutover COMMAND`. Each group of commands is a module of `cutover.commands`, imported for its own
commands only: the first page needs none of them, and `status` needs nothing of what reads a log again."""

from __future__ import annotations

import gc
import logging
import signal
import sys
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from cutover.usage import name_value, run_in_lines

# In the order of the first page; each command's summary there is the first paragraph of its own page.
GROUPS = {
    "demo": {
        "demo": (
            "The whole story on a throwaway PostgreSQL with live writers: 0 only if it proved that nothing was lost."
        ),
    },
    "plan": {
        "plan": "What the plan says: moves, sources, the key of each source, where each column comes from, findings."
    },
    "switch": {
        "prepare": "Control schema, target DDL, mapping view, facade, publication, slot, topics: idempotent, online.",
        "flip": "Let applications read the other side, behind the gate, in one short transaction.",
    },
    "stream": {
        "capture": "WAL to log, until stopped.",
        "consume": "Log to target, until stopped. Start as many as you like, on as many machines as you like.",
        "refresh": "Touch the keys whose mapping changed because time passed, until stopped.",
        "prove": (
            "Reconcile every move again and again, throttled, until stopped. One pass at a time, however many start it."
        ),
        "run": "Capture, consume, refresh and watermarks in one command, and the continuous pass of reconciliation.",
    },
    "backfill": {
        "backfill": "Touch every key, throttled, resumable: run it again after an interruption and it goes on.",
    },
    "status": {"status": "Where everything stands: slot, capture, partitions, lag, sides, dead letters, gaps."},
    "proof": {
        "reconcile": "The proof: every key compared, every difference judged: match, lag, drift or unresolved.",
    },
    "again": {
        "replay": (
            "Read the log again and converge its keys, beside the consumers. What is right already stays as it is."
        ),
        "history": "All that the log knows about one key: every version, with its time, LSN, transaction and source.",
        "restore": "Rebuild the rows that a source had at a moment, from the log alone; says what the log cannot know.",
    },
    "mend": {
        "doctor": "What is wrong, why, and the command that mends it. Exit code 0 means: nothing.",
        "heal": "Accept gaps and halts, make slot, topics and positions whole, and touch every key.",
        "dead-letters": "What could not be applied.",
    },
}


class Commands(TyperGroup):
    """Knows all commands by name and summary; one that is called is put in its summary's place first."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        for group, commands in GROUPS.items():
            if args and args[0] in commands:
                self.commands.update(load(group))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """A wrong value is blamed on where it stands, which need not be the command line."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            name_value(error)
            option, place = error.param, error.ctx
            source = place.get_parameter_source(option.name) if place is not None and option is not None else None
            if option is not None and source is not None and source.name == "ENVIRONMENT":
                error.param_hint = f"{option.envvar}, from the environment"
            raise


def load(group: str) -> dict[str, Any]:
    """The commands of one group, as the module of that name makes them."""
    part = typer.Typer(rich_markup_mode=None)  # boxes leave the words of an option 20 columns of 80, and cut some
    # Imports leave no garbage, and what they make lives to the end: looking through it took a third of a start.
    gc.disable()
    try:
        import_module(f"cutover.commands.{group}").add_to(part)
    finally:
        gc.freeze()
        gc.enable()
    return dict(get_group(part).commands)


app = typer.Typer(
    name="cutover",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _summary() -> None:
    """Stands for a command on the first page."""


for _commands in GROUPS.values():
    for _name, _text in _commands.items():
        app.command(_name, help=_text)(_summary)


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


class _AtStart(BaseException):
    """Interrupted before the command has begun: typer, which takes KeyboardInterrupt for itself, would say nothing."""


def _interrupt(number: int, frame: object) -> None:
    raise _AtStart


def main() -> None:
    """The console script. A command that has begun says itself what an interruption has left."""
    signal.signal(signal.SIGINT, _interrupt)
    try:
        if not sys.stderr.isatty():
            raise SystemExit(run_in_lines(app, "cutover"))
        app(prog_name="cutover")
    except _AtStart:
        logs = import_module("cutover.logs")
        logs.setup()
        logging.getLogger("cutover").error("interrupted")
        raise SystemExit(1) from None
