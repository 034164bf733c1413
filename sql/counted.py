"""Numbers with their noun, for people."""

from __future__ import annotations


def counted(number: int, noun: str, verb: str | None = None) -> str:
    """`1 key`, `2,000 keys`; with a verb in its singular `1 key drifts`, `2 keys drift`."""
    words = f"{number:,} {noun}" + ("" if number == 1 else "s")
    if verb is None:
        return words
    return f"{words} {verb if number == 1 else verb.removesuffix('s')}"


def staying(number: int, noun: str) -> str:
    """`1 key differs and stays as it is`, `2 keys differ and stay as they are`."""
    return f"{counted(number, noun, 'differs')} and {'stays as it is' if number == 1 else 'stay as they are'}"
