"""The status as a table for people."""

from __future__ import annotations

from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cutover.status import MoveStatus, Status
from sql.counted import counted
from sql.errors import without_cure
from sql.layout import Fitting


def render_status(status: Status) -> RenderableType:
    """Slot, moves and whatever is wrong, as one renderable."""
    parts: list[RenderableType] = [_slot_line(status), _moves_table(status)]
    parts += [_proof_line(move, status.now) for move in status.moves]
    parts += [Text(_halt(move), style="red") for move in status.moves if move.halted]
    parts += [
        Text(f"facade {move.facade_lost} is not there: what reads through it fails (cutover prepare)", style="red")
        for move in status.moves
        if move.facade_lost
    ]
    parts += [Text(problem, style="red") for problem in status.problems]
    return Group(*parts)


def _halt(move: MoveStatus) -> str:
    return f"move {move.move} is halted: {without_cure(move.halted or '')} (cutover heal {move.move})"


def _slot_line(status: Status) -> Text:
    slot = status.slot
    text = Text(f"plan {status.plan}   log {status.log}\nslot {slot.name}: ")
    text.append("capture runs" if slot.active else "capture does not run", style="green" if slot.active else "yellow")
    text.append(
        f"; confirmed up to {slot.confirmed_lsn or '-'}, the server keeps {bytes_text(slot.lag_bytes)} of WAL for it"
    )
    if slot.gap:
        text.append(f"\ngap: {slot.gap} (cutover heal)", style="bold red")
    return text


def _moves_table(status: Status) -> Fitting:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("move", "side", "state", "backfill"):
        table.add_column(title)
    for title in ("lag", "WAL behind", "log behind", "dead letters"):
        table.add_column(title, justify="right")
    table.add_column("workers")
    for move in status.moves:
        table.add_row(*_row(move))
    return Fitting(table)


def _row(move: MoveStatus) -> tuple[str, ...]:
    side = f"{move.side} ({move.percent} % consolidated)" if 0 < move.percent < 100 else move.side
    behind = [None if each.end_offset is None else each.end_offset - each.offset for each in move.partitions]
    records = "?" if any(each is None for each in behind) else str(sum(each or 0 for each in behind))
    workers = sorted({each.worker for each in move.partitions if each.worker})
    return (
        move.move,
        side,
        "halted" if move.halted else move.state,
        _backfill(move),
        "?" if move.lag_ms is None else f"{move.lag_ms:,.0f} ms",
        bytes_text(move.lag_bytes),
        records,
        str(move.dead_letters),
        ", ".join(workers) or "none",
    )


def _proof_line(move: MoveStatus, now: datetime) -> Text:
    """What is proven of a move, and how far the pass has come."""
    proof = move.proof
    text = Text(f"{move.move}: ")
    if proof.verdict is None or proof.finished_at is None:
        text.append("never reconciled", style="yellow")
    else:
        age = max(0.0, (now - proof.finished_at).total_seconds())
        if proof.void and proof.verdict == "match":
            text.append("no longer proven", style="bold red")
            text.append(f": {proof.void} (cutover reconcile {move.move}); it was a match")
        else:
            text.append(proof.verdict, style="green" if proof.verdict == "match" else "bold red")
        text.append(f" {_ago(age)} ago, {counted(proof.compared or 0, 'key')}")
    if proof.accepted:
        text.append(
            f"; {counted(proof.accepted, 'key', 'differs')} and {'is' if proof.accepted == 1 else 'are'} accepted",
            style="yellow",
        )
    if proof.drift:
        text.append(
            f"; {counted(proof.drift, 'key', 'drifts')} (cutover reconcile)",
            style="bold red",
        )
    if proof.unproven:
        text.append(f"; {proof.unproven:,} {'is' if proof.unproven == 1 else 'are'} not proven", style="yellow")
    if proof.running is not None:
        text.append(f"; the pass has compared {proof.running.keys:,} of about {proof.running.total:,}", style="dim")
    return text


def _ago(seconds: float) -> str:
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {word}"
    return f"{seconds:.0f} s"


def _backfill(move: MoveStatus) -> str:
    backfill = move.backfill
    if not backfill.started:
        return "to do again" if backfill.again else "not started"
    return f"{backfill.done:,} done" if backfill.finished else backfill.so_far


def bytes_text(count: int | None) -> str:
    """A number of bytes for people: `1.2 MB`; `?` when unknown."""
    if count is None:
        return "?"
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
