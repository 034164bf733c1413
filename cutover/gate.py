"""The gate before a flip: what must be true before anybody reads the consolidated side.

Proven (a clean and whole reconciliation of this plan, not too old, nothing upset since), complete (backfill applied, no
dead letters), current (lag within bounds, no gap, not halted). The way back to legacy is open as long as the legacy
tables are written, which is always: no command takes the writes over yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from cdc.slot import check_slot
from cutover.proven import Proof, read_proofs
from cutover.show_status import bytes_text
from cutover.views import mapping_stands
from reconcile.storage import tables
from reconcile.whose import AND_DECIDE, of_them, to_decide
from sql.connection import Connection
from sql.counted import staying
from sql.errors import Refused
from sql.files import load
from sql.model import Move, Plan
from sql.names import quote

Side = Literal["legacy", "consolidated"]

MAX_AGE: Final = timedelta(minutes=15)
MAX_LAG_MS: Final = 5_000.0
MAX_LAG_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Check:
    """One question of the gate and its answer, in words."""

    check: str
    ok: bool
    why: str
    decide: bool = False  # what is in the way are rows of others: somebody has to decide about them


class GateClosed(Refused):
    """The gate is closed; nothing was changed. `checks` has every answer, the good ones too."""

    def __init__(self, move: str, checks: Sequence[Check]) -> None:
        self.move, self.checks = move, tuple(checks)
        closed = "\n  ".join(f"{check.check}: {check.why}" for check in checks if not check.ok)
        only_proof = {check.check for check in checks if not check.ok} == {"reconciled"}
        cure, hint = (f"cutover reconcile {move}" if only_proof else "cutover doctor"), None
        if only_proof and any(check.decide for check in checks):
            cure, hint = to_decide(move), AND_DECIDE
        super().__init__(f"the gate of {move} is closed:\n  {closed}", cure=cure, hint=hint)


@dataclass(frozen=True, slots=True)
class _State:
    """The row of sql/gate/state.sql."""

    state: str
    side: Side
    percent: int
    halted: str | None
    gap: str | None
    prepared: str
    applied_lsn: str | None
    lag_ms: float | None
    lag_bytes: int | None
    dead_letters: int
    backfilled: bool
    backfill_applied: bool


def gate(
    conn: Connection,
    plan: Plan,
    move: Move,
    to: Side,
    *,
    max_age: timedelta = MAX_AGE,
    max_lag_ms: float = MAX_LAG_MS,
    max_lag_bytes: int = MAX_LAG_BYTES,
) -> list[Check]:
    """Every check with its answer. `max_lag_ms` and `max_lag_bytes`: how far the slowest partition may be behind the
    server. Raises Refused when the move is not prepared."""
    state = _state(conn, plan, move)
    if to == "legacy":
        return [reversible(state.state)]
    # After the rest: whatever upsets the proof in between is seen.
    proof = read_proofs(conn, plan.name, move.name, tables(move)).get(move.name)
    return [
        reversible(state.state),
        _prepared(conn, plan, move),
        _backfilled(state),
        _proven(conn, proof, plan, max_age),
        _clean(state),
        _current(state, max_lag_ms, max_lag_bytes),
        _gapless(conn, plan, state),
        Check("running", state.halted is None, state.halted or "not halted"),
        _unblocked(plan, move),
        _readable(conn, move),
    ]


def _state(conn: Connection, plan: Plan, move: Move) -> _State:
    row = conn.execute(load("gate/state"), {"plan": plan.name, "move": move.name}).fetchone()
    if row is None:
        raise Refused(f"{move.name} is not prepared", cure=f"cutover prepare {move.name}")
    return _State(*row)


def reversible(state: str) -> Check:
    """May reads go back to the legacy side? `state`: the move's."""
    if state in ("taken-over", "completed"):
        return Check("writes", False, f"the move is {state}: the legacy tables are not written any more")
    return Check("writes", True, "still go to the legacy tables")


def _prepared(conn: Connection, plan: Plan, move: Move) -> Check:
    if not mapping_stands(conn, move):
        return Check("prepared", False, "the installed mapping is not the plan's: cutover prepare")
    return Check("prepared", True, "the installed mapping is the plan's")


def _backfilled(state: _State) -> Check:
    if not state.backfilled:
        return Check("backfill", False, "not every key has been touched: cutover backfill")
    if not state.backfill_applied:
        return Check("backfill", False, "touches of the backfill are not applied yet")
    return Check("backfill", True, "every key was touched and applied")


def _proven(conn: Connection, proof: Proof | None, plan: Plan, max_age: timedelta) -> Check:
    def no(why: str) -> Check:
        return Check("reconciled", False, f"{why}: cutover reconcile")

    if proof is None:
        return no("never reconciled")
    part, accepted, others, drift, failing = _run(conn, proof)
    if proof.verdict == "drift" and failing and not drift:
        found = f"no key differs, and the invariant {', '.join(map(repr, failing))} fails"
        found = f"the last reconciliation said drift: {found}; the report says more: cutover reconcile {proof.move}"
        return Check("reconciled", False, found)
    if proof.verdict == "drift" and others and drift:
        number = min(others, drift)
        found = f"the last reconciliation said drift, {of_them(number, drift)}: {to_decide(proof.move)}"
        return Check("reconciled", False, found, decide=number == drift)
    if proof.verdict != "match":
        return no(f"the last reconciliation said {proof.verdict}")
    if not proof.exact:
        return no(f"the last reconciliation was {part} only")
    if why := proof.void(plan.digest):
        return no(why)
    if proof.age > max_age.total_seconds():
        return no(f"the last reconciliation is {proof.age / 60:.0f} minutes old")
    why = f"match at {proof.snapshot_lsn}, {proof.age:.0f} s ago"
    if accepted:
        why += f"; {staying(accepted, 'key')}, by somebody's decision"
    return Check("reconciled", True, why)


def _run(conn: Connection, proof: Proof) -> tuple[str, int, int, int, list[str]]:
    """Of which part of the move the run was, how many keys it found to differ as somebody has accepted, how many drift
    that are rows of others, how many drift, and which invariants do not hold."""
    row = conn.execute(load("gate/run"), {"run": proof.run}).fetchone()
    return row if row is not None else ("of a part", 0, 0, 0, [])


def _clean(state: _State) -> Check:
    count = state.dead_letters
    return Check("dead letters", count == 0, f"{count} open: cutover dead-letters list" if count else "none open")


def _current(state: _State, max_lag_ms: float, max_lag_bytes: int) -> Check:
    if state.lag_ms is None or state.lag_bytes is None or state.applied_lsn == "0/0":
        return Check("lag", False, "nothing has been applied yet: cutover run, or capture and consume")
    why = f"{state.lag_ms:.0f} ms and {bytes_text(state.lag_bytes)} behind, applied to {state.applied_lsn}"
    ok = state.lag_ms <= max_lag_ms and state.lag_bytes <= max_lag_bytes
    return Check("lag", ok, why if ok else f"{why}; {max_lag_ms:.0f} ms and {bytes_text(max_lag_bytes)} are allowed")


def _gapless(conn: Connection, plan: Plan, state: _State) -> Check:
    gap = state.gap or check_slot(conn, plan).gap
    return Check("gap", gap is None, f"{gap}: cutover heal" if gap else "none")


def _unblocked(plan: Plan, move: Move) -> Check:
    blocking = [
        finding.message
        for finding in plan.findings
        if finding.severity == "block" and finding.move in (None, move.name)
    ]
    return Check("findings", not blocking, "; ".join(blocking) or "none that blocks")


def _readable(conn: Connection, move: Move) -> Check:
    """The facade reads with its owner's rights: without them every reader would be refused from the flip on."""
    names = [column.name for column in (*move.key, *move.columns)]
    facade = move.facade.sql if move.facade is not None else None
    row = conn.execute(load("gate/readers"), {"facade": facade, "target": move.target.sql, "columns": names}).fetchone()
    if row is not None and row[1]:
        right = f"GRANT SELECT ON {move.target.sql} TO {quote(row[0])}"
        return Check("readers", False, f"the facade's owner may not read {', '.join(row[1])} of {move.target}: {right}")
    return Check("readers", True, "need nothing but SELECT on the facade")
