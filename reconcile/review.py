"""The file in which somebody decides about disagreements: written as TOML, read back strictly."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reconcile.chunk import Key
from reconcile.document import Cell
from sql.errors import UsageError
from sql.model import Move

Decision = Literal["legacy", "consolidated", ""]

_HEAD = """\
# Rows that were there before move {move} of plan {plan} and differ from its mapping. Listed {at:%Y-%m-%d %H:%M} UTC.
# Decide each:
#   decision = "legacy"        the row takes the mapping's values, and belongs to the move from then on: it follows
#                              every later change of its legacy row, its deletion too
#   decision = "consolidated"  the row stays as it is, for as long as both sides are these
#   decision = ""              it stays open
# Then: cutover reconcile --accept FILE. A key whose sides are not what is written here any more is refused.
plan = {plan_text}
move = {move_text}
review = {review}
"""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One key with the cells that differ. `seen`: recognises both sides as they were."""

    key: Key
    seen: str
    cells: dict[str, Cell]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Decided(_Part):
    """One key as it came back; the cells are for the reviewer's eyes."""

    key: list[str]
    seen: str
    decision: Decision
    legacy: dict[str, str] = {}
    consolidated: dict[str, str] = {}


class Review(_Part):
    """The file as it came back."""

    plan: str
    move: str
    review: int
    disagreement: list[Decided] = Field(default=[])


def head(move: Move, review: int) -> str:
    """The beginning of the file."""
    return _HEAD.format(
        move=move.name, plan=move.plan, plan_text=_text(move.plan), move_text=_text(move.name), review=review,
        at=datetime.now(UTC),
    )  # fmt: skip


def entry(found: Disagreement) -> str:
    """One disagreement as the file has it. TOML has no NULL: it is said in a comment."""
    lines = ["", "[[disagreement]]", f"key = [{', '.join(map(_text, found.key))}]", f"seen = {_text(found.seen)}"]
    lines.append('decision = ""')
    for side in ("legacy", "consolidated"):
        lines += [f"[disagreement.{side}]", *_side(found.cells, side)]
    return "\n".join(lines) + "\n"


def _side(cells: dict[str, Cell], side: str) -> Iterator[str]:
    for name, cell in cells.items():
        value = getattr(cell, side)
        remark = f"  # masked: {cell.masked}" if cell.masked else ""
        yield f"# {_text(name)} is NULL{remark}" if value is None else f"{_text(name)} = {_text(value)}{remark}"


def _text(value: str) -> str:
    """A basic string of TOML: JSON's, which leaves DEL alone."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def read_review(file: Path) -> Review:
    """Read the file. Raises UsageError with the place of what is not as it was written."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--accept {file} cannot be read: {error}", cure="the file that --disagreements wrote"
        ) from None
    try:
        review = Review.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"--accept {file}: {error}") from None
    except ValidationError as error:
        raise _explained(file, text, error) from None
    seen: set[tuple[str, ...]] = set()
    for each in review.disagreement:
        if tuple(each.key) in seen:
            raise UsageError(
                f"--accept {file}: the key {', '.join(each.key)} is decided twice", cure="leave one of them"
            )
        seen.add(tuple(each.key))
    return review


def _explained(file: Path, text: str, error: ValidationError) -> UsageError:
    first = error.errors()[0]
    path = first["loc"]
    if path and path[0] == "disagreement" and len(path) > 1 and isinstance(path[1], int):
        key = tomllib.loads(text)["disagreement"][path[1]].get("key", path[1])
        where = f"disagreement {', '.join(key) if isinstance(key, list) else key}, {'.'.join(map(str, path[2:]))}"
    else:
        where = ".".join(map(str, path))
    cure = 'decision = "legacy", "consolidated" or ""' if path and path[-1] == "decision" else None
    return UsageError(f"--accept {file}: {where}: {first['msg']}", cure=cure)
