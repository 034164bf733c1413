"""Adds up what the chunks and the proofs say of one move, in flat memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from cdc.replication import lsn_text
from reconcile.chunk import Chunk, Failed, Key
from reconcile.document import AcceptedKey, Cell, Difference, InvariantResult, Rows, Verdict
from reconcile.proof import Outcome
from reconcile.verdicts import ACCEPTED
from reconcile.whose import of_them, to_decide
from sql.counted import counted
from sql.model import Move


@dataclass(slots=True)
class Tally:
    """Counts by verdict, kind and column; the differences that are listed, `most` at most."""

    move: Move
    most: int
    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=lambda: Counter({"missing": 0, "extra": 0, "differs": 0}))
    columns: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    duplicates: Counter[str] = field(default_factory=Counter)
    null_keys: Counter[str] = field(default_factory=Counter)
    listed: list[Difference] = field(default_factory=list)
    accepted: list[AcceptedKey] = field(default_factory=list)
    mendable: list[Key] = field(default_factory=list)  # drift that the move's one writer would write
    unknown: list[str] = field(default_factory=list)
    capped: bool = False
    conflicts: int = 0
    first_lsn: int | None = None
    last_lsn: int | None = None

    def chunk(self, chunk: Chunk) -> None:
        """What compared equal in a chunk is proven; what did not is for `outcome`."""
        for name in ("legacy", "consolidated", "others", "kept"):
            self.counts[name] += getattr(chunk, name)
        self.counts["compared"] += chunk.pairs
        self.counts["match"] += chunk.pairs - len(chunk.different)
        self.counts["chunks"] += 1
        self.duplicates.update({str(side): number for side, number in chunk.duplicates.items()})
        self.at(chunk.lsn)

    def again(self, chunk: Chunk) -> None:
        """Keys that were withdrawn, compared anew: the rows of their sides have been counted already."""
        self.counts["compared"] += chunk.pairs
        self.counts["match"] += chunk.pairs - len(chunk.different)
        self.counts["kept"] += chunk.kept
        self.at(chunk.lsn)

    def at(self, lsn: int) -> None:
        """A snapshot was taken whose commits are all at or before this LSN."""
        self.first_lsn = min(lsn, lsn if self.first_lsn is None else self.first_lsn)
        self.last_lsn = max(lsn, self.last_lsn or 0)

    def failed(self, failed: Failed, *, counted: bool) -> None:
        """Keys that could not be compared. `counted`: their chunk was, before they began to fail."""
        self.counts["skipped"] += failed.rows
        if counted:
            self.counts["compared"] -= failed.rows
        else:
            self.counts["failed chunks"] += 1
        reason = f"{failed.sqlstate}: {failed.message}"
        self.reasons[reason] += failed.rows
        for key in failed.keys:
            if self.full:
                self.capped = True
                break
            self.listed.append(Difference(key=list(key), verdict="unresolved", kind="failed", reason=reason))

    @property
    def full(self) -> bool:
        """Are as many differences listed as may be?"""
        return len(self.listed) >= self.most

    def outcome(self, outcome: Outcome) -> None:
        """What became of one key that differed."""
        judgement, seen = outcome.judgement, outcome.seen
        self.counts[judgement.verdict] += 1
        self.at(seen.lsn)
        if judgement.settled:
            self.counts["accepted"] += judgement.reason == ACCEPTED
            if judgement.reason == ACCEPTED and len(self.accepted) < self.most:
                self.accepted.append(AcceptedKey(key=list(seen.key)))
            return
        self.counts["in_flight"] += judgement.verdict == "lag"
        self.conflicts += seen.conflict
        if judgement.verdict == "drift" and judgement.kind != "duplicate" and not seen.conflict:
            self.mendable.append(seen.key)
        self.kinds[judgement.kind] += 1
        if judgement.kind == "differs":
            for column in seen.columns:
                self.columns[column] += 1
        if judgement.verdict != "drift" and judgement.reason:
            self.reasons[judgement.reason] += 1
        if self.full:
            self.capped = True
            return
        self.listed.append(
            Difference(
                key=list(seen.key),
                verdict=judgement.verdict,
                kind=judgement.kind,
                cells=self._cells(outcome),
                reason=judgement.reason,
                conflict=seen.conflict,
                snapshot_lsn=lsn_text(seen.lsn),
            )
        )

    def withdraw(self, difference: Difference) -> None:
        """Take back what `outcome` added for a key that is listed; it is to be judged anew."""
        self.listed.remove(difference)
        self.counts[difference.verdict] -= 1
        self.counts["in_flight"] -= difference.verdict == "lag"
        self.counts["compared"] -= 1
        self.kinds[difference.kind] -= 1
        self.conflicts -= difference.conflict
        if difference.kind == "differs":
            self.columns.subtract(difference.cells.keys())
        if difference.verdict != "drift" and difference.reason:
            self.reasons[difference.reason] -= 1
            self.reasons += Counter()  # without those that nothing is left of

    def verdict(self, invariants: list[InvariantResult]) -> Verdict:
        """Drift before what could not be told, that before lag; nothing compared is no proof (R5).

        An invariant that waits for keys in flight is told when they are: it lags with them, and is not told without.
        """
        if self.counts["drift"] or any(it.holds is False for it in invariants):
            return "drift"
        blind = self.counts["unresolved"] or self.counts["skipped"] or self.counts["failed chunks"] or self.unknown
        untold = any(it.holds is None and not (it.waits and self.counts["in_flight"]) for it in invariants)
        if blind or self.null_keys or not self.counts["compared"] or untold:
            return "unresolved"
        return "lag" if self.counts["in_flight"] else "match"

    @property
    def standing(self) -> int:
        """Keys that were neither equal nor seen to become so."""
        return sum(self.counts[name] for name in ("drift", "unresolved", "in_flight", "skipped"))

    def findings(self, invariants: list[InvariantResult]) -> list[str]:
        """Every reason why the verdict is not match, in words."""
        found = []
        if self.counts["drift"]:
            found.append(
                f"{counted(self.counts['drift'], 'key', 'differs')}, and nothing is on its way that would mend that"
            )
            if self.conflicts:
                whose = of_them(min(self.conflicts, self.counts["drift"]), self.counts["drift"])
                found.append(f"{whose.removeprefix('and ')}, which no repair writes: {to_decide(self.move.name)}")
        found += [f"invariant {it.name!r} does not hold: {it.reason}" for it in invariants if it.holds is False]
        found += [f"invariant {it.name!r} could not be told: {it.reason}" for it in invariants if it.holds is None]
        found += [f"{counted(number, 'key')}: {reason}" for reason, number in self.reasons.most_common(10)]
        found += [
            f"{counted(number, 'row')} without a key on the {side} side" for side, number in self.null_keys.items()
        ]
        found += [
            f"{counted(number, 'key')} with several rows on the {side} side" for side, number in self.duplicates.items()
        ]
        found += self.unknown
        if not self.counts["compared"]:
            found.append("nothing was compared: both sides are empty")
        return found

    def rows(self) -> Rows:
        """The counts as the document has them."""
        return Rows(**{name: self.counts[name] for name in Rows.model_fields})

    def _cells(self, outcome: Outcome) -> dict[str, Cell]:
        if outcome.cells is None:
            return {}
        wanted = set(outcome.seen.columns) if outcome.judgement.kind == "differs" else None
        return {
            column.name: Cell(
                legacy=legacy,
                consolidated=consolidated,
                masked=(unlike if wanted else "one side has no row") if column.name in self.move.mask else None,
            )
            for column, legacy, consolidated, unlike in zip(self.move.written, *outcome.cells, strict=True)
            if wanted is None or column.name in wanted
        }
