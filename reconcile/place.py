"""Where a run over a whole move is, for another process to go on with: the last key, and what is told so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel

from reconcile.chunk import Key
from reconcile.document import AcceptedKey, Difference, InvariantResult
from reconcile.invariants import Evaluation
from reconcile.tally import Tally
from sql.model import Move

_COUNTERS = ("counts", "kinds", "columns", "reasons", "duplicates", "null_keys")


class Told(BaseModel):
    """A tally as it is kept."""

    counters: dict[str, dict[str, int]]
    listed: list[Difference]
    accepted: list[AcceptedKey] = []
    unknown: list[str]
    capped: bool
    conflicts: int
    first_lsn: int | None
    last_lsn: int | None

    @classmethod
    def of(cls, tally: Tally) -> Told:
        return cls(
            counters={name: dict(getattr(tally, name)) for name in _COUNTERS},
            **{name: getattr(tally, name) for name in cls.model_fields if name != "counters"},
        )

    def restore(self, move: Move, most: int) -> Tally:
        """The tally again, to be added to."""
        tally = Tally(move, most)
        for name in _COUNTERS:
            setattr(tally, name, Counter(self.counters[name]))
        for name in Told.model_fields.keys() - {"counters"}:
            setattr(tally, name, getattr(self, name))
        return tally


class Place(BaseModel):
    """Every key up to `key` has been compared and its difference proven, beginning at `started_at`.

    `seconds`: what that took, without pauses of the process. `total`: keys expected. `evaluations`: the invariants,
    asked in the beginning, which the comparison of all keys after it completes. `storage`: the tables' files then.
    """

    started_at: datetime
    seconds: float
    key: Key
    total: int
    tally: Told
    evaluations: list[tuple[InvariantResult, InvariantResult | None]]
    storage: dict[str, str] | None = None

    @classmethod
    def of(
        cls, started_at: datetime, seconds: float, key: Key, total: int, tally: Tally,
        evaluations: Sequence[Evaluation], storage: dict[str, str] | None,
    ) -> Place:  # fmt: skip
        return cls(
            started_at=started_at, seconds=seconds, key=key, total=total, tally=Told.of(tally),
            evaluations=[(it.plain, it.arrived) for it in evaluations], storage=storage,
        )  # fmt: skip

    def evaluated(self) -> list[Evaluation]:
        return [Evaluation(plain, arrived) for plain, arrived in self.evaluations]
