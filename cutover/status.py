"""Where everything stands: slot, partitions, lag, sides, dead letters, gaps. Reads only."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

from psycopg.rows import dict_row
from pydantic import BaseModel

from cdc.log import Log
from cdc.slot import check_slot
from cutover.proven import Proof, read_proofs
from cutover.standing import log_gap
from sql.connection import Connection
from sql.control import check
from sql.errors import Gap, Refused, Unreachable
from sql.files import load
from sql.model import Plan

CLOSE_BYTES = 1 << 20  # of WAL: less than this between the slot and the server is capture keeping up
CLOSE_MS = 10_000.0  # watermarks come much oftener


class SlotStatus(BaseModel):
    """The plan's replication slot. `lag_bytes`: WAL that the server keeps for it. `gap`: why changes may be missing."""

    name: str
    active: bool
    confirmed_lsn: str | None
    lag_bytes: int | None
    gap: str | None
    there: bool
    holder: str | None
    wal_status: str | None
    safe_wal_size: int | None


class PartitionStatus(BaseModel):
    """`offset` is the next to apply; `end_offset` is None when the log cannot say."""

    partition: int
    offset: int
    end_offset: int | None
    applied_lsn: str
    applied_time: datetime | None
    latency_ms: float | None
    worker: str | None


class BackfillStatus(BaseModel):
    """Keys touched, and keys expected. `finished`: every key has been appended to the log."""

    done: int
    total: int
    started: bool
    finished: bool
    again: str | None  # why it has to be done again, when it has not been begun since

    @property
    def so_far(self) -> str:
        """How far it is while it is not finished. The total is an estimate, and may be behind what came since."""
        return (
            f"{self.done:,} of about {self.total:,}" if self.done < self.total else f"{self.done:,}, and more to come"
        )


class PassStatus(BaseModel):
    """The continuous pass that is under way: keys compared, of about `total`."""

    started_at: datetime
    at: datetime  # when it kept its place last
    keys: int
    total: int


class ProofStatus(BaseModel):
    """The latest run over all of the move; None: none yet. `drift`, `unproven`: keys that stand, of any run.

    `void`: why it says nothing of what is there now, so that no gate takes it, however young it is.
    """

    verdict: str | None
    void: str | None = None
    started_at: datetime | None
    finished_at: datetime | None
    compared: int | None
    accepted: int = 0  # keys of that run that differ and stay, by somebody's decision
    drift: int
    others: int = 0  # of `drift`: rows of others, which no repair writes
    unproven: int
    running: PassStatus | None


class MoveStatus(BaseModel):
    """One move. The LSN is the minimum over its partitions, the lags the maximum (R2)."""

    move: str
    state: str
    side: str
    percent: int
    halted: str | None
    facade_lost: str | None  # its name, when it was dropped
    applied_lsn: str | None
    lag_ms: float | None
    lag_bytes: int | None
    partitions: list[PartitionStatus]
    dead_letters: int
    backfill: BackfillStatus
    proof: ProofStatus


class Status(BaseModel):
    """The document of `cutover status --json`."""

    plan: str
    log: str
    slot: SlotStatus
    moves: list[MoveStatus]
    problems: list[str]  # what could not be read
    now: datetime  # of the server


def read_status(conn: Connection, plan: str, log: Log) -> Status:
    """Read the status of a prepared plan. A log that does not answer leaves `end_offset` None and a problem.

    Raises Refused when the plan is not prepared.
    """
    check(conn)
    slots = _rows(conn, "slot", plan=plan)
    if not slots:
        raise Refused(f"plan {plan} is not prepared in this database", cure="cutover prepare")
    slot = slots[0]
    rows = _rows(conn, "moves", plan=plan)
    gap = slot["gap"] or check_slot(conn, Plan(plan, slot["digest"], ())).gap
    problems: list[str] = []
    ends: dict[str, list[int | None]] = {}
    try:
        gap = gap or log_gap(conn, plan, log)
        for move in rows:
            with suppress(Gap):  # the topic is gone, and the gap is told of
                ends[move["move"]] = list(log.end_offsets(move["topic"]))
    except Unreachable as error:
        problems.append(str(error))
    proofs = read_proofs(conn, plan)
    # After the log's ends: what was appended since is not lag.
    positions = _rows(conn, "positions", plan=plan, flush_lsn=slot["flush_lsn"])
    moves = [
        _move(move, [each for each in positions if each["move"] == move["move"]], ends.get(move["move"], []), slot,
              proofs.get(move["move"]))
        for move in rows
    ]  # fmt: skip
    return Status(plan=plan, log=slot["log"], slot=_slot(slot, gap), moves=moves, problems=problems, now=slot["now"])


def _rows(conn: Connection, query: str, **parameters: Any) -> list[dict[str, Any]]:
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(load(f"status/{query}").encode(), parameters).fetchall()


def _slot(row: dict[str, Any], gap: str | None) -> SlotStatus:
    return SlotStatus(
        name=row["slot"],
        gap=gap,
        **{name: row[name] for name in ("active", "confirmed_lsn", "lag_bytes", "there", "holder")},
        **{name: row[name] for name in ("wal_status", "safe_wal_size")},
    )


def _move(
    move: dict[str, Any], positions: list[dict[str, Any]], ends: list[int | None], slot: dict[str, Any],
    latest: Proof | None,
) -> MoveStatus:  # fmt: skip
    partitions = [PartitionStatus(end_offset=_end(ends, row), **row) for row in positions]
    slowest = max(positions, key=lambda row: int(row["lag_bytes"]), default=None)
    return MoveStatus(
        move=move["move"],
        state=_state(move["state"], partitions),
        side=move["side"],
        percent=move["percent"],
        halted=move["halted"],
        facade_lost=None if move["facade_there"] else move["facade"],
        applied_lsn=slowest["applied_lsn"] if slowest else None,
        lag_ms=lag_ms(partitions, slot["now"], captured=_captured(slot)),
        lag_bytes=slowest["lag_bytes"] if slowest and slowest["applied_time"] else None,
        partitions=partitions,
        dead_letters=move["dead_letters"],
        backfill=BackfillStatus(
            done=move["done"],
            total=move["total"],
            started=move["backfill_started"],
            finished=move["finished_at"] is not None,
            again=None if move["backfill_started"] else move["touch_again"],
        ),
        proof=_proof(move, latest.void(slot["digest"]) if latest and latest.exact else None),
    )


def _proof(move: dict[str, Any], void: str | None) -> ProofStatus:
    running = None
    if move["pass_started_at"] is not None:
        running = PassStatus(
            started_at=move["pass_started_at"], at=move["pass_at"], keys=move["pass_keys"], total=move["pass_total"]
        )
    return ProofStatus(
        started_at=move["proof_started_at"],
        finished_at=move["proof_finished_at"],
        running=running,
        void=void,
        **{name: move[name] for name in ("verdict", "compared", "accepted", "drift", "others", "unproven")},
    )


def _end(ends: list[int | None], row: dict[str, Any]) -> int | None:
    end = ends[row["partition"]] if row["partition"] < len(ends) else None
    return None if end is None else max(end, row["offset"])


def _state(recorded: str, partitions: list[PartitionStatus]) -> str:
    """The recorded state; a prepared move is streaming once something has been applied."""
    applied = any(each.applied_time is not None for each in partitions)
    return "streaming" if recorded == "prepared" and applied else recorded


def _captured(slot: dict[str, Any]) -> bool:
    """Is capture running and close to the server's WAL?"""
    return bool(slot["active"]) and slot["lag_bytes"] is not None and slot["lag_bytes"] < CLOSE_BYTES


def lag_ms(partitions: list[PartitionStatus], now: datetime, *, captured: bool) -> float | None:
    """How old the target is, in milliseconds: 0 when everything in the log is applied and capture keeps up.

    Otherwise the age of the newest commit that the slowest partition has applied; None when nothing was ever applied.
    """
    times = [each.applied_time for each in partitions]
    if not times or any(time is None for time in times):
        return None
    age = max((now - time).total_seconds() * 1000.0 for time in times if time is not None)
    caught_up = all(each.offset == each.end_offset for each in partitions)
    return 0.0 if captured and caught_up and age < CLOSE_MS else max(age, 0.0)
