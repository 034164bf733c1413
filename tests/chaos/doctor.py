"""What an operator does about a gap: asks doctor, and does what it prints."""

from __future__ import annotations

import json
import shlex
import time
from typing import Any

from tests.chaos.crew import Crew

_NAMED, _HEALED = 30.0, 90.0  # seconds
ELSEWHERE = ("cutover capture", "cutover consume")  # doctor says to start what the crew starts anyhow
_BUSY = 6


def heal(crew: Crew) -> None:
    """Wait until doctor names what is missing, do what it prints, and see that status knows of no gap any more."""
    deadline = time.monotonic() + _NAMED
    while not (cures := _cures(crew)):
        assert time.monotonic() < deadline, "doctor does not name the gap"
    assert len(cures) == 1, cures
    assert _document(crew, "status")["slot"]["gap"] is not None
    for line in cures.pop().splitlines():
        program, *arguments = shlex.split(line)
        assert program == "cutover", program
        deadline = time.monotonic() + _HEALED
        while (ran := crew.run(*arguments))[0] == _BUSY:
            assert time.monotonic() < deadline, ran
        assert ran[0] == 0, ran
    gap = _document(crew, "status")["slot"]["gap"]
    assert gap is None, f"healed, and found again: {gap}; {ran[1]}"


def _cures(crew: Crew) -> set[str]:
    broken = [each for each in _document(crew, "doctor")["problems"] if each["severity"] == "broken"]
    return {each["cure"] for each in broken if not each["cure"].startswith(ELSEWHERE)}


def _document(crew: Crew, command: str) -> Any:
    """What it prints as JSON; what it says besides comes after."""
    code, said = crew.run(command, "--json")
    assert code in (0, 3, 5), (code, said)
    return json.JSONDecoder().raw_decode(said)[0]
