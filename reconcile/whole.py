"""What is asked of a move as a whole, beside its keys: coverage, quarantine, rows that have no key."""

from __future__ import annotations

import psycopg

from reconcile import coverage
from reconcile.diff import Comparison
from reconcile.document import ColumnCoverage, Quarantined
from reconcile.tally import Tally
from sql.pairs import Side


def covered(comparison: Comparison, tally: Tally, limit_ms: int) -> tuple[list[ColumnCoverage], list[Quarantined]]:
    """Column coverage, and the quarantined rows; `tally` is told where these take longer than `limit_ms`."""
    try:
        with comparison.snapshot(limit_ms):
            return coverage.columns(comparison.conn, tally.move), coverage.quarantined(comparison.conn, tally.move)
    except psycopg.errors.QueryCanceled:
        tally.unknown.append("the quarantined rows could not be counted in time")
        return coverage.columns(comparison.conn, tally.move), []


def null_keys(comparison: Comparison, tally: Tally, limit_ms: int) -> None:
    """Count in `tally` the rows without a key: they are on no side of any chunk, and never green (A7)."""
    sides: tuple[Side, ...] = ("legacy",) if comparison.move.rows == "add" else ("legacy", "consolidated")
    for side in sides:
        try:
            if number := comparison.null_keys(side, limit_ms):
                tally.null_keys[side] = number
        except psycopg.errors.QueryCanceled:
            tally.unknown.append(f"rows without a key on the {side} side could not be counted in time")
