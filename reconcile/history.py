"""What earlier reconciliations of a move said: since when a difference has been seen, and how the runs went."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reconcile.document import Verdict
from sql.connection import Connection
from sql.files import load


@dataclass(frozen=True, slots=True)
class Ran:
    """One stored run. `standing`: keys that drifted, were unresolved or still in flight at its end."""

    started_at: datetime
    verdict: Verdict
    compared: int
    standing: int
    lag: int
    seconds: float
    who: str | None


def runs(conn: Connection, plan: str, move: str, most: int = 60) -> list[Ran]:
    """The latest runs of a move, oldest first."""
    rows = conn.execute(load("reconcile/runs"), {"plan": plan, "move": move, "most": most}).fetchall()
    return [Ran(*row) for row in rows]


def first_seen(conn: Connection, plan: str, move: str) -> dict[tuple[str, ...], datetime]:
    """Since when each key has been listed as different, without a match of the whole move in between."""
    rows = conn.execute(load("reconcile/first_seen"), {"plan": plan, "move": move}).fetchall()
    return {tuple(key): at for key, at in rows}
