"""Positions: how far each partition is applied. Locked, compared and advanced in the transaction of the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cdc.replication import lsn_number, lsn_text
from consumers.visibility import Snapshot
from sql.connection import Connection
from sql.errors import Busy, Gap, Halted, PlanChanged
from sql.files import load
from sql.model import Move

# As sql.connection.own, with the move: what a trigger of its target writes to another move's tables is not ours.
_OWN = "SELECT pg_logical_emit_message(true, 'cutover', concat('own ', %s::text, ' ', %s::text))"


@dataclass(frozen=True, slots=True)
class Advance:
    """Where a partition stands after a batch. `lsn` 0 leaves the applied LSN as it is."""

    offset: int
    lsn: int
    time: int  # microseconds since 2000-01-01; 0: unknown
    latency_ms: float | None


@dataclass(frozen=True, slots=True)
class Locked:
    """What locking told: the snapshot to judge visibility by, the end of WAL, and whether there are dead letters
    that are open or discarded."""

    snapshot: Snapshot
    dead: bool
    end: int


def read(conn: Connection, move: Move, partitions: Sequence[int]) -> dict[int, int]:
    """The next offset to apply, by partition. Raises Gap when somebody has moved one over what is not applied."""
    rows = conn.execute(load("consume/read_positions"), (move.plan, move.name, list(partitions))).fetchall()
    _refuse_moved(move, ((partition, offset, applied) for partition, offset, applied in rows))
    return {int(partition): int(offset) for partition, offset, _ in rows}


def _refuse_moved(move: Move, rows: Iterable[tuple[int, int, int]]) -> None:
    for partition, offset, applied in rows:
        if offset > applied:
            raise Gap(moved(move.name, partition, offset, applied), cure="cutover heal")


def moved(move: str, partition: int, offset: int, applied: int) -> str:
    """Why a position that is ahead of what was applied is a gap."""
    return f"{move}, partition {partition}: the position was set to {offset}, and nothing behind {applied} was applied"


def lock(conn: Connection, move: Move, expected: Mapping[int, int | None], digest: str | None = None) -> Locked:
    """Begin: lock the rows of these partitions, in order, and compare (None: whatever it is). One round trip.

    Raises Busy when another worker has advanced one (A2: this worker only thinks that it owns it), Halted when the
    move stands still, PlanChanged when the plan was prepared anew since `digest`: who has an older mapping must not
    advance past a newer one's touches; Gap when a position was moved over records that nobody applied. The
    transaction is open afterwards, also after an error.
    """
    with conn.pipeline():
        conn.execute("BEGIN", prepare=False)
        conn.execute(_OWN, (move.plan, move.name), prepare=True)
        cursor = conn.execute(load("consume/lock_positions"), (move.plan, move.name, sorted(expected)), prepare=True)
    rows = cursor.fetchall()
    found = {int(row[0]): int(row[1]) for row in rows}
    if found != {at: found.get(at) if offset is None else offset for at, offset in expected.items()}:
        raise Busy(f"{move.name}: partitions stand at {found}, this worker expected {dict(expected)}")
    if digest is not None and rows and rows[0][5] != digest:
        raise PlanChanged
    halted = rows[0][3]
    if halted is not None:
        raise Halted(f"{move.name} halts: {halted}", cure="cutover heal")
    _refuse_moved(move, ((row[0], row[1], row[6]) for row in rows))
    return Locked(Snapshot.parse(rows[0][2]), bool(rows[0][4]), lsn_number(rows[0][7]))


def saw_clock(conn: Connection, move: Move, partitions: Iterable[int]) -> None:
    """Record when this transaction read the mapping, where it does not advance; `advance` does it too."""
    conn.execute(load("consume/clock"), (move.plan, move.name, sorted(partitions)), prepare=True)


def advance(conn: Connection, move: Move, steps: Mapping[int, Advance], worker: str) -> None:
    """Advance and commit, in one round trip."""
    partitions = sorted(steps)
    arguments = (
        worker,
        partitions,
        [steps[at].offset for at in partitions],
        [lsn_text(steps[at].lsn) for at in partitions],
        [steps[at].time for at in partitions],
        [steps[at].latency_ms for at in partitions],
        move.plan,
        move.name,
    )
    with conn.pipeline():
        conn.execute(load("consume/advance_positions"), arguments, prepare=True)
        conn.execute("COMMIT", prepare=False)
