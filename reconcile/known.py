"""What is known of keys beside their two sides: due by the clock, dead letters, what somebody decided about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from reconcile import decisions
from reconcile.chunk import Key
from reconcile.decisions import Decision
from reconcile.diff import Comparison
from reconcile.progress import Progress
from reconcile.session import BRIEF_LOCK_MS, of_data, patiently
from reconcile.verdicts import Observation
from sql.connection import Connection
from sql.files import load
from sql.model import Move
from sql.render import bind

_AT_ONCE = 1_000  # keys looked at in one snapshot


class Known:
    """What the control schema knows of a move's keys. `comparison`: in every column."""

    def __init__(self, comparison: Comparison, writer: Connection, move: Move) -> None:
        self.comparison, self.writer, self.move = comparison, writer, move
        self.void: dict[Key, Decision] = {}  # seen to be about something else than is there

    def due(self, comparison: Comparison, reached: Progress) -> set[Key]:
        """Keys whose mapping the clock has changed since their refresh was applied (A10); in the open snapshot."""
        if self.move.refresh is None:
            return set()
        sql = bind(self.move.refresh.keys_sql, self.move)
        columns = ", ".join(f"concat(due.c{at})" for at in range(len(self.move.key)))
        names = ", ".join(f"c{at}" for at in range(len(self.move.key)))
        given = {"since": reached.refreshed_until or "-infinity", "until": "now"}
        text = f"SELECT {columns} FROM ({sql}) AS due ({names})"
        return {tuple(row) for row in comparison.conn.execute(text.encode(), given, prepare=False)}

    def accepted(self, seen: Sequence[Observation]) -> set[Key]:
        """Of keys that drift: those that somebody has decided to leave, being exactly what they are now."""
        if not seen:
            return set()
        decided = decisions.standing(self.writer, self.move, [it.key for it in seen])
        if not decided:
            return set()
        # A look at some columns must know the decision about all of them.
        with self.comparison.snapshot(lock_ms=BRIEF_LOCK_MS):
            now = self.comparison.observed(list(decided))
        kept = {key for key, it in now.items() if decided[key].holds(it)}
        self.void |= {key: each for key, each in decided.items() if key not in kept}
        return kept

    def ended(self, keys: Sequence[Key] | None) -> list[Decision]:
        """Decisions about these keys (None: about any) that this run saw to be about something else than is there."""
        decided = decisions.standing(self.writer, self.move, keys)
        numbered = list(decided)
        for at in range(0, len(numbered), _AT_ONCE):
            now = self._observed(numbered[at : at + _AT_ONCE])
            self.void |= {key: decided[key] for key, it in now.items() if not decided[key].holds(it)}
        return list(self.void.values())

    def left_by_rule(self) -> list[Key]:
        """Of the differences that stand: rows of others that differ, and that the plan's rule keeps by now."""
        if self.move.rows != "add" or self.move.existing != "keep":
            return []
        rows = self.writer.execute(load("reconcile/still_standing").encode(), self._names).fetchall()
        keys, found = [tuple(key) for (key,) in rows], list[Key]()
        for at in range(0, len(keys), _AT_ONCE):
            now = self._observed(keys[at : at + _AT_ONCE])
            found += [key for key, it in now.items() if it.state == "kept"]
        return found

    def _observed(self, keys: Sequence[Key]) -> dict[Key, Observation]:
        """Both sides of the keys, each in a short snapshot; those for which the mapping fails are left out."""

        def attempt() -> dict[Key, Observation]:
            with self.comparison.snapshot(lock_ms=BRIEF_LOCK_MS):
                return self.comparison.observed(keys)

        try:
            return patiently(attempt)
        except psycopg.Error as error:
            if not of_data(error):
                raise
        middle = len(keys) // 2
        return self._observed(keys[:middle]) | self._observed(keys[middle:]) if middle else {}

    def dead(self) -> dict[Key, str]:
        """Keys that wait in the dead letters, with their SQLSTATE."""
        rows = self.writer.execute(load("reconcile/dead").encode(), self._names)
        return {tuple(key): sqlstate for key, sqlstate in rows}

    @property
    def _names(self) -> dict[str, Any]:
        return {"plan": self.move.plan, "move": self.move.name}
