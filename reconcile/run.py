"""A reconciliation from end to end: compare every key, prove every difference, check the rest, keep the record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from cdc.log import Log
from reconcile import history
from reconcile.chunk import Key
from reconcile.document import ReconcileDocument, worst
from reconcile.manner import FIRST_CHUNK, Manner, Step
from reconcile.one_move import OneMove
from reconcile.scope import ALL, Selection
from reconcile.session import SESSION
from sql.connection import Connection, connect, translated
from sql.errors import Refused, UsageError
from sql.model import Move, Plan

__all__ = ["FIRST_CHUNK", "Step", "reconcile", "sessions"]

SESSIONS = 2  # that compare at the same time: more than the one of a small server, few enough to leave it room


def reconcile(
    dsn: str,
    plan: Plan,
    moves: Sequence[str] | None = None,
    log: Log | None = None,
    *,
    chunk_rows: int = FIRST_CHUNK,
    timeout: float = 30.0,
    listed: int = 1000,
    record: bool = True,
    progress: Callable[[Step], None] = lambda step: None,
    mendable: dict[str, list[Key]] | None = None,
    only: Mapping[str, Selection] | None = None,
    sources: bool = False,
    side_by_side: int = SESSIONS,
) -> ReconcileDocument:
    """Compare all keys of the moves (None: of all moves) and prove every difference; the run is recorded.

    `chunk_rows`: keys in the first chunk; the following ones take as many as a fraction of a second allows. `timeout`:
    seconds that a proof waits for the stream, `listed`: differences that the document shows with their cells.
    `mendable` is filled with the drifted keys that `reconcile.repair` can mend, by move. `only`: a part of each
    move, which proves nothing of the rest: it is recorded as not exact, and no gate opens for it.
    `sources`: count each legacy table by itself, too: rows that share a key, rows that the mapping does not show.
    `side_by_side`: sessions that compare at the same time.

    Raises UsageError for an unknown move, Refused for one that is not prepared, Unreachable without the database.
    """
    chosen = [_move(plan, name) for name in moves] if moves else list(plan.moves)
    reports = []
    manner = Manner(chunk_rows, timeout=timeout, listed=listed, progress=progress, sources=sources)
    with sessions(dsn) as (reader, writer), more_sessions(dsn, side_by_side) as others:
        for move in chosen:
            _refuse_unprepared(reader, move)
            run = OneMove(reader, writer, move, manner, ALL if only is None else only[move.name], others=others)
            report = run.report()
            if mendable is not None and run.tally.mendable:
                mendable[move.name] = run.tally.mendable
            reports.append(
                history.record(writer, plan, report, run.only, run.storage, run.ended(), run.left())
                if record
                else history.aged(writer, plan.name, report)
            )
    return ReconcileDocument(
        plan=plan.name, digest=plan.digest, moves=reports, verdict=worst([report.verdict for report in reports])
    )


@contextmanager
def sessions(dsn: str) -> Iterator[tuple[Connection, Connection]]:
    """A session that compares, and another one that marks the WAL and keeps the record."""
    with (
        translated(),
        connect(dsn, "reconcile", **SESSION) as reader,
        connect(dsn, "reconcile marker", synchronous_commit="on", lock_timeout="5s") as writer,
    ):
        yield reader, writer


@contextmanager
def more_sessions(dsn: str, number: int) -> Iterator[list[Connection]]:
    """So many sessions that compare side by side, beside the one that finds the bounds; none for one."""
    with translated(), ExitStack() as opened:
        yield [opened.enter_context(connect(dsn, "reconcile", **SESSION)) for _ in range(number if number > 1 else 0)]


def _move(plan: Plan, name: str) -> Move:
    try:
        return plan.move(name)
    except KeyError:
        known = ", ".join(move.name for move in plan.moves)
        raise UsageError(f"plan {plan.name} has no move {name!r}", cure=f"one of: {known}") from None


def _refuse_unprepared(conn: Connection, move: Move) -> None:
    missing = conn.execute("SELECT to_regclass(%s) IS NULL", (move.view.sql,)).fetchone()
    if missing is None or missing[0]:
        raise Refused(f"move {move.name} is not prepared", cure=f"cutover prepare {move.name}")
