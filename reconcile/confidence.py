"""What a sample says of all keys: an upper bound for how many differ, never a proof that none does."""

from __future__ import annotations

import math

CONFIDENCE = 0.95


def fewer_than(total: int, drawn: int, differ: int, confidence: float = CONFIDENCE) -> int:
    """With this confidence fewer than so many of `total` keys differ, when `differ` of `drawn` at random do.

    The one-sided upper limit of Clopper and Pearson ("The use of confidence or fiducial limits illustrated in the case
    of the binomial", Biometrika 26, 1934): the share p at which `differ` or fewer are seen with probability
    1 - confidence. Without a difference it is 1 - (1 - confidence)^(1/drawn), about 3/drawn: the rule of three (Hanley
    and Lippman-Hand, JAMA 249, 1983). Keys are drawn without replacement, for which the binomial errs on the safe side;
    those that were drawn and seen to be equal are not among those that differ.
    """
    if not drawn:
        return total + 1
    at_most = math.floor(total * upper_share(drawn, differ, confidence) + 1e-9)
    return max(differ, min(at_most, total - (drawn - differ))) + 1


def upper_share(drawn: int, differ: int, confidence: float = CONFIDENCE) -> float:
    """The share itself."""
    if differ >= drawn:
        return 1.0
    if not differ:
        return -math.expm1(math.log1p(-confidence) / drawn)
    low, high = differ / drawn, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        if _at_most(differ, drawn, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most(differ: int, drawn: int, share: float) -> float:
    """P(X <= differ) of a binomial; summed from its greatest term down, until a term no longer counts."""
    if share >= 1.0:
        return 0.0
    term = math.exp(
        math.lgamma(drawn + 1) - math.lgamma(differ + 1) - math.lgamma(drawn - differ + 1)
        + differ * math.log(share) + (drawn - differ) * math.log1p(-share)
    )  # fmt: skip
    total, at = 0.0, differ
    while at >= 0 and term > total * 1e-17:  # share > differ / drawn: the terms fall from here on
        total += term
        term *= at / (drawn - at + 1) * (1 - share) / share
        at -= 1
    return total
