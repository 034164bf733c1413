"""What mends something: commands that can be pasted as they are are a cure, anything else is a hint.

A cure is `cutover` commands, one a line, to be run in that order. Whatever a shell would not take as it stands, or
leaves somebody a place to fill in, is never printed as one.
"""

from __future__ import annotations

import shlex

PROGRAM = "cutover"
_INSTEAD = "or "
_PROSE = (",", ":", ";", ".")  # at the end of a word


def pasteable(line: str) -> bool:
    """Is the line one command of this program, with nothing in it that a shell understands otherwise?"""
    try:
        words = shlex.split(line)
    except ValueError:
        return False
    if words[:1] != [PROGRAM] or len(words) < 2 or shlex.join(words) != line:
        return False
    return not any(word.endswith(_PROSE) or (word.isalpha() and word.isupper()) for word in words)


def sorted_out(cure: str | None, hint: str | None = None) -> tuple[str | None, str | None]:
    """The cure and the hint: a cure that is not commands alone is a hint."""
    if not cure or all(map(pasteable, cure.splitlines())):
        return cure or None, hint or None
    return None, "; ".join(filter(None, (cure, hint)))


def commands(*lines: str) -> str:
    """Several commands as one cure."""
    return "\n".join(lines)


def told(cure: str | None, hint: str | None) -> str:
    """Both as they follow a message: a label each, and each command on a line of its own."""
    return "".join(f"\n  {label}: " + "\n        ".join(text.splitlines()) for label, text in in_order(cure, hint))


def in_order(cure: str | None, hint: str | None) -> list[tuple[str, str]]:
    """Both with their labels as they are read: the hint first, unless it is what may be done instead of the cure."""
    both = [("hint", hint), ("cure", cure)]
    if (hint or "").startswith(_INSTEAD):
        both.reverse()
    return [(label, text) for label, text in both if text]
