"""What became of a flip that was interrupted: only the database knows, for the swap may have been committed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import psycopg

from cutover.place import Place, read_place
from sql.connection import connect
from sql.errors import CutoverError

_AT_REST: Final = (
    "SELECT FROM cutover.move WHERE plan = %s AND move = %s FOR UPDATE"  # behind a swap that still commits
)
_PATIENCE: Final = "5s"


class Interrupted(CutoverError):
    """By Ctrl-C or SIGTERM; the message says what was changed."""


@dataclass(slots=True)
class Attempt:
    """A flip. `before`: where reads were; None as long as nothing can have been changed."""

    before: Place | None = None


@contextmanager
def interruptible(dsn: str = "") -> Iterator[Attempt]:
    """An interruption in here ends with what became of the attempt, as Interrupted."""
    attempt = Attempt()
    try:
        yield attempt
    except KeyboardInterrupt:
        if attempt.before is None:
            raise Interrupted("interrupted: nothing was changed") from None
        raise Interrupted(_became(dsn, attempt.before), cure="cutover status") from None


def _became(dsn: str, before: Place) -> str:
    try:
        with connect(dsn, "flip", lock_timeout=_PATIENCE) as conn:
            conn.execute(_AT_REST, (before.plan, before.move))
            now = read_place(conn, before.plan, before.move)
    except (KeyboardInterrupt, CutoverError, psycopg.Error):
        return f"interrupted, and the database does not answer: {before.move} was changed whole, or not at all"
    if (now.percent, now.installed) == (before.percent, before.installed):
        return "interrupted: nothing was changed"
    return f"interrupted, and it was done already: {now.percent} % of the sessions read {now.move}'s consolidated side"
