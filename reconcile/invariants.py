"""Invariants: what the mapping cannot say, asked of both sides in one snapshot.

While the application writes, a few keys are always in flight and a total over the target is never the legacy one. So
where the sides disagree, the same snapshot also says which keys differ in it, and the target's side is asked again with
these keys taken as arrived. Then it holds, or nothing that is in flight will make it hold. That these keys do
arrive is for the comparison of all keys to prove, which comes after.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from reconcile.chunk import Key
from reconcile.diff import Comparison
from reconcile.document import InvariantResult
from reconcile.session import of_data
from reconcile.verdicts import Observation
from sql.catalog import read_tables
from sql.counted import counted
from sql.mask import MASKED, hides
from sql.model import Invariant
from sql.overlay import overlay
from sql.render import key_parameters

MOST_IN_FLIGHT = 50_000

# All rows of a SELECT as one value: numbers by value, columns by position, rows in any order.
_ROWS = """SELECT coalesce(jsonb_agg(r.cells ORDER BY r.cells), '[]') FROM (
    SELECT (SELECT jsonb_agg(c.value::jsonb ORDER BY c.ordinality)
              FROM json_each(row_to_json(one)) WITH ORDINALITY c) AS cells FROM ({}) one) r"""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One invariant. `arrived`: how it would be with the keys in flight arrived, where that makes it hold."""

    plain: InvariantResult
    arrived: InvariantResult | None = None

    def settle(self, standing: int, drift: int) -> InvariantResult:
        """The result, once it is known how many keys were not seen to arrive, and how many of those are drift."""
        if self.arrived is None:
            return self.plain
        if not standing:
            return self.arrived
        reason = "it would hold if all keys were equal"
        return self.plain.model_copy(update={"holds": False if drift else None, "reason": reason, "waits": not drift})


def evaluate(comparison: Comparison, invariants: Sequence[Invariant], limit_ms: int) -> list[Evaluation]:
    """Evaluate all of them in one snapshot, held for as long as they take, `limit_ms` a statement at most."""
    results: list[Evaluation] = []
    in_flight: list[Observation] | None = None
    if not invariants:
        return results
    with comparison.snapshot(limit_ms):
        for invariant in invariants:
            try:
                with comparison.conn.transaction():  # a savepoint: the snapshot outlives one that fails
                    result = Evaluation(_plain(comparison, invariant))
                    if not result.plain.holds:
                        in_flight = comparison.different(MOST_IN_FLIGHT) if in_flight is None else in_flight
                        result = _arrived(comparison, invariant, result.plain, in_flight)
            except psycopg.errors.QueryCanceled:
                result = Evaluation(_unknown(invariant, f"took longer than {limit_ms / 1000:g} s"))
            except psycopg.Error as error:
                if not of_data(error):
                    raise
                result = Evaluation(_unknown(invariant, f"fails with SQLSTATE {error.sqlstate}"))
            results.append(result)
    return results


def _plain(comparison: Comparison, invariant: Invariant) -> InvariantResult:
    return _compared(comparison, invariant, invariant.legacy, invariant.consolidated, {})


def _arrived(
    comparison: Comparison, invariant: Invariant, plain: InvariantResult, in_flight: list[Observation]
) -> Evaluation:
    """Ask again with the keys in flight taken as arrived."""
    if not in_flight:
        return Evaluation(plain.model_copy(update={"reason": "it fails while no key differs"}))
    if len(in_flight) >= MOST_IN_FLIGHT:
        reason = "too many keys are in flight"
        return Evaluation(plain.model_copy(update={"holds": None, "reason": reason, "waits": True}))
    move = comparison.move
    columns = read_tables(comparison.conn, [move.target])[move.target].columns
    rewritten = overlay(invariant.consolidated, move, columns)
    if rewritten is None:
        reason = "keys are in flight, and the consolidated side does not name the target"
        return Evaluation(plain.model_copy(update={"holds": None, "reason": reason, "waits": True}))
    arriving: list[Key] = [seen.key for seen in in_flight if not seen.conflict and seen.state != "duplicate"]
    result = _compared(
        comparison, invariant, invariant.legacy, rewritten, key_parameters(arriving, len(move.key)), escaped=True
    )
    if result.holds:
        reason = f"with {counted(len(arriving), 'key')} taken as equal, in flight or accepted as they are"
        return Evaluation(plain, result.model_copy(update={"reason": reason}))
    return Evaluation(plain.model_copy(update={"reason": "it fails whatever is in flight"}))


def _compared(
    comparison: Comparison, invariant: Invariant, legacy: str, consolidated: str, parameters: dict[str, Any],
    *, escaped: bool = False,
) -> InvariantResult:  # fmt: skip
    sides = [_clean(legacy), consolidated if escaped else _clean(consolidated)]
    rows = [_ROWS.format(side) for side in sides]
    sql = f"SELECT l::text, c::text, l IS NOT DISTINCT FROM c FROM ({rows[0]}) a (l), ({rows[1]}) b (c)"
    # Totals read everything: what a planner that guesses too few rows would look up row by row is better hashed.
    comparison.conn.execute("SET LOCAL enable_nestloop = off", prepare=False)
    left, right, holds = comparison.conn.execute(sql.encode(), parameters, prepare=False).fetchone() or (
        "[]",
        "[]",
        False,
    )
    comparison.conn.execute("SET LOCAL enable_nestloop = on", prepare=False)
    if hides(comparison.move, invariant):
        return InvariantResult(name=invariant.name, legacy=MASKED, consolidated=MASKED, holds=holds, masked=True)
    return InvariantResult(name=invariant.name, legacy=_readable(left), consolidated=_readable(right), holds=holds)


def _clean(text: str) -> str:
    return text.strip().rstrip(";").replace("%", "%%")


def _readable(text: str) -> Any:
    """One row of one column as that value, one row as its list, else all rows. Numbers with a point stay text: a float
    would show two different amounts as one."""
    rows = json.loads(text, parse_float=str)
    if len(rows) != 1:
        return rows
    return rows[0][0] if len(rows[0]) == 1 else rows[0]


def _unknown(invariant: Invariant, reason: str) -> InvariantResult:
    return InvariantResult(name=invariant.name, legacy=None, consolidated=None, holds=None, reason=reason)
