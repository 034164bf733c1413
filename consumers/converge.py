"""Converge: make the target equal to the mapping for some keys. The only writer of a target (DESIGN section 2)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psycopg

from cdc.frame import Frame
from cdc.tail import set_back
from consumers import column_at_fault, dead_letters, positions
from consumers.dead_letters import Key, Letter
from consumers.echo import Echo
from consumers.exchange import TAKEN, Exchange
from consumers.positions import Advance, Locked
from consumers.visibility import Past, wait_visible
from sql import faultpoints, render
from sql.connection import Connection, transient
from sql.errors import Gap, Halted, Unreachable
from sql.model import Move, TargetColumn

logger = logging.getLogger("cutover.consume")

_MAX_STATEMENTS = 32  # variants by changed columns before all columns are compared always
_LOCK_ATTEMPTS = 8  # for a single key that the application keeps locked, before the batch starts anew
_MAX_LETTERS = 10_000  # of one batch: more is not bad data but a wrong plan

# Waits add up, and rows stay locked meanwhile: who has locked one row must not wait for another, or the application,
# waiting for the first, reaches its deadlock_timeout before we reach our lock_timeout (A5). A lone key may wait.
_HARDLY_WAIT = "SET LOCAL lock_timeout = '5ms'"
_LOCKED = ("55P03", "40P01", "40001")  # lock_not_available, deadlock_detected, serialization_failure


class TooManyLetters(Halted):
    """Not bad data but a wrong plan."""


@dataclass(slots=True)
class Batch:
    """What one transaction applies: keys of one move with the transactions to wait for, and where that leads.

    keys: each distinct key, with the partition and log offset that asked for it.
    frames: the frames that the keys came from; their transactions must be visible first.
    expected: where each partition stands; None: anywhere, its position is locked and left as it is.
    note: what else belongs in the last transaction, told what all of them did.
    exchanging: keys take unique values from one another, or so it seems: rows give up first what they are to lose.
    left_out: frames of which every key has been read since (`consumers.seen`).
    """

    move: Move
    keys: dict[Key, tuple[int, int]]
    sources: set[str]  # empty: any may have changed
    frames: list[Frame]
    expected: dict[int, int | None]
    steps: dict[int, Advance]
    note: Callable[[Connection, Result], None] | None = None
    exchanging: bool = False
    left_out: list[Frame] = field(default_factory=list)


@dataclass(slots=True)
class Result:
    """What a batch did."""

    keys: int = 0
    updated: int = 0
    inserted: int = 0
    deleted: int = 0
    letters: list[Letter] = field(default_factory=list)
    locked: Locked | None = None  # where one transaction did it all: with what it began

    @property
    def changed(self) -> int:
        return self.updated + self.inserted + self.deleted

    def add(self, other: Result) -> None:
        """Count what another transaction of the same batch did."""
        self.updated += other.updated
        self.inserted += other.inserted
        self.deleted += other.deleted
        self.letters += other.letters

    def plus(self, other: Result) -> Result:
        """Both together; this one stays as it is."""
        both = Result(self.keys, self.updated, self.inserted, self.deleted, [*self.letters])
        both.add(other)
        return both


class Converger:
    """Applies batches of one move through one session."""

    def __init__(self, conn: Connection, move: Move, worker: str, digest: str | None = None) -> None:
        self.conn, self.move, self.worker, self.digest = conn, move, worker, digest
        self._statements: dict[tuple[TargetColumn, ...], str] = {}
        self._past = Past.read(conn)
        self._annotate = render.bind(move.annotate_sql, move) if move.annotate_sql else None
        self._exchange = Exchange(conn, move, digest, self._whole)
        self._echo = Echo(conn, move)
        self._dead = False  # were there letters, when positions were locked last?

    def apply(self, batch: Batch) -> Result:
        """Lock, wait for visibility, converge, advance, commit.

        Where that fails on a lock or on the data, the keys are halved, each half in a transaction of its own that
        locks and compares the positions again; the position is advanced once all of them are done, with the dead
        letters. Idempotence makes the order of these transactions irrelevant.
        """
        endless = self._echo.endless(batch)
        result = Result(keys=len(batch.keys), letters=endless)
        keys = [key for key in batch.keys if key not in {each.key for each in endless}] if endless else list(batch.keys)
        try:
            self._transaction(batch, keys, result, last=True)
        except psycopg.Error as error:
            self._recover(error, batch, keys, result)
            self._transaction(batch, [], result, last=True)
            result.locked = None
        faultpoints.reached("consume.after-commit")
        if batch.steps and (self._dead or result.letters):  # a replay leaves it to the consumers
            healed = self._exchange.again(fresh=any(each.sqlstate in TAKEN for each in result.letters))
            result.letters = [each for each in result.letters if each.key not in healed]
        return result

    def _transaction(self, batch: Batch, keys: Sequence[Key], result: Result, *, last: bool) -> None:
        faultpoints.reached("consume.before-lock")
        try:
            locked = positions.lock(self.conn, batch.move, batch.expected, self.digest)
            self._see(locked, batch)
            self._dead = locked.dead
            if keys:
                faultpoints.reached("consume.before-converge")
                waiting = dead_letters.waiting(self.conn, batch.move, keys) if locked.dead else {}
                freed = self._exchange.free(keys) if batch.exchanging and len(keys) > 1 else (0, 0)
                done = self._converge(keys, batch, everything=bool(waiting) or batch.exchanging)
                done.updated, done.deleted = done.updated + freed[0], done.deleted + freed[1]
                duplicates = {letter.key for letter in done.letters}
                dead_letters.resolve(self.conn, [each for each, key in waiting.items() if key not in duplicates])
            else:
                done = Result()
            if done.changed:
                self._echo.wrote()
            faultpoints.reached("consume.before-commit")
            if last:
                result.letters = column_at_fault.named(self.conn, batch.move, result.letters)
                dead_letters.record(self.conn, batch.move, [*result.letters, *done.letters])
                if batch.note is not None:
                    batch.note(self.conn, result.plus(done))
                if not batch.steps:  # a replay: it advances nothing
                    positions.saw_clock(self.conn, batch.move, batch.expected)
                positions.advance(self.conn, batch.move, batch.steps, self.worker)
            else:
                positions.saw_clock(self.conn, batch.move, batch.expected)
                self.conn.execute("COMMIT", prepare=False)
        except BaseException:
            self._rollback()
            raise
        result.add(done)
        result.locked = locked

    def _rollback(self) -> None:
        if not self.conn.closed and not self.conn.broken:
            self.conn.execute("ROLLBACK", prepare=False)

    def _see(self, locked: Locked, batch: Batch) -> None:
        """Wait until what the batch tells of is visible; Gap when it is from another history of this server (C3)."""
        lsn = max((step.lsn for step in batch.steps.values()), default=0)
        if lsn > locked.end:
            raise Gap(set_back(lsn, locked.end), cure="cutover heal")
        wait_visible(self.conn, self._past, locked.snapshot, batch.frames)

    def _converge(self, keys: Sequence[Key], batch: Batch, *, everything: bool) -> Result:
        """`everything`: compare all columns, for a key that is a dead letter may be behind in any of them."""
        move = self.move
        result = Result()
        columns = move.written if everything else render.changed_columns(move, batch.sources)
        if not columns and move.rows == "existing":
            return result
        parameters = render.key_parameters(keys, len(move.key))
        if len(keys) > 1:
            self.conn.execute(_HARDLY_WAIT, prepare=True)
        cursor = self.conn.execute(self._statement(columns).encode(), parameters, prepare=True)
        row = cursor.fetchone()
        assert row is not None
        _, result.updated, result.inserted, result.deleted, duplicates = row
        for duplicate in duplicates or ():
            key = tuple(duplicate)
            partition, offset = batch.keys.get(key, (0, 0))
            result.letters.append(
                Letter(key, partition, offset, "21000", "the mapping yields more than one row for this key", None)
            )
        if self._annotate is not None:
            self.conn.execute(self._annotate.encode(), parameters, prepare=True)
        return result

    def _whole(self, keys: Sequence[Key]) -> set[Key]:
        """Converge all columns, within the caller's transaction; the keys of which the mapping yields several rows."""
        return {
            each.key for each in self._converge(keys, Batch(self.move, {}, set(), [], {}, {}), everything=True).letters
        }

    def _statement(self, columns: tuple[TargetColumn, ...]) -> str:
        statement = self._statements.get(columns)
        if statement is None:
            if len(self._statements) >= _MAX_STATEMENTS and columns != self.move.written:
                return self._statement(self.move.written)
            statement = self._statements[columns] = render.converge(self.move, columns)
        return statement

    def _recover(self, error: psycopg.Error, batch: Batch, keys: Sequence[Key], result: Result) -> None:
        """Find the keys at fault by halving; locked ones are tried again, faulty ones become dead letters."""
        state = error.sqlstate or ""
        if state in _LOCKED:
            if len(keys) <= 1:
                self._insist(batch, keys, result)
                return
        elif transient(error):
            raise error
        elif dead_letters.of_the_data(error):
            if len(keys) <= 1:
                result.letters += [dead_letters.letter(error, key, *batch.keys[key]) for key in keys]
                if not keys:
                    raise error
                if len(result.letters) > _MAX_LETTERS:
                    raise TooManyLetters(
                        f"over {_MAX_LETTERS} keys of one batch fail, the last with {state}"
                    ) from error
                return
        else:
            raise error
        middle = len(keys) // 2
        portions = [keys[:middle], keys[middle:]]
        if state in TAKEN and not batch.exchanging:
            batch.exchanging, portions = True, [keys]
        for portion in portions:
            try:
                self._transaction(batch, portion, result, last=False)
            except psycopg.Error as again:
                self._recover(again, batch, portion, result)

    def _insist(self, batch: Batch, keys: Sequence[Key], result: Result) -> None:
        for attempt in range(_LOCK_ATTEMPTS):
            time.sleep(0.01 * 2**attempt)  # backoff: the lock's holder is the application, and gives no signal
            try:
                self._transaction(batch, keys, result, last=False)
            except psycopg.Error as error:
                if error.sqlstate not in _LOCKED:
                    self._recover(error, batch, keys, result)
                    return
            else:
                return
        raise Unreachable(f"{self.move.name}: a row stays locked by the application; its key waits")
