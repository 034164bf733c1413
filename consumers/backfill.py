"""Backfill: touch every key, in key order, throttled by what the consumers keep up with, resumable."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from cdc import beginning, rows
from cdc.log import Log, LogWriter
from cdc.touch import touch
from consumers import dead_letters, positions
from consumers.lease import workers
from consumers.row_reader import RowReader
from sql import faultpoints, render
from sql.connection import Connection, connect, own
from sql.errors import Busy, Refused, Unreachable
from sql.files import load
from sql.model import Move, Plan
from sql.one_order import one_order

CHUNK = 20_000  # keys read and appended between two records of the cursor
ROWS_CHUNK = 2_000  # the same, where the rows go along
AHEAD = 40_000  # keys that may wait in the log while consumers work; live changes queue behind no more
_ONE_AT_A_TIME = "SELECT pg_try_advisory_lock(hashtextextended('cutover.backfill.' || %s || '.' || %s, 0))"

Progress = Callable[[int, int], None]  # keys touched, keys expected


def backfill(
    dsn: str,
    plan: Plan,
    move: Move,
    log: Log,
    stop: threading.Event,
    progress: Progress | None = None,
    *,
    restart: bool = False,
    wanted: Callable[[Connection], bool] = lambda _: True,
) -> int:
    """Touch every key of a move, from where an earlier run stopped; returns the keys touched in this run.

    wanted: asked once no other backfill of the move runs; where it says no, nothing is done.

    A finished backfill starts anew. The cursor is recorded after the log has acknowledged the touches before it: a
    killed run repeats at most one chunk, which is harmless. Raises Busy when another backfill of the move runs.
    """
    with connect(dsn, f"backfill {plan.name}") as conn:
        row = conn.execute(_ONE_AT_A_TIME, (plan.name, move.name)).fetchone()
        if not (row and row[0]):
            raise Busy(f"another backfill of {move.name} runs")
        if not wanted(conn):
            return 0
        writer = log.writer()
        try:
            return _run(conn, plan, move, log, writer, stop, progress, restart)
        finally:
            writer.close()


def _run(
    conn: Connection,
    plan: Plan,
    move: Move,
    log: Log,
    writer: LogWriter,
    stop: threading.Event,
    progress: Progress | None,
    restart: bool,
) -> int:
    done, total, cursor, began = _begin(conn, move, restart)
    touched = 0
    reader = RowReader(conn, move) if move.backfill == "rows" else None
    order = one_order(conn, move, *render.key_readers(move))
    if reader is not None and cursor is None:
        beginning.name_chapter(conn, plan, move, writer)
        rows.mark(writer, move, reader.now(), "begin")
    pending: list[tuple[int, int]] = []  # keys and the end offsets' sum behind them, not applied yet
    while not stop.is_set():
        keys = _chunk(conn, move, cursor, order)
        if not keys:
            touch(writer, move, dead_letters.open_keys(conn, move, began))
            if reader is not None:
                rows.mark(writer, move, reader.now(), "end")
            _durable(writer)
            _finish(conn, move, log)
            if progress is not None:
                progress(done, done)  # the total was an estimate
            break
        if reader is None:
            touch(writer, move, keys)
        else:
            seen, tables = reader.read(keys)
            rows.append(writer, move, seen, keys, tables)
        _durable(writer)
        faultpoints.reached("backfill.after-append")
        cursor = keys[-1]
        done += len(keys)
        touched += len(keys)
        if done >= total:  # more came than there were when it began
            total = max(done, _estimate(conn, move))
        with own(conn):
            conn.execute(load("consume/backfill_step"), (list(cursor), done, total, plan.name, move.name), prepare=True)
        faultpoints.reached("backfill.after-commit")
        if progress is not None:
            progress(done, total)
        pending.append((len(keys), sum(log.end_offsets(move.topic))))
        _throttle(conn, move, pending, stop)
    return touched


def _durable(writer: LogWriter) -> None:
    if not writer.wait(writer.queued(), 60):
        raise Unreachable("the log does not acknowledge touches")


def _begin(conn: Connection, move: Move, restart: bool) -> tuple[int, int, tuple[str, ...] | None, datetime]:
    """Keys touched before, keys expected, where to go on, and the server's time."""
    with own(conn):
        row = conn.execute(
            load("consume/backfill_begin"),
            {
                "plan": move.plan,
                "move": move.name,
                "total": _estimate(conn, move),
                "restart": restart,
            },
        ).fetchone()
    if row is None:
        raise Refused(f"{move.name} is not prepared", cure="cutover prepare")
    return int(row[0]), int(row[1]), tuple(row[2]) if row[2] is not None else None, row[3]


def _estimate(conn: Connection, move: Move) -> int:
    """About how many keys there are now: nobody counts them beforehand, and writers go on. The planner's guess at the
    mapping's rows, or the largest source's, whichever is more: the one may be far off, the other not analyzed."""
    guess = conn.execute(f"EXPLAIN (FORMAT JSON) SELECT FROM {move.view}".encode(), prepare=False).fetchone()
    stored = conn.execute(load("backfill/estimate"), ([source.oid for source in move.sources],)).fetchone()
    assert guess is not None
    assert stored is not None
    return max(int(guess[0][0]["Plan"]["Plan Rows"]), int(stored[0]))


def _chunk(
    conn: Connection, move: Move, cursor: tuple[str, ...] | None, order: Sequence[str | None]
) -> list[tuple[str, ...]]:
    after = {f"c{at + 1}": text for at, text in enumerate(cursor or ())}
    limit = CHUNK if move.backfill == "keys" else ROWS_CHUNK
    query = render.every_key(move, limit, after=cursor is not None, order=order)
    return [tuple(row) for row in conn.execute(query.encode(), after).fetchall()]


def _finish(conn: Connection, move: Move, log: Log) -> None:
    with own(conn):
        conn.execute(load("consume/backfill_finish"), (log.end_offsets(move.topic), move.plan, move.name))


def _throttle(conn: Connection, move: Move, pending: list[tuple[int, int]], stop: threading.Event) -> None:
    """Wait while the consumers are more than AHEAD keys behind. Without a consumer there is nothing to wait for."""
    while not stop.is_set():
        applied = sum(positions.read(conn, move, range(move.partitions)).values())
        while pending and pending[0][1] <= applied:
            pending.pop(0)
        if sum(keys for keys, _ in pending) <= AHEAD or not workers(conn, move.plan):
            return
        time.sleep(0.02)  # positions are rows of another process: there is no signal to wait for
