"""What flags say of keys and moments, read once; UsageError names the flag and how it is written."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cdc import stretch
from cdc.frame import PG_EPOCH_US
from cdc.log import Log
from cdc.replication import lsn_number
from cdc.stretch import Stretch
from cutover.restore.moment import Moment
from sql.errors import UsageError
from sql.model import Move
from sql.names import Name

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|min|h|d)\Z")
_MS: Final = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


def read_keys(flag: str, move: Move, given: Sequence[str] | None) -> list[tuple[str, ...]] | None:
    """Keys of a move, the parts of a composite one separated by commas; None where none are given."""
    if not given:
        return None
    return check_keys(flag, move, [tuple(each.split(",")) if len(move.key) > 1 else (each,) for each in given])


def check_keys(flag: str, move: Move, keys: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The keys, each with as many parts as the move's has."""
    for key in keys:
        if len(key) != len(move.key):
            names = ",".join(column.name for column in move.key)
            raise UsageError(f"{flag} {','.join(key)}: the key of {move.name} has {len(move.key)} parts: {names}")
    return keys


def read_keys_or_file(flag: str, move: Move, given: Sequence[str] | None) -> list[tuple[str, ...]] | None:
    """Keys of a move, or with `@FILE` those of a file, one a line."""
    if not given:
        return None
    listed: list[str] = []
    for each in given:
        listed += _lines(flag, each[1:]) if each.startswith("@") else [each]
    return read_keys(flag, move, listed) or []


def _lines(flag: str, file: str) -> list[str]:
    try:
        return [line for line in Path(file).read_text(encoding="utf-8").splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{flag} @{file}: {error}", cure="a text file with one key a line") from None


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
    """A moment in ISO 8601, as Unix milliseconds; without a zone it is UTC."""
    return int(_time(flag, text) // timedelta(milliseconds=1))


def read_moment(flag: str, text: str) -> Moment:
    """An LSN, or a moment in ISO 8601."""
    if "/" in text:
        return Moment(lsn=read_lsn(flag, text))
    return Moment(time=_time(flag, text) // timedelta(microseconds=1) - PG_EPOCH_US)


def _time(flag: str, text: str) -> timedelta:
    """Since 1970, UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{flag} {text}: not a time", cure="ISO 8601, 2026-11-01T08:30 or …+01:00") from None
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
    return stretch.from_time(log, move, read_time(flag, text))
