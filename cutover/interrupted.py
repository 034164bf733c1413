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
_FATE: Final = "SELECT pg_xact_status(%s::xid8)"
_PATIENCE: Final = "5s"


class Interrupted(CutoverError):
    """By Ctrl-C or SIGTERM; the message says what was changed."""


@dataclass(slots=True)
class Attempt:
    """A flip. `before`: where reads were; None as long as nothing can have been changed. `share`: percent of sessions
    that are to read the consolidated side. `transaction`: the one that says so, committed or not."""

    before: Place | None = None
    share: int = 0
    transaction: str = ""


@contextmanager
def interruptible(dsn: str, attempt: Attempt | None = None) -> Iterator[Attempt]:
    """An interruption in here ends with what became of the attempt, as Interrupted. An attempt that is given is told of
    in here, and further out by whoever made it."""
    attempt = Attempt() if attempt is None else attempt
    try:
        yield attempt
    except KeyboardInterrupt:
        if attempt.before is None:
            raise Interrupted("interrupted: nothing was changed") from None
        raise Interrupted(_became(dsn, attempt, attempt.before), cure="cutover status") from None


def _became(dsn: str, attempt: Attempt, before: Place) -> str:
    """By the fate of its transaction: what the row says may be what somebody else did before or after."""
    move = before.move
    try:
        with connect(dsn, "flip", lock_timeout=_PATIENCE) as conn:
            conn.execute(_AT_REST, (before.plan, move))
            fate = conn.execute(_FATE, (attempt.transaction,)).fetchone()
            now = read_place(conn, before.plan, move).percent
    except (KeyboardInterrupt, CutoverError, psycopg.Error):
        fate = None
    if fate not in (("committed",), ("aborted",)):
        return f"interrupted, and the database does not answer: {move} was changed whole, or not at all"
    done = fate == ("committed",)
    said = "interrupted, and it was done already" if done else "interrupted: nothing was changed"
    reads = f"{now} % of the sessions read {move}'s consolidated side"
    if now != (attempt.share if done else before.percent):
        return f"{said}, but somebody else has flipped it meanwhile: now {reads}"
    return f"{said}: {reads}" if done else said
