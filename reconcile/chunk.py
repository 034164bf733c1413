"""What comparing a range of keys yields: counts, the keys that differ, those that could not be compared."""

from __future__ import annotations

from dataclasses import dataclass

from reconcile.verdicts import Observation
from sql.pairs import Side

Key = tuple[str, ...]
Cells = tuple[list[str | None], list[str | None], list[str | None]]  # legacy, consolidated, how masked ones differ


@dataclass(frozen=True, slots=True)
class Chunk:
    """The keys in (low, high], compared in one snapshot; None is open. `lsn`: at least that of all the snapshot saw."""

    low: Key | None
    high: Key | None
    legacy: int
    consolidated: int
    others: int
    pairs: int
    kept: int
    different: tuple[Observation, ...]
    duplicates: dict[Side, int]
    lsn: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    """Keys that could not be compared, and why. `keys` is empty when even they could not be read."""

    keys: tuple[Key, ...]
    rows: int
    sqlstate: str
    message: str
