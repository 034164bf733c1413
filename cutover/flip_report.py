"""What a flip did, would do, or was refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cutover.gate import Check, GateClosed, Side


@dataclass(frozen=True, slots=True)
class Step:
    """One change under a lock. `lock_ms`: from asking for the lock to the end of the commit."""

    table: str
    step: str
    attempts: int
    lock_ms: float


@dataclass(frozen=True, slots=True)
class FlipReport:
    """What a flip did, or with `dry_run` would do, or how things stay behind a closed gate.

    `percent`, `before_percent`: of sessions that read the consolidated side now, and before. `mends`: the facade was on
    another side than it should have been.
    """

    move: str
    before: Side
    before_percent: int
    to: Side
    percent: int
    attempts: int
    lock_ms: float
    gate: Sequence[Check]
    steps: Sequence[Step]
    dry_run: bool = False
    mends: bool = False

    def document(self) -> dict[str, Any]:
        """The document of `cutover flip --json`."""
        return {
            "move": self.move,
            "from": self.before,
            "from_percent": self.before_percent,
            "to": self.to,
            "percent": self.percent,
            "attempts": self.attempts,
            "lock_ms": self.lock_ms,
            "gate": [{"check": it.check, "ok": it.ok, "why": it.why} for it in self.gate],
            "steps": [asdict(step) for step in self.steps],
            "dry_run": self.dry_run,
        }


class FlipRefused(GateClosed):
    """The gate of a flip is closed; nothing was changed. `report`: how things stay, with every answer."""

    def __init__(self, report: FlipReport) -> None:
        super().__init__(report.move, report.gate)
        self.report = report
