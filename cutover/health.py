"""Is a process of the service well, and may it be trusted to do its work? Judged from what it last saw and did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from cutover.status import MoveStatus, Status

Part = Literal["capture", "consume", "refresh", "prove", "run"]

STUCK_READY: Final = 30.0  # seconds without a turn of its loop after which a process is not ready …
STUCK_DEAD: Final = 180.0  # … and after which it should be started again; lost networks are noticed much earlier
STALE: Final = 30.0  # seconds after which what was last seen of the database says nothing any more


@dataclass(frozen=True, slots=True)
class Seen:
    """What the process last saw. `status` None: the database did not answer, `error` says how. Ages in seconds."""

    status: Status | None
    error: str | None
    age: float  # of `status` or `error`
    idle: float  # since the process's loop turned last
    fallen: tuple[str, ...] = ()  # children of `run` that are not there


def dead(seen: Seen) -> list[str]:
    """Why the process should be ended and started again; nothing: it lives."""
    return [f"its loop has not turned for {seen.idle:.0f} s"] if seen.idle > STUCK_DEAD else []


def unready(part: Part, seen: Seen) -> list[str]:
    """Why the process, though it runs, does not do what it is for; nothing: it does."""
    found = [f"its loop has not turned for {seen.idle:.0f} s"] if seen.idle > STUCK_READY else []
    found += [f"{name} is not running" for name in seen.fallen]
    if seen.age > STALE:
        found.append(f"what is known of the database is {seen.age:.0f} s old")
    if seen.status is None:
        return [*found, seen.error or "the database was not asked yet"]
    found += seen.status.problems
    if seen.status.slot.gap:
        found.append(f"there is a gap: {seen.status.slot.gap}")
    if part in ("capture", "run") and not seen.status.slot.active:
        found.append(f"nobody reads the slot {seen.status.slot.name}")
    for move in seen.status.moves:
        found += _move(part, move)
    return found


def _move(part: Part, move: MoveStatus) -> Iterator[str]:
    if move.state in ("completed", "left"):
        return
    if move.halted:
        yield f"{move.move} is halted: {move.halted}"
    elif part in ("consume", "run"):
        orphans = [str(each.partition) for each in move.partitions if each.worker is None]
        if orphans:
            yield f"nobody consumes partition {', '.join(orphans)} of {move.move}"
