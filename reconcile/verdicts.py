"""Match, lag, drift or unresolved: the reasoning, without a database.

A key is observed in one snapshot: how its two sides compare, which versions of legacy rows it has, which version of the
target's row. Comparing two observations tells lag from drift (DESIGN section 4):

1. In snapshot A the key differs. Everything that A sees was committed before A's LSN.
2. The log is applied beyond A's LSN in every partition: what A saw of the legacy rows has been converged.
3. In snapshot B, taken after that, the legacy rows have the same versions as in A: nothing newer is on its way.
4. If the sides still differ in B, nothing that is coming will make them equal. That is drift.

Where 3 fails, the difference is explained by a change that came later, and B takes A's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reconcile.document import Kind, Verdict
from sql.model import Existing

ACCEPTED = "accepted"  # a difference that somebody has decided to leave as it is
State = Literal["same", "kept", "missing", "extra", "differs", "duplicate"]


@dataclass(frozen=True, slots=True)
class Observation:
    """One key in one snapshot.

    `legacy`, `consolidated`: digests of both sides' values, None where there is no row. `sources`: the versions of
    the legacy rows with this key, by source. `target`: the version of the target's row. `lsn`: at least the LSN of
    every commit that the snapshot sees.
    """

    key: tuple[str, ...]
    state: State
    columns: tuple[str, ...]
    legacy: bytes | None
    consolidated: bytes | None
    sources: tuple[str, ...]
    target: str | None
    lsn: int
    conflict: bool = False


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What else is known about a key when it is observed again.

    `applied`: the LSN applied in every partition, read before the snapshot was taken. `due`: the clock has changed the
    key's mapping and its refresh has not been applied. `dead`: SQLSTATE of the key's dead letter. `pending`: why the
    target cannot be complete yet (a backfill), for any key.
    """

    applied: int | None
    due: bool = False
    dead: str | None = None
    pending: str | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """`settled`: lag that was seen to arrive, so that the key counts as proven."""

    verdict: Verdict
    kind: Kind
    reason: str | None = None
    settled: bool = False


def state_of(*, rows: Literal["existing", "add", "all"], existing: Existing, legacy: int, consolidated: int,
             mine: bool, differs: bool) -> State:  # fmt: skip
    """How one key stands, by the move's policy. `legacy`, `consolidated`: how many rows each side has for it."""
    if legacy > 1 or (consolidated > 1 and (legacy or mine)):
        return "duplicate"
    if not legacy:
        return "extra" if consolidated and (rows != "add" or mine) else "same"
    if not consolidated:
        return "missing"
    if not differs:
        return "same"
    return "kept" if rows == "add" and existing == "keep" and not mine else "differs"


def judge(history: Sequence[Observation], now: Observation, about: Circumstances) -> Judgement | None:
    """The verdict on a key that differed in every observation of `history`; None: not proven yet, observe again."""
    kind = kind_of(now, history)
    if now.state in ("same", "kept"):
        return Judgement("lag", kind, "arrived", settled=True)
    if now.state == "duplicate":
        return Judgement("unresolved", "duplicate", "one side has several rows with this key")
    if about.dead is not None:
        return Judgement("unresolved", kind, f"dead letter ({about.dead})")
    if any(seen.consolidated != now.consolidated == seen.legacy for seen in history):
        # The target has taken the state of an earlier snapshot, which it did not have then: it follows.
        return Judgement("lag", kind, "arrived; the key keeps changing", settled=True)
    if about.pending is not None:
        return Judgement("lag", kind, about.pending)
    if about.due or about.applied is None:
        return None
    if any(_unchanged(seen, now) and about.applied >= seen.lsn for seen in history):
        return Judgement("drift", kind, "the row belongs to others" if now.conflict else None)
    return None


def unproven(now: Observation, about: Circumstances, stopped: str | None, moving: bool) -> Judgement:
    """The verdict when time is up. `stopped`: why the LSN was not reached; `moving`: more time would have done it."""
    kind = kind_of(now)
    if stopped is not None:
        return Judgement("lag" if moving else "unresolved", kind, stopped)
    if about.due:
        return Judgement("lag", kind, "due by the clock, its refresh is not applied yet")
    return Judgement("lag", kind, "the legacy rows kept changing")


def kind_of(now: Observation, history: Sequence[Observation] = ()) -> Kind:
    """What kind of difference it is, or was when it was last seen."""
    for seen in (now, *reversed(history)):
        if seen.state in ("missing", "extra", "differs", "duplicate"):
            return seen.state
    return "differs"


def _unchanged(before: Observation, now: Observation) -> bool:
    return before.sources == now.sources and before.target == now.target
