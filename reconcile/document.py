"""What a reconciliation says: the document that `reconcile --json` prints and the control schema keeps."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

Verdict = Literal["match", "lag", "drift", "unresolved"]
Kind = Literal["missing", "extra", "differs", "duplicate", "failed"]

_ORDER: tuple[Verdict, ...] = ("match", "lag", "unresolved", "drift")
_EXIT: dict[Verdict, int] = {"match": 0, "lag": 3, "unresolved": 3, "drift": 4}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Rows(_Part):
    """Counts of rows, and of keys by verdict: match + lag + drift + unresolved = compared.

    `lag` counts every key that was found in flight; `in_flight` those of them that had not arrived by the end.
    `others`: rows of the target that an `add` move neither wrote nor maps. `kept`: rows of others that differ from
    the mapping and stay as they are, by the plan's rule; `accepted`: keys that differ and stay by somebody's decision
    about these very values (a disagreement, or a dead letter that was discarded); both are among `match`. `skipped`:
    keys that could not be compared at all.
    """

    legacy: int = 0
    consolidated: int = 0
    compared: int = 0
    match: int = 0
    lag: int = 0
    drift: int = 0
    unresolved: int = 0
    skipped: int = 0
    in_flight: int = 0
    kept: int = 0
    accepted: int = 0
    others: int = 0


class Cell(_Part):
    """One column's value on both sides, as PostgreSQL prints it; None is NULL.

    `masked`: how the two differ in kind, where the plan masks the column; `***` then stands for a value.
    """

    legacy: str | None
    consolidated: str | None
    masked: str | None = None

    @model_serializer(mode="wrap")
    def _bare(self, handler: SerializerFunctionWrapHandler) -> dict[str, str | None]:
        """Without `masked` where nothing is."""
        found: dict[str, str | None] = handler(self)
        return found if self.masked is not None else {"legacy": self.legacy, "consolidated": self.consolidated}


class Difference(_Part):
    """One key and what became of it. `conflict`: the row is not the move's own, which therefore never writes it.

    `first_seen`, `last_seen`: the first and the latest stored run that listed it, with none between them that saw it
    equal.
    """

    key: list[str]
    verdict: Verdict
    kind: Kind
    cells: dict[str, Cell] = {}
    reason: str | None = None
    conflict: bool = False
    snapshot_lsn: str | None = None
    first_seen: datetime | None = None
    last_seen: datetime | None = None


class Gone(_Part):
    """A difference that is no more; `kind` and `verdict` as last seen, `gone_at`: the first run that saw it equal."""

    key: list[str]
    kind: Kind
    verdict: Verdict
    first_seen: datetime
    last_seen: datetime
    gone_at: datetime


class InvariantResult(_Part):
    """Both sides of an invariant. `holds` is None when it could not be told; `reason` says why. `masked`: it could show
    a masked column, so `***` stands for both sides. `waits`: it could not be told for nothing but keys in flight."""

    name: str
    legacy: object
    consolidated: object
    holds: bool | None
    reason: str | None = None
    masked: bool = False
    waits: bool = False


class AcceptedKey(_Part):
    """A key that differs and stays as it is: who decided so, when, and why (None: no reason was asked for)."""

    key: list[str]
    reason: str | None = None
    who: str | None = None
    at: datetime | None = None


class Sample(_Part):
    """Keys drawn at random: `drawn` of `keys`, by `seed`. `differ`: of those drawn, the ones not seen to be equal.

    With `confidence` fewer than `fewer_than` of all keys differ.
    """

    asked: str
    seed: int
    keys: int
    drawn: int
    differ: int
    confidence: float
    fewer_than: int


class Scope(_Part):
    """What was compared of the move; all None: every key in every column.

    `keys`: how they were chosen. `columns`: these alone. `where`: a key counts when either side satisfies it.
    """

    keys: str | None = None
    columns: list[str] | None = None
    where: str | None = None
    sample: Sample | None = None

    @property
    def whole(self) -> bool:
        return self.keys is None and self.columns is None and self.where is None and self.sample is None


class ColumnCoverage(_Part):
    """What becomes of one legacy column."""

    column: str
    status: Literal["mapped", "waived", "missing"]
    reason: str | None = None


class SourceRows(_Part):
    """A legacy table by itself. `told`: why it was not counted.

    `keys`: distinct ones; `several`: those with more than one row, `most` at most (one-to-many, or duplicates).
    `orphans`: rows with a key that the mapping does not show, left over or left out on purpose; `orphan_keys`: a few.
    `without_key`: rows with a NULL in it.
    """

    source: str
    rows: int = 0
    keys: int = 0
    several: int = 0
    most: int = 0
    orphans: int = 0
    orphan_keys: list[list[str]] = []
    without_key: int = 0
    told: str | None = None


class Quarantined(_Part):
    """Rows that the plan leaves out of the mapping on purpose."""

    reason: str | None
    rows: int


class Chunks(_Part):
    """Chunks of keys. `longest_ms`: the longest chunk's transaction, which is how long its snapshot was held (R7)."""

    done: int = 0
    split: int = 0
    failed: int = 0
    longest_ms: float = 0.0


class MoveReport(_Part):
    """One move. `findings` are the reasons why the verdict is not match, in words.

    `awaited`: the move has yet to be backfilled, which nobody has begun; in words. What lags then is not remembered as
    a difference: there is nothing yet that could differ.
    `first_lsn`, `snapshot_lsn`: the first and the last snapshot's LSN. `columns`: in how many keys that differ a column
    does. `kinds`, `columns` and `differences` are of what stands: drift, unresolved, still in flight.
    `gone`: differences of earlier runs that became equal, the latest first, of `gone_in_all` in the last 90 days;
    `gone_now`: those that this run saw equal first.
    `accepted`: the keys of `rows.accepted`, as far as the list has place.
    `longest_snapshot_ms`: of all snapshots, the invariants' included. `who`: the database role that compared;
    `version`: this service's.
    """

    move: str
    verdict: Verdict
    sentence: str
    findings: list[str] = []
    awaited: str | None = None
    snapshot_lsn: str | None = None
    applied_lsn: str | None = None
    first_lsn: str | None = None
    rows: Rows = Rows()
    kinds: dict[str, int] = {}
    columns: dict[str, int] = {}
    differences: list[Difference] = []
    listed: int = 0
    capped: bool = False
    gone: list[Gone] = []
    gone_in_all: int = 0
    gone_now: int = 0
    accepted: list[AcceptedKey] = []
    conflicts: int = 0
    duplicates: dict[str, int] = {}
    null_keys: dict[str, int] = {}
    quarantined: list[Quarantined] = []
    sources: list[SourceRows] = []
    invariants: list[InvariantResult] = []
    coverage: list[ColumnCoverage] = []
    compared_columns: list[str] = []
    masked_columns: list[str] = []
    dead_letters: int = 0
    rounds: int = 0
    chunks: Chunks = Chunks()
    longest_snapshot_ms: float = 0.0
    exact: bool = True
    scope: Scope = Scope()
    who: str | None = None
    version: str | None = None
    started_at: datetime
    seconds: float


class ReconcileDocument(_Part):
    """All moves of a run; `verdict` is the worst of theirs."""

    plan: str
    digest: str
    moves: list[MoveReport]
    verdict: Verdict


def worst(verdicts: list[Verdict]) -> Verdict:
    """The verdict of several taken together: drift before unresolved before lag. Of none: unresolved (R5)."""
    return max(verdicts, key=_ORDER.index, default="unresolved")


def exit_code(document: ReconcileDocument) -> int:
    """0 match, 3 not proven yet, 4 drift. Something skipped is never 0 (R4)."""
    code = _EXIT[document.verdict]
    skipped = any(move.rows.skipped or move.chunks.failed for move in document.moves)
    return code or (3 if skipped else 0)
