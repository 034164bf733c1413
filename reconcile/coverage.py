"""Which legacy columns the mapping carries, which are waived, which nobody has thought of; what is left out."""

from __future__ import annotations

from reconcile.document import ColumnCoverage, Quarantined
from sql.catalog import read_tables
from sql.connection import Connection
from sql.model import Move
from sql.names import quote


def columns(conn: Connection, move: Move) -> list[ColumnCoverage]:
    """Every column of every legacy table that would be dropped: mapped, waived with its reason, or missing."""
    found = []
    sources = [source.name for source in move.sources if not source.is_target]
    tables = read_tables(conn, sources)
    for name in sources:
        for column in (column.name for column in tables[name].columns):
            label = f"{name.sql}.{quote(column)}"
            reason = move.waive.get((name, column))
            if reason is not None:
                found.append(ColumnCoverage(column=label, status="waived", reason=reason))
            elif (name, column) in move.unmapped:
                found.append(ColumnCoverage(column=label, status="missing"))
            else:
                found.append(ColumnCoverage(column=label, status="mapped"))
    return found


def quarantined(conn: Connection, move: Move) -> list[Quarantined]:
    """Rows that the plan leaves out on purpose, by reason (A7)."""
    if move.quarantine_sql is None:
        return []
    sql = move.quarantine_sql.strip().rstrip(";").replace("%", "%%")
    described = conn.execute(f"SELECT * FROM ({sql}) q LIMIT 0".encode(), {}, prepare=False).description or []
    names = ", ".join(f"c{at}" for at in range(len(described)))
    reason = f"q.c{len(described) - 1}"
    counted = f"SELECT concat({reason}), count(*) FROM ({sql}) AS q ({names}) GROUP BY {reason} ORDER BY 2 DESC, 1"
    rows = conn.execute(counted.encode(), {}, prepare=False).fetchall()
    return [Quarantined(reason=text, rows=number) for text, number in rows]
