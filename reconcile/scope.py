"""What of a move is compared, and how that is said: never as the proof of the whole where it is a part."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from reconcile.chunk import Key
from reconcile.document import Rows, Scope
from sql.counted import counted, staying
from sql.model import Move
from sql.names import quote
from sql.predicate import Predicate


@dataclass(frozen=True, slots=True)
class Draw:
    """A sample of the keys: `fraction` of them, or `number`; the same `seed` draws the same keys again."""

    fraction: float | None = None
    number: int | None = None
    seed: int = field(default_factory=lambda: secrets.randbelow(2**31))

    @property
    def asked(self) -> str:
        return f"{self.fraction:g}" if self.fraction is not None else str(self.number)


@dataclass(frozen=True, slots=True)
class Selection:
    """What to compare of one move. `keys`: these, and `said` is how they were chosen; `columns`: of those converge
    writes. Only one of `keys`, `where` and `draw`."""

    keys: Sequence[Key] | None = None
    said: str | None = None
    columns: tuple[str, ...] | None = None
    where: Predicate | None = None
    draw: Draw | None = None

    @property
    def whole(self) -> bool:
        """Every key, in every column: only that can prove a move."""
        return self.keys is None and self.columns is None and self.where is None and self.draw is None

    def narrowed(self, move: Move) -> Move:
        """The move as it is compared: with these columns alone."""
        if self.columns is None:
            return move
        kept = tuple(column for column in move.columns if column.own or column.name in self.columns)
        return replace(move, columns=kept)

    def document(self) -> Scope:
        """As the report has it; a sample's figures come when it was drawn."""
        return Scope(
            keys=None if self.keys is None else self.said or "those given",
            columns=None if self.columns is None else list(self.columns),
            where=None if self.where is None else self.where.text,
        )


ALL = Selection()


def words(scope: Scope) -> str:
    """What was compared, for people."""
    if scope.sample is not None:
        sample = scope.sample
        found = f"a sample of {sample.drawn:,} of {counted(sample.keys, 'key')}"
        found += f" (--sample {sample.asked} --seed {sample.seed})"
    elif scope.where is not None:
        found = f"the keys where {scope.where}"
    else:
        found = "every key" if scope.keys is None else f"some keys: {scope.keys}"
    if scope.columns is not None:
        found += f", in {', '.join(map(quote, scope.columns))} alone"
    return found if scope.whole else f"{found}; not exact"


def sentence(move: str, verdict: str, rows: Rows, scope: Scope, awaited: str | None = None, *,
             untold: bool = False) -> str:  # fmt: skip
    """The verdict in one sentence; of a sample also what it says of all keys.

    `awaited`: as the report has it; `untold`: an invariant waits for keys in flight, so that something may be wrong.
    """
    if awaited is not None and rows.in_flight and verdict in ("lag", "unresolved"):
        return f"{move}: {awaited}: {counted(rows.in_flight, 'key', 'awaits')} it; run `cutover backfill {move}`."
    found = {
        "match": f"{move}: {_equal(rows, scope)}",
        "lag": f"{move}: {'' if untold else 'nothing is wrong, but '}not everything has arrived yet.",
        "drift": f"{move}: the sides differ, and it is not lag."
        if rows.drift
        else f"{move}: no key differs for good, but an invariant does not hold.",
        "unresolved": f"{move}: not proven; something could not be compared or did not move.",
    }[verdict]
    if scope.sample is None or not scope.sample.drawn:
        return found
    return (
        f"{found} With {scope.sample.confidence:.0%} confidence fewer than {scope.sample.fewer_than:,} of all"
        f" {scope.sample.keys:,} keys differ{' in them' if scope.columns else ''}."
    )


def _equal(rows: Rows, scope: Scope) -> str:
    """What a match says: never that a key is equal which differs, and stays so by decision or by rule."""
    every = scope.keys is None and scope.where is None and scope.sample is None
    equal = rows.compared - rows.accepted - rows.kept
    keys = counted(rows.compared, "key" if every else "chosen key")
    if equal < rows.compared:
        keys = f"{equal:,} of {keys} {'is' if equal == 1 else 'are'}"
    elif equal == 1:
        keys = f"the only {keys.removeprefix('1 ')} is" if every else f"the {keys.removeprefix('1 ')} is"
    else:
        keys = f"all {keys} are"
    found = [f"{keys} equal{' in the chosen columns' if scope.columns else ''} on both sides."]
    for number, by in ((rows.accepted, "somebody's decision"), (rows.kept, "the plan's rule")):
        if number:
            found.append(f"{staying(number, 'key')}, by {by}.")
    if rows.lag:
        found.append(f"{rows.lag:,} of them {'was' if rows.lag == 1 else 'were'} found in flight and seen to arrive.")
    return " ".join(found)
