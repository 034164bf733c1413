"""What the flags of `reconcile` ask for: a part of a move, or all of it."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from consumers.reading import keys_in
from cutover.arguments import read_keys, read_since
from cutover.service import Service
from reconcile.chunk import Key
from reconcile.scope import Draw, Selection
from sql.connection import connect
from sql.errors import UsageError
from sql.model import Move
from sql.names import quote, split
from sql.predicate import Predicate, read_predicate

MOST_DRAWN: Final = 1_000_000  # keys that --sample N keeps in memory while it draws
_NAME: Final = re.compile(r'(?:[^,"]|"(?:[^"]|"")*")+')


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags as they were given."""

    key: Sequence[str] | None = None
    keys: Path | None = None
    since: str | None = None
    columns: str | None = None
    where: str | None = None
    sample: str | None = None
    seed: int | None = None

    @property
    def given(self) -> list[str]:
        return [f"--{each.name}" for each in fields(self) if getattr(self, each.name)]


def select(service: Service, moves: Sequence[Move], flags: Flags) -> dict[str, Selection] | None:
    """The part of each move to compare; None: all. UsageError for flags that do not go together."""
    given = set(flags.given) - {"--seed"}
    if flags.seed is not None and flags.sample is None:
        raise UsageError("--seed is of --sample", cure=f"--sample 1000 --seed {flags.seed}")
    if not given:
        return None
    chosen_by = sorted(given - {"--columns", "--key"}) + (["--key"] if "--key" in given - {"--keys"} else [])
    if len(chosen_by) > 1 and set(chosen_by) != {"--key", "--keys"}:
        raise UsageError(f"{' and '.join(chosen_by)} each choose the keys", cure="give one of them")
    of_one = sorted(given & {"--key", "--keys", "--where", "--columns"})
    if of_one and len(moves) != 1:
        raise UsageError(f"{of_one[0]} is of one move", hint=f"name it: cutover reconcile MOVE {of_one[0]} …")
    return {move.name: _selection(service, move, flags) for move in moves}


def _selection(service: Service, move: Move, flags: Flags) -> Selection:
    keys, said = _keys(service, move, flags)
    return Selection(
        keys=keys,
        said=said,
        columns=None if flags.columns is None else _columns(move, flags.columns),
        where=None if flags.where is None else _where(service, move, flags.where),
        draw=None if flags.sample is None else read_draw(flags.sample, flags.seed),
    )


def _keys(service: Service, move: Move, flags: Flags) -> tuple[list[Key] | None, str | None]:
    if flags.since is not None:
        stretches = read_since("--since", service.log, move, flags.since)
        return keys_in(service.log, move, stretches), f"those that the log names since {flags.since}"
    if not flags.key and flags.keys is None:
        return None, None
    with connect(service.settings.dsn, "reconcile keys") as conn:
        found = read_keys(conn, move, flags.key, flags.keys)
    return found, f"{len(found or ()):,} given"


def _columns(move: Move, text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_column(move, text, part) for part in _NAME.findall(text)))


def _column(move: Move, text: str, part: str) -> str:
    """A column by its name as in SQL, or as reports print it: a shell takes the quotes off."""
    known = [column.name for column in move.written]
    bare = part.strip()
    if bare in known:
        return bare
    try:
        (name,) = split(part)
    except ValueError:
        raise UsageError(
            f"--columns {text}: {part!r} is not a column's name", cure="--columns price,currency"
        ) from None
    if name in known:
        return name
    near = difflib.get_close_matches(bare, known, 1, 0.5) or difflib.get_close_matches(name, known, 1, 0.5)
    hint = f"did you mean --columns {_for_shell(near[0])}?" if near else f"it compares {', '.join(map(quote, known))}"
    raise UsageError(f"--columns: {move.name} does not write a column {quote(name)}", cure=hint)


def _for_shell(column: str) -> str:
    """A column's name as --columns takes it from a shell."""
    return shlex.quote(quote(column) if _NAME.fullmatch(column) is None or '"' in column else column)


def _where(service: Service, move: Move, text: str) -> Predicate:
    with connect(service.settings.dsn, "reconcile condition") as conn:
        return read_predicate(conn, move, text)


def read_draw(text: str, seed: int | None) -> Draw:
    """`0.01`, `1%` or `1000`; 1 and more is a number of keys."""
    more = {} if seed is None else {"seed": seed}
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = 0.0
    if 0 < number < 1 or (text.endswith("%") and 0 < number <= 1):
        return Draw(fraction=number, **more)
    if text.isdecimal() and 1 <= int(text) <= MOST_DRAWN:
        return Draw(number=int(text), **more)
    raise UsageError(
        f"--sample {text}: neither a share of the keys nor a number of them up to {MOST_DRAWN:,}",
        cure="--sample 0.01, --sample 1%, --sample 1000",
    )
