"""Read a plan's folder: plan.toml and the SQL files that it names, checked as far as no database is needed."""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from sql.errors import PlanError
from sql.model import Backfill, Existing, Invariant, Rows
from sql.names import Name, parse_column, quote, split
from sql.spec import MoveSpec, PlanFolder, RefreshSpec, SqlFile

__all__ = ["PlanFolder", "load_plan", "plan_folder", "shipped"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_WORD = re.compile(r"[a-z][a-z0-9_]{0,24}\Z")
_HEADER = re.compile(r"\s*\[\[?(?P<path>.+?)\]\]?\s*(?:#.*)?\Z")
_PART = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*""")


def _relation(value: str) -> Name:
    return Name.parse(value)


def _column(value: str) -> str:
    parts = split(value)
    if len(parts) != 1:
        raise ValueError(f"expected one column name as in SQL, got {value!r}")
    return parts[0]


def _seconds(value: Any) -> float:
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None or float(match[1]) <= 0:
        raise ValueError(f'expected a duration such as "5s", "500ms" or "2min", got {value!r}')
    return float(match[1]) * _SECONDS[match[2]]


def _word(value: str) -> str:
    if not _WORD.match(value):
        raise ValueError(
            f"{value!r} becomes part of slot, topic and view names: lower-case letters, digits and _, at most 25"
        )
    return value


_Relation = Annotated[Name, BeforeValidator(_relation)]
_Column = Annotated[str, AfterValidator(_column)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Refresh(_Model):
    every: Annotated[float, BeforeValidator(_seconds)]
    keys: str


class _Invariant(_Model):
    name: str = Field(min_length=1)
    legacy: str = Field(min_length=1)
    consolidated: str = Field(min_length=1)


class _Move(_Model):
    target: _Relation
    mapping: str
    key: list[_Column] = Field(min_length=1)
    rows: Rows
    existing: Existing = "report"
    partitions: int = Field(default=4, ge=1, le=1024)
    facade: _Relation | None = None
    ddl: str | None = None
    annotate: str | None = None
    quarantine: str | None = None
    refresh: _Refresh | None = None
    waive: dict[str, Annotated[str, Field(min_length=1)]] = {}
    sources: dict[str, Literal["static"] | _Column | list[_Column]] = {}
    invariants: list[_Invariant] = []
    backfill: Backfill = "keys"
    mask: list[_Column] = []


class _Plan(_Model):
    name: Annotated[str, AfterValidator(_word)]
    moves: dict[Annotated[str, AfterValidator(_word)], _Move] = Field(min_length=1)


def shipped() -> list[str]:
    """The names of the plans that come with this package."""
    root = files("sql")
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.joinpath("plan.toml").is_file())


def load_plan(name_or_folder: str) -> PlanFolder:
    """Read a shipped plan by name, or a folder. Raises PlanError with file, line and the nearest valid word."""
    folder = plan_folder(name_or_folder)
    file = "plan.toml"
    try:
        text = folder.joinpath(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"cannot be read: {error}", file=file) from error
    lines = _Lines(text)
    try:
        plan = _Plan.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"line (\d+)", str(error))
        hint = 'text stands in quotes, as in: rows = "all"' if "Invalid value" in str(error) else None
        raise PlanError(str(error), file=file, line=int(at[1]) if at else text.count("\n") + 1, hint=hint) from None
    except ValidationError as error:
        raise _explained(error, file, lines) from None
    reader = _Reader(folder, file, lines, {file: text})
    moves = tuple(reader.move(name, move) for name, move in plan.moves.items())
    _refuse_doubles(plan, file, lines)
    digest = hashlib.sha256()
    for used, content in sorted(reader.texts.items()):
        digest.update(f"{used}\0{len(content.encode())}\0{content}".encode())
    return PlanFolder(plan.name, file, digest.hexdigest(), moves)


def plan_folder(name_or_folder: str) -> Traversable:
    """The folder of a shipped plan, or the one given. Raises PlanError with the nearest name when there is none."""
    names = shipped()
    if name_or_folder in names:
        return files("sql").joinpath(name_or_folder)
    path = Path(name_or_folder)
    if path.name == "plan.toml" and path.is_file():
        path = path.parent
    if path.joinpath("plan.toml").is_file():
        return path
    near = difflib.get_close_matches(name_or_folder, names, 1)
    cure = f"did you mean {near[0]}?" if near else f"a folder with a plan.toml, or a shipped plan: {', '.join(names)}"
    raise PlanError(f"no plan {name_or_folder!r}: neither a shipped plan nor a folder with a plan.toml", cure=cure)


class _Reader:
    """Turns the parsed file into the plan's data, reading each SQL file once."""

    def __init__(self, folder: Traversable, file: str, lines: _Lines, texts: dict[str, str]) -> None:
        self.folder, self.file, self.lines, self.texts = folder, file, lines, texts

    def fail(self, message: str, path: tuple[str, ...], cure: str | None = None) -> PlanError:
        return PlanError(message, file=self.file, line=self.lines.of(path), cure=cure)

    def sql(self, name: str | None, *path: str) -> SqlFile | None:
        return None if name is None else self.needed(name, *path)

    def needed(self, name: str, *path: str) -> SqlFile:
        if name not in self.texts:
            entry = self.folder.joinpath(name)
            if Path(name).is_absolute() or ".." in Path(name).parts or not entry.is_file():
                there = [it.name for it in self.folder.iterdir() if it.name.endswith(".sql")]
                near = difflib.get_close_matches(name, there, 1)
                raise self.fail(
                    f"no file {name} in the plan's folder", path, f"did you mean {near[0]}?" if near else None
                )
            try:
                self.texts[name] = entry.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise PlanError(f"not UTF-8: {error}", file=name) from error
        return SqlFile(name, self.texts[name])

    def move(self, name: str, move: _Move) -> MoveSpec:
        at = ("moves", name)
        refresh = None
        if move.refresh is not None:
            refresh = RefreshSpec(move.refresh.every, self.needed(move.refresh.keys, *at, "refresh", "keys"))
        if len(set(move.key)) != len(move.key):
            raise self.fail("a key column is named twice", (*at, "key"))
        if move.existing != "report" and move.rows != "add":
            raise self.fail('`existing` is about rows = "add" only', (*at, "existing"))
        if move.facade == move.target:
            cure = "give the facade its own name, and let applications read that"
            raise self.fail("the facade cannot have the target's name", (*at, "facade"), cure)
        return MoveSpec(
            name, move.target, self.needed(move.mapping, *at, "mapping"), tuple(move.key), move.rows, move.existing,
            move.partitions, move.facade,
            ddl=self.sql(move.ddl, *at, "ddl"),
            annotate=self.sql(move.annotate, *at, "annotate"),
            quarantine=self.sql(move.quarantine, *at, "quarantine"),
            refresh=refresh,
            waive={self.column(text, *at, "waive", text): reason for text, reason in move.waive.items()},
            sources=dict(self.source(name, text, stated, len(move.key)) for text, stated in move.sources.items()),
            invariants=tuple(Invariant(it.name, it.legacy, it.consolidated) for it in move.invariants),
            backfill=move.backfill,
            mask=tuple(move.mask),
            lines=self.lines.below(at),
        )  # fmt: skip

    def column(self, text: str, *path: str) -> tuple[Name, str]:
        try:
            return parse_column(text)
        except ValueError as error:
            raise self.fail(str(error), path, "write schema.table.column, as in SQL") from None

    def source(self, move: str, text: str, stated: str | list[str], width: int) -> tuple[Name, tuple[str, ...] | None]:
        path = ("moves", move, "sources", text)
        try:
            name = Name.parse(text)
        except ValueError as error:
            raise self.fail(str(error), path, "write schema.table, as in SQL") from None
        if stated == "static":
            return name, None
        columns = (stated,) if isinstance(stated, str) else tuple(stated)
        if len(columns) != width:
            raise self.fail(f"the key has {width} columns, {text} states {len(columns)}", path)
        return name, columns


def _refuse_doubles(plan: _Plan, file: str, lines: _Lines) -> None:
    seen: dict[Name, str] = {}
    for name, move in plan.moves.items():
        if move.facade is not None and seen.setdefault(move.facade, name) != name:
            message = f"moves {seen[move.facade]} and {name} have the same facade {move.facade}"
            raise PlanError(message, file=file, line=lines.of(("moves", name, "facade")))


class _Lines:
    """Where the keys of a TOML text stand. tomllib keeps no lines, so the text is scanned for headers and keys."""

    def __init__(self, text: str) -> None:
        self._at: dict[tuple[str, ...], int] = {}
        table: tuple[str, ...] = ()
        arrays: dict[tuple[str, ...], int] = {}
        for number, line in _statements(text):
            header = _HEADER.match(line)
            if header is not None and line.lstrip().startswith("["):
                table = tuple(_parts(header["path"])[0])
                if line.lstrip().startswith("[["):
                    arrays[table] = arrays.get(table, -1) + 1
                    table = (*table, str(arrays[table]))
                self._at.setdefault(table, number)
                continue
            path, rest = _parts(line)
            if path and rest.startswith("="):
                self._at.setdefault((*table, *path), number)

    def of(self, path: tuple[str, ...]) -> int:
        """The line of a key, or of the nearest table around it; 1 when there is none."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._at:
                return self._at[path[:length]]
        within = [line for known, line in self._at.items() if known[: len(path)] == path]
        return min(within, default=1)

    def below(self, prefix: tuple[str, ...]) -> dict[str, int]:
        """The lines below a table, by the rest of the path joined with NUL; "" is the table itself."""
        size = len(prefix)
        found = {"\0".join(path[size:]): line for path, line in self._at.items() if path[:size] == prefix}
        return {"": self.of(prefix), **found}


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, without what is inside multi-line strings."""
    closing: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if closing is not None:
            if closing in line:
                closing = None
            continue
        yield number, line
        for quotes in ('"""', "'''"):
            if line.count(quotes) % 2 == 1:
                closing = quotes
                break


def _parts(text: str) -> tuple[list[str], str]:
    """A dotted TOML key at the start of a text, and what follows it."""
    parts: list[str] = []
    at = 0
    while (match := _PART.match(text, at)) is not None:
        basic, literal, bare = match.groups()
        parts.append(next(part for part in (_unescaped(basic), literal, bare) if part is not None))
        at = match.end()
        if at >= len(text) or text[at] != ".":
            break
        at += 1
    return parts, text[at:]


def _unescaped(basic: str | None) -> str | None:
    return None if basic is None else re.sub(r'\\(["\\])', r"\1", basic)


def _explained(error: ValidationError, file: str, lines: _Lines) -> PlanError:
    """The first thing pydantic objects to, as a person would say it."""
    first = min(error.errors(), key=lambda it: it["type"] != "extra_forbidden")  # a misspelt key is also a missing one
    path = tuple(str(part) for part in first["loc"])
    model = _model_at(path[:-1])
    word = path[-1] if path else ""
    if first["type"] == "extra_forbidden":
        known = list(model.model_fields) if model else []
        near = difflib.get_close_matches(word, known, 1)
        cure = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        return PlanError(f"unknown key {word}", file=file, line=lines.of(path), cure=cure)
    if first["type"] == "missing":
        where = f"in [{'.'.join(path[:-1])}]" if path[:-1] else "before the first [table]"
        return PlanError(f"{word} is missing {where}", file=file, line=lines.of(path[:-1]))
    if first["type"] == "literal_error":
        expected = re.findall(r"'(\w+)'", str(first.get("ctx", {}).get("expected", "")))
        near = difflib.get_close_matches(str(first["input"]), expected, 1)
        hint = f"did you mean {near[0]}?" if near else None
        message = f"{word} is one of {', '.join(expected)}, not {first['input']!r}"
        return PlanError(message, file=file, line=lines.of(path), cure=hint)
    message = first["msg"].removeprefix("Value error, ")
    return PlanError(f"{'.'.join(path)}: {message}", file=file, line=lines.of(path), hint=_written(first))


def _written(error: ErrorDetails) -> str | None:
    """How a name would be written that is none as in SQL: with its own quotes, within TOML's."""
    given = error["input"]
    if "as in SQL" not in error["msg"] or not isinstance(given, str) or '"' in given or not given:
        return None
    parts = given.split(".") if error["msg"].startswith("Value error, not a name") else [given]
    return f"names are written as in SQL, within TOML's quotes: '{'.'.join(map(quote, parts))}'"


def _model_at(path: tuple[str, ...]) -> type[BaseModel] | None:
    match path:
        case ():
            return _Plan
        case ("moves", _):
            return _Move
        case ("moves", _, "refresh"):
            return _Refresh
        case ("moves", _, "invariants", _):
            return _Invariant
    return None
