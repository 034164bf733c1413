"""How people write a key, the same wherever one is given or printed, so that what is printed can be given back.

The parts are separated by commas, as in a line of CSV: `nord,A-7`. A part with a comma, a quote, blanks at an end, or
nothing in it stands in double quotes, a quote in it doubled: `"a,b"`, `"5"" disc"`, `""`. A key with characters that do
not print (tab, newline) is a JSON array: `["nord","a\\tb"]`. The two cannot be confused: a bare part of CSV has no
quotes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence


def key_text(key: Sequence[str]) -> str:
    """A key as it is printed."""
    if not all(part.isprintable() for part in key):
        return f"[{','.join(map(_json_part, key))}]"
    return ",".join(_part(part) for part in key)


def _json_part(part: str) -> str:
    """A string of JSON in which all that prints is as it is."""
    return "".join(
        each if each.isprintable() else json.dumps(each)[1:-1] for each in json.dumps(part, ensure_ascii=False)
    )


def _part(part: str) -> str:
    if part and part == part.strip(" ") and "," not in part and '"' not in part:
        return part
    return '"' + part.replace('"', '""') + '"'


def parse_key(text: str) -> tuple[str, ...]:
    """The parts of one key. ValueError, saying why, when it is none."""
    found = _json(text)
    if found is not None:
        return found
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise ValueError(str(error)) from None
    if len(rows) != 1 or not rows[0]:
        raise ValueError("not one key")
    return tuple(rows[0])


def parse_keys(lines: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """The keys of a file, one a line; a quoted part may run over several. ValueError with the line's number."""
    text, began = "", 0
    for number, line in enumerate(lines, 1):
        if not text:
            if not line.strip():
                continue
            began = number
        text += line
        if _json(text) is not None or text.count('"') % 2 == 0:
            try:
                yield parse_key(text.rstrip("\r\n"))
            except ValueError as error:
                raise ValueError(f"line {began}: {error}") from None
            text = ""
    if text:
        raise ValueError(f"line {began}: a quote is never closed")


def _json(text: str) -> tuple[str, ...] | None:
    if not text.startswith('["'):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return tuple(found) if isinstance(found, list) and all(isinstance(part, str) for part in found) else None
