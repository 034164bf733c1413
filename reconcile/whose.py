"""Drifted keys that are rows of others: what is said of them, since no repair writes them (`rows = "add"`)."""

from __future__ import annotations

from typing import Final

AND_DECIDE: Final = (
    "it writes that file; decide in it, then `cutover reconcile --accept review.toml`; or let the plan say whose rows"
    ' win: existing = "keep" or "overwrite"'
)


def to_decide(move: str) -> str:
    """The command that lists them for somebody's decision."""
    return f"cutover reconcile {move} --disagreements review.toml"


def of_them(others: int, drift: int) -> str:
    """How many of the keys that drift are rows of others."""
    if others < drift:
        return f"{others:,} of them {'is a row' if others == 1 else 'are rows'} of others"
    return "and it is a row of others" if drift == 1 else "and all of them are rows of others"
