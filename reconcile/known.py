"""What is known of keys beside their two sides: due by the clock, dead letters, what somebody decided about them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from reconcile.chunk import Key
from reconcile.diff import Comparison
from reconcile.progress import Progress
from reconcile.verdicts import Observation
from sql.connection import Connection
from sql.files import load
from sql.model import Move
from sql.render import bind


class Known:
    """What the control schema knows of a move's keys. `comparison`: in every column."""

    def __init__(self, comparison: Comparison, writer: Connection, move: Move) -> None:
        self.comparison, self.writer, self.move = comparison, writer, move

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
        given = {**self._names, "keys": json.dumps([it.key for it in seen])}
        rows = self.writer.execute(load("reconcile/accepted").encode(), given).fetchall()
        decided = {tuple(key): (legacy, consolidated) for key, legacy, consolidated in rows}
        if not decided:
            return set()
        with self.comparison.snapshot():  # a look at some columns must know the decision about all of them
            now = self.comparison.observed(list(decided))
        return {key for key, it in now.items() if decided[key] == (it.legacy, it.consolidated)}

    def dead(self) -> dict[Key, str]:
        """Keys that wait in the dead letters, with their SQLSTATE."""
        rows = self.writer.execute(load("reconcile/dead").encode(), self._names)
        return {tuple(key): sqlstate for key, sqlstate in rows}

    @property
    def _names(self) -> dict[str, Any]:
        return {"plan": self.move.plan, "move": self.move.name}
