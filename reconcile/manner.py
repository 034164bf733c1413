"""How a run over one move is done, and how it tells where it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from reconcile.place import Place

FIRST_CHUNK: Final = 2_000


@dataclass(frozen=True, slots=True)
class Step:
    """Where a running reconciliation is.

    `phase` "compare": `done` keys of about `total` (the planner's estimate); "prove": round `done`, `total` keys open;
    "invariants": `total` of them.
    """

    move: str
    phase: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Manner:
    """How a run is done.

    `chunk_rows`: keys in the first chunk; `chunk_seconds`: how long each of the following ones should take. `timeout`:
    seconds that a proof waits for the stream. `listed`: differences that the document shows with their cells. `keep`:
    called with the place after each chunk whose differences are all proven. `sources`: count each
    legacy table by itself, too.
    """

    chunk_rows: int = FIRST_CHUNK
    chunk_seconds: float = 0.5
    timeout: float = 30.0
    listed: int = 1000
    progress: Callable[[Step], None] = lambda step: None
    keep: Callable[[Place], None] | None = None
    sources: bool = False
