"""The latest reconciliation of a move, and whether it still says something of the tables that are there now.

The gate, `status` and `doctor` ask this one question, so that none of them trusts a proof that another refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from sql.connection import Connection
from sql.files import load


@dataclass(frozen=True, slots=True)
class Proof:
    """The row of sql/gate/proof.sql. `age` in seconds; `moved`: tables that are other ones now, None when unknown."""

    move: str
    verdict: str
    exact: bool
    run: int
    digest: str
    started_at: datetime
    age: float
    snapshot_lsn: str | None
    moved: list[str] | None
    upset: str | None
    upset_at: datetime | None

    def void(self, digest: str) -> str | None:
        """Why this run says nothing of what is there now, whatever its verdict; None: it does. `digest`: the plan's."""
        if self.digest != digest:
            return "the plan has changed since the last reconciliation"
        if self.moved is None:
            return "the last reconciliation did not record which tables it compared"
        if self.moved:
            return (
                f"{' and '.join(self.moved)} {'was' if len(self.moved) == 1 else 'were'} emptied (TRUNCATE), replaced"
                " or rewritten (VACUUM FULL, CLUSTER) since the last reconciliation began"
            )
        if self.upset_at is not None and self.upset_at >= self.started_at:
            return f"the last reconciliation began before: {self.upset}"
        return None


def read_proofs(
    conn: Connection, plan: str, move: str | None = None, tables: Sequence[str] | None = None
) -> dict[str, Proof]:
    """By move, the run that counts, of those that were ever reconciled. `tables`: what it has to have compared."""
    given = {"plan": plan, "move": move, "tables": None if tables is None else list(tables)}
    with conn.cursor(row_factory=class_row(Proof)) as cursor:
        return {proof.move: proof for proof in cursor.execute(load("gate/proof").encode(), given)}
