"""Decisions to leave a key as it is: they hold for what both sides were then, and end for good when that is over.

A decision is about values, not about a key: it must not hide what happens to the key later. So it ends when a consumer
applies a key whose letter was discarded, when the row of others that it is about becomes the move's own, and when a run
sees either side to be something else, or both to be equal. Both sides coming back to what they were do not revive it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from reconcile.chunk import Key
from reconcile.verdicts import Observation
from sql.connection import Connection
from sql.files import load
from sql.model import Move


@dataclass(frozen=True, slots=True)
class Decision:
    """To leave a key as it is. `legacy`, `consolidated`: digests of the sides then, None without a row.

    `review`: about a row of others; else about a discarded dead letter. `at`: when; a later one is another decision.
    """

    key: Key
    legacy: bytes | None
    consolidated: bytes | None
    at: datetime
    review: bool

    def holds(self, now: Observation) -> bool:
        """Is what is there now what it is about?"""
        same = (now.legacy, now.consolidated) == (self.legacy, self.consolidated)
        return same and now.state not in ("same", "duplicate") and (not self.review or of_others(now))


def of_others(now: Observation) -> bool:
    """A row of others, there on both sides, that differs: whether the plan's rule reports it or keeps it."""
    return now.state == "kept" or (now.conflict and now.state == "differs")


def standing(conn: Connection, move: Move, keys: Sequence[Key] | None) -> dict[Key, Decision]:
    """The decisions about these keys (None: about any) that have not ended."""
    given = {"plan": move.plan, "move": move.name, "keys": None if keys is None else json.dumps(list(keys))}
    rows = conn.execute(load("reconcile/accepted").encode(), given).fetchall()
    return {tuple(key): Decision(tuple(key), *rest) for key, *rest in rows}


def end(conn: Connection, plan: str, move: str, ended: Iterable[Decision]) -> None:
    """End these decisions, but none that was taken in their place since; in the transaction that is open."""
    for each in ended:
        given = {"plan": plan, "move": move, "key": list(each.key), "at": each.at}
        conn.execute(load("reconcile/end_decision").encode(), given)
