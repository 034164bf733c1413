"""Named points at which a test may kill the process: `CUTOVER_FAULT=point[:n]` dies with SIGKILL the n-th time.

Real processes die for real at places no outside signal could aim at; unarmed, a point costs one comparison.
"""

from __future__ import annotations

import os
import signal

_armed, _, _count = os.environ.get("CUTOVER_FAULT", "").partition(":")
_left = int(_count or 1)

POINTS = (
    "capture.before-append",
    "capture.after-append",
    "capture.before-confirm",
    "capture.after-confirm",
    "consume.before-lock",
    "consume.before-converge",
    "consume.before-commit",
    "consume.after-commit",
    "backfill.after-append",
    "backfill.after-commit",
    "replay.before-commit",
    "replay.after-commit",
    "refresh.after-append",
    "refresh.after-commit",
    "reconcile.in-snapshot",
    "reconcile.before-proof",
    "reconcile.in-marker",
    "reconcile.in-proof",
    "reconcile.before-record",
    "reconcile.after-record",
    "repair.after-record",
    "repair.after-touch",
    "flip.before-commit",
    "flip.after-commit",
    "prepare.after-step",
    "heal.after-mark",
    "heal.after-slot",
    "heal.after-positions",
    "heal.after-clear",
)


def reached(point: str) -> None:
    """Die here if this point is armed."""
    global _left
    if _armed and point == _armed:
        _left -= 1
        if _left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
