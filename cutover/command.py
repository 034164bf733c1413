"""What every command shares: its settings, its logging, its errors as exit codes, its one JSON document."""

from __future__ import annotations

import functools
import inspect
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Annotated, Any, Concatenate, ParamSpec, cast, get_type_hints

import orjson
import psycopg
import typer
from rich.console import Console

from cutover import logs
from cutover.piped import Piped
from cutover.settings import Settings, redact
from sql.connection import translated
from sql.errors import CutoverError, PlanError, Refused, Unreachable

P = ParamSpec("P")
_LOG = logging.getLogger("cutover")
_TWINS = "Each option has a twin in the environment: --dsn is CUTOVER_DSN, --a-b is CUTOVER_A_B."
_WIDE = 160  # columns where there is no terminal to ask


def option(flag: str, text: str, **more: Any) -> Any:
    """A typer option with its environment twin: `--lock-timeout` is also CUTOVER_LOCK_TIMEOUT."""
    twin = "CUTOVER_" + flag.split("/")[0].lstrip("-").replace("-", "_").upper()
    shown = {"show_default": more.pop("show_default", False), "show_envvar": False}  # said once, below all of them
    return typer.Option(flag, envvar=twin, help=text, **shown, **more)


Dsn = Annotated[str | None, option("--dsn", "libpq string or URL of the database. Default: libpq's PG* variables.")]
LogAddress = Annotated[
    str | None,
    option(
        "--log",
        "kafka://host:port[,…][?…] or sqlite:///path. Default: what the plan was prepared with; before that, a file"
        " under .cutover/.",
    ),
]
PlanName = Annotated[str | None, option("--plan", "Shipped plan or folder with a plan.toml. Default: soleflipper.")]
Verbose = Annotated[bool, option("--verbose", "Log more, and errors with their trace.")]
Json = Annotated[bool, option("--json", "One JSON document on standard output, nothing else there.")]
Moves = Annotated[list[str] | None, typer.Argument(metavar="[MOVE]...", help="Default: every move of the plan.")]
OneMove = Annotated[str, typer.Argument(metavar="MOVE", help="A move of the plan.")]


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a command: its settings, and how it speaks."""

    settings: Settings
    json: bool
    verbose: bool
    out: Console  # standard output, for people
    err: Console  # standard error, for progress

    @property
    def live(self) -> bool:
        """Is there a terminal that progress can be shown on?"""
        return self.err.is_terminal and not self.json

    def document(self, value: object) -> None:
        """Print the command's one JSON document."""
        sys.stdout.buffer.write(
            orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str) + b"\n"
        )
        sys.stdout.buffer.flush()


def command(
    app: typer.Typer, name: str | None = None, *, example: str, reports: bool = False
) -> Callable[[Callable[Concatenate[Invocation, P], int]], Callable[..., None]]:
    """Register a function as a command. It takes an Invocation and its own options, and returns the exit code.

    --dsn, --log, --plan and --verbose are added, and --json when it `reports`. A CutoverError ends it with that
    error's exit code, anything else with 1; the trace shows at --verbose only.
    """

    def register(body: Callable[Concatenate[Invocation, P], int]) -> Callable[..., None]:
        @functools.wraps(body)
        def run(*args: Any, **given: Any) -> None:
            verbose, as_json = given.pop("verbose"), given.pop("json", False)
            flags = {flag: given.pop(flag) for flag in ("dsn", "log", "plan")}

            def call() -> int:
                invocation = _invocation(flags, verbose, as_json)
                with _naming_defaults(invocation.settings):
                    return body(invocation, *args, **given)

            raise typer.Exit(_guarded(call, verbose))

        _sign(run, body, _SHARED | ({"json": Json} if reports else {}))
        short = " ".join((body.__doc__ or "").partition("\n\n")[0].split())  # else it is cut
        app.command(name, short_help=short, epilog=f"{_TWINS}\n\nExample: {example}")(run)
        return run

    return register


_SHARED: dict[str, Any] = {"dsn": Dsn, "log": LogAddress, "plan": PlanName, "verbose": Verbose}


def _sign(run: Callable[..., None], body: Callable[..., int], shared: dict[str, Any]) -> None:
    """Give the wrapper the parameters that typer reads: the body's own, then the shared ones."""
    hints = get_type_hints(body, include_extras=True)
    own = [each.replace(annotation=hints[each.name]) for each in list(inspect.signature(body).parameters.values())[1:]]
    keyword = inspect.Parameter.KEYWORD_ONLY
    more = [
        inspect.Parameter(name, keyword, default=False if name in ("verbose", "json") else None, annotation=annotation)
        for name, annotation in shared.items()
    ]
    run.__signature__ = inspect.Signature([*own, *more])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in [*own, *more]}


def _invocation(flags: dict[str, str | None], verbose: bool, as_json: bool) -> Invocation:
    logs.setup(verbose=verbose)
    for number in (signal.SIGINT, signal.SIGTERM):  # undone as by Ctrl-C; stop_on_signals does better
        signal.signal(number, signal.default_int_handler)
    settings = Settings.read(**flags)
    logs.setup(verbose=verbose, secrets=settings.secrets())
    _LOG.debug("database %s", redact(settings.dsn))
    if sys.stdout.isatty():
        out = Console(highlight=False)
    else:
        out = Console(highlight=False, width=_WIDE, file=cast("IO[str]", Piped(sys.stdout)))
    return Invocation(settings, as_json, verbose, out, Console(stderr=True, highlight=False))


def _guarded(body: Callable[[], int], verbose: bool) -> int:
    """Run it, and turn what it raises into an exit code and one line of log."""
    try:
        with translated():
            return body()
    except CutoverError as error:
        _LOG.error("%s", error.args[0], exc_info=error if verbose else None, extra=_cure(error))
        return error.exit_code
    except KeyboardInterrupt:
        _LOG.error("interrupted")
        return 1
    except BrokenPipeError:  # the reader of our output has gone: `cutover status | head`
        return 1
    except psycopg.Error as error:
        _LOG.error("PostgreSQL: %s (%s)", str(error).strip(), error.sqlstate, exc_info=error if verbose else None)
        return CutoverError.exit_code
    except Exception as error:
        hint = "" if verbose else "; --verbose shows the trace"
        _LOG.error("%s: %s%s", type(error).__name__, error, hint, exc_info=error if verbose else None)
        return CutoverError.exit_code


@contextmanager
def _naming_defaults(settings: Settings) -> Iterator[None]:
    """An error that comes of a plan or a database that nobody named says so."""
    try:
        with translated():
            yield
    except (PlanError, Refused, Unreachable) as error:
        hints = [error.hint] if error.hint else []
        if isinstance(error, Unreachable) and not settings.dsn and "PostgreSQL" in error.args[0]:
            hints.append("no --dsn or CUTOVER_DSN was given, so this is where libpq's PG* variables and defaults lead")
        if not isinstance(error, Unreachable) and "plan" not in settings.model_fields_set:
            hints.append(f"no --plan or CUTOVER_PLAN was given, so this is the plan that is shipped, {settings.plan}")
        error.hint = "; ".join(hints) or None
        raise


def _cure(error: CutoverError) -> dict[str, str]:
    return {name: text for name, text in (("cure", error.cure), ("hint", error.hint)) if text}
