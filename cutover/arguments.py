"""What flags say of keys and moments, read once; UsageError names the flag and how it is written."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cdc import stretch
from cdc.frame import PG_EPOCH_US
from cdc.log import Log
from cdc.replication import lsn_number
from cdc.stretch import Stretch
from cutover.restore.moment import Moment
from sql.connection import Connection
from sql.errors import UsageError
from sql.given import as_printed
from sql.keys import key_text, parse_key, parse_keys
from sql.model import Move
from sql.names import Name, quote

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|min|m|h|d)\Z")
_WRITTEN: Final = "parts separated by commas, in double quotes where one has a comma, a quote or nothing in it"
_MS: Final = {"ms": 1, "s": 1_000, "min": 60_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def read_keys(
    conn: Connection, move: Move, given: Sequence[str] | None, file: Path | None = None
) -> list[tuple[str, ...]] | None:
    """The keys of --key and those of the file of --keys (`-`: standard input), as sql.keys has them and as PostgreSQL
    prints them; None without either."""
    if not given and file is None:
        return None
    found = [("--key", _parsed("--key", move, text)) for text in given or ()]
    if file is not None:
        found += _of_file(move, file)
    return as_printed(conn, move, found)


def read_key(conn: Connection, flag: str, move: Move, words: Sequence[str]) -> tuple[str, ...]:
    """One key as PostgreSQL prints it, from one word, as sql.keys has it, or from a word for each part."""
    key = _parsed(flag, move, words[0]) if len(words) == 1 else _checked(flag, move, tuple(words))
    return as_printed(conn, move, [(flag, key)])[0]


def _parsed(flag: str, move: Move, text: str) -> tuple[str, ...]:
    """As many parts as the move's key has."""
    try:
        return _checked(flag, move, parse_key(text))
    except ValueError as error:
        raise UsageError(f"{flag} {text}: not a key: {error}", cure=_WRITTEN) from None


def _of_file(move: Move, file: Path) -> list[tuple[str, tuple[str, ...]]]:
    flag = f"--keys {file}"
    try:
        with ExitStack() as stack:
            lines = sys.stdin if str(file) == "-" else stack.enter_context(file.open(encoding="utf-8-sig", newline=""))
            return [(flag, _checked(flag, move, key)) for key in parse_keys(lines)]
    except (OSError, ValueError) as error:  # what is not UTF-8 is a ValueError too
        raise UsageError(f"{flag} cannot be read: {error}", cure=f"one key a line: {_WRITTEN}") from None


def _checked(flag: str, move: Move, key: tuple[str, ...]) -> tuple[str, ...]:
    if len(key) != len(move.key):
        names, parts = (
            ",".join(quote(column.name) for column in move.key),
            "1 part" if len(move.key) == 1 else f"{len(move.key)} parts",
        )
        raise UsageError(f"{flag} {key_text(key)}: the key of {move.name} has {parts}: {names}", cure=_WRITTEN)
    return key


def read_offsets(flag: str, given: Sequence[str]) -> dict[int, int]:
    """PARTITION:OFFSET, once for each partition."""
    found: dict[int, int] = {}
    for text in given:
        partition, colon, offset = text.partition(":")
        if not (colon and partition.isdecimal() and offset.isdecimal()):
            raise UsageError(f"{flag} {text}: not PARTITION:OFFSET", cure=f"{flag} 0:1200 {flag} 1:900")
        if int(partition) in found:
            raise UsageError(f"{flag} {text}: partition {partition} is named twice")
        found[int(partition)] = int(offset)
    return found


def read_lsn(flag: str, text: str) -> int:
    """An LSN as PostgreSQL writes it."""
    try:
        return lsn_number(text)
    except ValueError:
        raise UsageError(f"{flag} {text}: not an LSN", cure="as PostgreSQL writes it: 0/16B3748") from None


def read_time(flag: str, text: str) -> int:
    """A moment in ISO 8601, or how long ago it was, as Unix milliseconds; without a zone it is UTC."""
    return int(_time(flag, text) // timedelta(milliseconds=1))


def read_moment(flag: str, text: str) -> Moment:
    """An LSN, a moment in ISO 8601, or how long ago it was."""
    if "/" in text:
        return Moment(lsn=read_lsn(flag, text), given=f"{flag} {text}")
    return Moment(time=_time(flag, text) // timedelta(microseconds=1) - PG_EPOCH_US, given=f"{flag} {text}")


def _time(flag: str, text: str) -> timedelta:
    """Since 1970, UTC; so long ago, where it is a duration."""
    if (ago := _DURATION.match(text)) is not None:
        return timedelta(milliseconds=time.time() * 1000 - float(ago[1]) * _MS[ago[2]])
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{flag} {text}: not a time",
            cure="ISO 8601, 2026-11-01T08:30 or …+01:00; or so long ago, 90s, 15min, 2h, 1d",
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)


def read_name(flag: str, text: str) -> Name:
    """A table as in SQL, with its schema."""
    try:
        return Name.parse(text)
    except ValueError as error:
        raise UsageError(f"{flag} {text}: {error}", cure="schema.table, with quotes where SQL needs them") from None


def read_since(flag: str, log: Log, move: Move, text: str) -> list[Stretch]:
    """The part of the log since a duration (`90s`, `15min`, `2h`, `1d`), an LSN or a time."""
    if (found := _DURATION.match(text)) is not None:
        return stretch.from_time(log, move, int(time.time() * 1000 - float(found[1]) * _MS[found[2]]))
    if "/" in text:
        return stretch.from_lsn(log, move, read_lsn(flag, text))
    try:
        return stretch.from_time(log, move, read_time(flag, text))
    except UsageError:
        cure = "a duration (90s, 15min, 2h, 1d), an LSN (0/16B3748) or a time (2026-11-01T08:30, UTC)"
        raise UsageError(f"{flag} {text}: neither a duration nor an LSN nor a time", cure=cure) from None
