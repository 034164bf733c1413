"""A reconciliation as one self-contained HTML file, for whoever signs off the drop of a table."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from reconcile.document import Cell, Difference, MoveReport, ReconcileDocument
from reconcile.history import Ran
from reconcile.scope import words
from sql.counted import counted, staying
from sql.errors import UsageError
from sql.keys import key_text
from sql.model import Plan
from sql.names import quote
from sql.render import look

_WIDE, _HIGH = 320, 72  # of a plot, in its own units
_TEMPLATE = "report.html.j2"


def check_path(path: Path) -> None:
    """Raises UsageError where the file could not be written, before any work is done for it."""
    if path.is_dir():
        raise UsageError(f"--html {path} is a folder", cure="name a file in it")
    if not path.parent.is_dir():
        raise UsageError(f"--html {path}: there is no folder {path.parent}", cure=f"mkdir -p {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"--html {path}: the folder {path.parent} cannot be written to")


def write(path: Path, document: ReconcileDocument, plan: Plan, runs: Mapping[str, Sequence[Ran]]) -> None:
    """Write the report; a file of that name is replaced whole or stays as it was."""
    text = render(document, plan, runs)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def render(document: ReconcileDocument, plan: Plan, runs: Mapping[str, Sequence[Ran]]) -> str:
    """The report as HTML. `runs`: the stored runs of each move, oldest first."""
    environment = Environment(
        loader=PackageLoader("reconcile", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "value": value,
        "key": key_text,
        "name": quote,
        "cell": _cell,
        "count": lambda number: f"{number:,}",
        "moment": moment,
    }
    return environment.get_template(_TEMPLATE).render(
        document=document,
        made=datetime.now(UTC),
        runs=runs,
        plot=plot,
        matrix=matrix,
        look=lambda report, difference: look(plan.move(report.move), difference.key),
        age=age,
        words=words,
        counted=counted,
        staying=staying,
    )


def value(text: object) -> Markup:
    """A value so that NULL, the empty text and blanks at its ends can be told apart."""
    if text is None:
        return Markup('<span class="null">NULL</span>')
    if text == "":
        return Markup('<span class="null">&#39;&#39; (empty)</span>')
    whole = str(text)
    body = whole.strip(" ")
    lead = len(whole) - len(whole.lstrip(" "))
    shown = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in body)
    blank = Markup('<span class="blank" title="blank">·</span>')
    return blank * lead + escape(shown) + blank * (len(whole) - lead - len(body))


def _cell(text: str | None, cell: Cell) -> Markup:
    """One side of a cell; of a masked one how it differs, and no value."""
    if cell.masked is None or text is None:
        return value(text)
    return Markup('<span class="null">{} {}</span>').format(text, cell.masked)


def matrix(report: MoveReport) -> list[tuple[str, int, dict[str, int]]]:
    """Kind by column: keys of each kind, and of those that differ, in which columns."""
    return [(kind, number, dict(report.columns) if kind == "differs" else {}) for kind, number in report.kinds.items()]


def age(difference: Difference, now: datetime) -> str:
    """How long a difference has been seen, in words."""
    if difference.first_seen is None:
        return ""
    seconds = max(0.0, (now - difference.first_seen).total_seconds())
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {word}"
    return f"{seconds:.0f} s"


def moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def plot(runs: Sequence[Ran], what: str) -> Markup:
    """A small line of one figure over the stored runs; nothing where there is nothing to compare."""
    values = [float(getattr(run, what)) for run in runs]
    if len(values) < 2:
        return Markup("")
    top = max(*values, 1.0)
    step = _WIDE / (len(values) - 1)
    points = [(at * step, _HIGH - number / top * (_HIGH - 8) - 4) for at, number in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    label = f"{what} of the last {len(values)} runs: from {values[0]:g} to {values[-1]:g}, at most {max(values):g}"
    return Markup(
        '<svg viewBox="-4 0 {w} {h}" role="img" aria-label="{label}"><title>{label}</title>'
        '<line class="axis" x1="0" y1="{floor}" x2="{wide}" y2="{floor}"/><polyline points="{line}"/>'
        '<circle cx="{x}" cy="{y}" r="3"/></svg>'
    ).format(w=_WIDE + 8, h=_HIGH, label=label, floor=_HIGH - 4, wide=_WIDE, line=line, x=f"{x:.1f}", y=f"{y:.1f}")
