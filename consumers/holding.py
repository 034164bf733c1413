"""Holding: the partitions that a worker has leased, and what it has read of them and not applied yet."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable

from cdc.frame import Frame, UnreadableFrame
from cdc.log import Log
from consumers import positions
from consumers.gather import Partition
from consumers.lease import Leases
from consumers.prefetch import Fetched, Prefetcher
from sql.connection import Connection
from sql.errors import Gap
from sql.files import load
from sql.model import Move, Plan

logger = logging.getLogger("cutover.consume")

REBALANCE = 1.0  # seconds between looks at who else works
EAGER, EAGER_FOR = 0.1, 3.0  # as long as this worker has less than its share, for so long after a worker came or went
QUEUE_BYTES = 32 << 20  # read and not applied: the worker stops reading beyond it (C9)


class Unreadable(Exception):
    """A record that nobody can read. It stops the move with the offset, and is never skipped (L6)."""

    def __init__(self, move: Move, partition: int, offset: int, why: UnreadableFrame) -> None:
        super().__init__(f"partition {partition}, offset {offset}: {why}")
        self.move, self.partition, self.offset = move, partition, offset


class Holding:
    """One session's. It reads on where the positions say that each partition stands."""

    def __init__(self, conn: Connection, plan: Plan, log: Log, worker: str) -> None:
        self._conn, self._plan, self._log, self._worker = conn, plan, log, worker
        self._leases = Leases(conn, plan)
        self._reader = Prefetcher(log)
        self._partitions: dict[tuple[str, int], Partition] = {}  # by (topic, partition)
        self._queued = 0  # bytes read and not applied
        # In another order in each session: one that never lives long must not starve the plan's last move.
        self._moves = {move.topic: move for move in random.sample(plan.moves, len(plan.moves))}
        self._looked = self._eager_until = 0.0
        self._announced = -1

    def close(self) -> None:
        """Stop reading. The leases go with the session."""
        self._reader.close()

    # What is held

    @property
    def moves(self) -> Iterable[Move]:
        """The plan's moves, in the order in which this session applies them."""
        return self._moves.values()

    @property
    def alone(self) -> bool:
        """Is there no other worker to share the partitions with?"""
        return self._leases.workers == 1

    @property
    def full(self) -> bool:
        """Is so much read that something must be applied first?"""
        return self._queued >= QUEUE_BYTES

    def waiting(self, move: Move) -> list[Partition]:
        """The move's partitions that have frames to apply."""
        return [each for at, each in self._partitions.items() if at[0] == move.topic and each.frames]

    def frames(self, move: Move) -> list[Frame]:
        """These frames."""
        return [frame for partition in self.waiting(move) for _, frame, _ in partition.frames]

    # Reading

    def take(self, patience: float) -> None:
        """Take what has been read; wait so many seconds for it, at most. Raises Unreadable."""
        for record in self._reader.take(patience):
            partition = self._partitions.get((record.topic, record.partition))
            if partition is not None:
                self._queue(partition, record)

    def _queue(self, partition: Partition, record: Fetched) -> None:
        if isinstance(record.frame, UnreadableFrame):
            raise Unreadable(self._moves[record.topic], record.partition, record.offset, record.frame)
        partition.frames.append((record.offset, record.frame, record.size))
        self._queued += record.size

    def applied(self, size: int) -> None:
        """So many bytes of the frames are applied, and gone."""
        self._queued -= size

    # Leases

    @property
    def pause(self) -> float:
        """Seconds between looks: what others give back lies idle until it is taken, so often while they may do so."""
        return EAGER if self._leases.short and time.monotonic() < self._eager_until else REBALANCE

    def rebalance(self) -> None:
        """Take and give back leases, when it is time to. Raises Gap."""
        if time.monotonic() - self._looked < self.pause:
            return
        before = self._leases.workers
        taken, given = self._leases.rebalance()
        self._looked = time.monotonic()
        if self._leases.workers != before:
            self._eager_until = self._looked + EAGER_FOR
        if taken or given:
            for lease in given:
                self._drop((self._plan.move(lease.move).topic, lease.partition))
            for move in self._plan.moves:
                mine = {lease.partition: lease for lease in taken if lease.move == move.name}
                offsets = positions.read(self._conn, move, list(mine)) if mine else {}
                for number, lease in mine.items():
                    self._partitions[(move.topic, number)] = Partition(lease, offsets[number])
            self._assign()
            self._check_topics(move for move in self._plan.moves if any(each.move == move.name for each in taken))
        self._announce()

    def give_back(self, move: Move) -> None:
        """Give the partitions of a move that stands still back; whoever finds it going on takes them."""
        self._leases.give_back(move.name)
        for at in [at for at in self._partitions if at[0] == move.topic]:
            self._drop(at)
        self._assign()
        self._looked = time.monotonic()
        self._announce()

    def _drop(self, at: tuple[str, int]) -> None:
        partition = self._partitions.pop(at, None)
        if partition is not None:
            self._queued -= sum(size for _, _, size in partition.frames)

    def _assign(self) -> None:
        """Read on from behind what is queued."""
        self._reader.assign(
            {
                at: partition.frames[-1][0] + 1 if partition.frames else partition.offset
                for at, partition in self._partitions.items()
            }
        )

    def _check_topics(self, moves: Iterable[Move]) -> None:
        """A topic that was deleted and made anew has other records at our offsets: a gap (L2). Asked after `assign`,
        which binds the reader to the topic that it found."""
        for move in moves:
            row = self._conn.execute(load("consume/topic_identity"), (move.plan, move.name)).fetchone()
            if row is not None and self._log.topic_identity(move.topic) != row[0]:
                raise Gap(f"the topic of {move.name} is not the one that prepare made", cure="cutover heal")

    def _announce(self) -> None:
        if len(self._partitions) != self._announced:
            self._announced = len(self._partitions)
            held: dict[str, list[int]] = {}
            for topic, partition in sorted(self._partitions):
                held.setdefault(self._moves[topic].name, []).append(partition)
            text = "%s has %d partitions"
            logger.info(text, self._worker, self._announced, extra={"plan": self._plan.name, "partitions": held})
