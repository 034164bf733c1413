"""The schedule of a run: which faults in which order, settled by the seed before anything happens."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CALM_SHARE = 0.35  # of the faults after which the next one waits for the stream to have recovered
BESIDE_SHARE = 0.6  # of the faults that a second one comes in the middle of


@dataclass(frozen=True, slots=True)
class Step:
    """One fault. `recover`: the next one waits for the stream; `pause`: seconds before the next one.

    `beside`: another fault in the middle of it, and after how many seconds.
    """

    number: int
    kind: str
    recover: bool
    pause: float
    seed: str
    beside: tuple[str, float] | None = None

    def chance(self) -> random.Random:
        """Its own random numbers, which do not depend on what the steps before it drew."""
        return random.Random(self.seed)


def schedule(seed: int, weights: Mapping[str, int], count: int, quick: Sequence[str] = ()) -> list[Step]:
    """The same seed, kinds and count give the same steps. Every kind comes once before any is drawn at random.

    `quick`: kinds that are over at once, and so may come in the middle of others.
    """
    chance = random.Random(f"chaos {seed}")
    kinds = sorted(weights)
    chance.shuffle(kinds)
    left = max(0, count - len(kinds))
    drawn = chance.choices(kinds, [weights[kind] for kind in kinds], k=left) if any(weights.values()) else []
    return [
        Step(
            number, kind, chance.random() < CALM_SHARE, round(chance.uniform(0.0, 0.4), 2), f"{seed}/{number}",
            (chance.choice(quick), round(chance.uniform(0.1, 1.5), 2))
            if quick and kind not in quick and chance.random() < BESIDE_SHARE else None,
        )
        for number, kind in enumerate((kinds + drawn)[:count], 1)
    ]  # fmt: skip
