"""Rows of targets falsified while the application writes and consumers come, go and are killed: what must be found.

Each move has quiet rows, which nobody writes, between rows that are written all the time.
"""

from __future__ import annotations

import random
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import psycopg
import pytest

from reconcile import arrival
from reconcile.document import ReconcileDocument
from reconcile.run import reconcile
from sql.connection import connect, own
from tests.integration.rig import Rig
from tests.integration.test_faultpoints import process

Key = tuple[str, ...]
LISTED = 10_000  # differences that a report names: more than there are


@dataclass(slots=True)
class Field:
    """A move's rows to plant in.

    `edits` falsify the row with the key %(k1)s, %(k2)s …, `harmless` ones write what is equal; each returns the key that
    it has touched as text, or nothing where the row is not fit for it.
    """

    edits: Sequence[str]
    harmless: Sequence[str]
    quiet: list[Key]
    planted: set[Key] = field(default_factory=set)

    def plant(self, rig: Rig, dice: random.Random, statement: str) -> Key:
        """Run it for a row that it fits, behind the service's back: it takes the transaction for its own and skips it."""
        for key in dice.sample(self.quiet, len(self.quiet)):
            with own(rig.conn):
                parameters = {f"k{at + 1}": text for at, text in enumerate(key)}
                row = rig.conn.execute(statement.encode(), parameters).fetchone()
            if row is not None:
                self.quiet.remove(key)  # each once: falsified twice may be right again
                return tuple(row)
        raise AssertionError(f"no row is fit for {statement}")


@dataclass(slots=True)
class Ground:
    """A rig whose moves are planted in. `writes`: what the application does to the rows with the keys that it is given."""

    rig: Rig
    fields: dict[str, Field]
    writes: Sequence[str]
    busy: Callable[[random.Random], dict[str, object]]
    killed: int = 0

    def write(self, seed: int, stop: threading.Event) -> None:
        """An application: transactions of two statements over the busy rows."""
        dice = random.Random(seed)
        with connect(self.rig.dsn, "writer") as conn:
            while not stop.is_set():
                row = self.busy(dice)
                with conn.transaction():
                    # In one order: two writers of one row must not be each other's deadlock.
                    for at in sorted(dice.sample(range(len(self.writes)), 2)):
                        try:
                            with conn.transaction():
                                conn.execute(self.writes[at].encode(), row)
                        except psycopg.errors.IntegrityError:
                            continue

    def come_and_go(self, dice: random.Random, stop: threading.Event) -> None:
        """Consumers: one or two that are stopped, one that is killed -9, none for a moment; and again."""
        while not stop.is_set():
            running = self.rig.consume()
            stop.wait(dice.uniform(0.1, 0.6))
            with process(self.rig, "consume") as victim:
                with_victim = dice.uniform(0.5, 1.5)
                if dice.random() < 0.5:
                    assert self.rig.stop(running) == []
                try:
                    victim.wait(with_victim)
                except subprocess.TimeoutExpired:
                    victim.kill()
                    self.killed += 1
            self.rig.stop(running)
            stop.wait(dice.uniform(0, 0.3))

    def drifted(self, document: ReconcileDocument) -> dict[str, set[Key]]:
        return {
            report.move: {tuple(each.key) for each in report.differences if each.verdict == "drift"}
            for report in document.moves
        }

    def planted(self) -> dict[str, set[Key]]:
        return {name: set(each.planted) for name, each in self.fields.items()}

    def shuffle(self, dice: random.Random) -> None:
        for each in self.fields.values():
            each.edits = dice.sample(each.edits, len(each.edits))
            each.harmless = dice.sample(each.harmless, len(each.harmless))

    def plant(self, dice: random.Random, begin: int | None, end: int | None) -> None:
        """The edits from the place `begin` up to `end` in every move, and as many harmless ones."""
        for each in self.fields.values():
            each.planted |= {each.plant(self.rig, dice, statement) for statement in each.edits[begin:end]}
            for statement in each.harmless[begin:end]:
                each.plant(self.rig, dice, statement)

    def reconcile(self, dice: random.Random, timeout: float = 90.0) -> ReconcileDocument:
        """How long a stream may stand still before it is given up is not asked here: consumers come and go, on a machine
        that may have too much to do."""
        rig = self.rig
        with pytest.MonkeyPatch.context() as patient:
            patient.setattr(arrival, "_PATIENCE", timeout)
            return reconcile(
                rig.dsn, rig.plan, None, rig.log,
                chunk_rows=dice.choice((10, 100, 1000)), listed=LISTED, timeout=timeout, record=False,
            )  # fmt: skip


def told(seed: str, document: ReconcileDocument) -> str:
    """What a run said, for the message of a test that fails."""
    return f"{seed}: {[(each.verdict, each.rows, each.findings, each.sentence) for each in document.moves]}"


def exactly_what_was_planted_is_drift(ground: Ground, ends: Sequence[int | None] = (0, 1, 5, None)) -> None:
    """Plant, compare, plant more: the drift is the planted keys and no other, and nothing is left open.

    Every kind of edit is planted, in an order by chance, up to each of `ends` in turn; None: the rest.
    With no consumer nothing is proven, so nothing is drift and nothing green; with one again, the same as before.
    """
    rig, seed = ground.rig, ground.rig.name
    dice = random.Random(seed)
    for number in (1, 2):
        rig.start(lambda stop, number=number: ground.write(number, stop))  # type: ignore[misc]
    first = rig.consume()
    rig.backfill()
    rig.drain()
    rig.stop(first)
    consumers = rig.start(lambda stop: ground.come_and_go(random.Random(seed), stop))
    ground.shuffle(dice)
    for begin, end in pairwise((0, *ends)):
        ground.plant(dice, begin, end)
        document = ground.reconcile(dice)
        assert ground.drifted(document) == ground.planted(), told(seed, document)
        unresolved = {report.move: report.rows.unresolved for report in document.moves}
        assert unresolved == dict.fromkeys(ground.fields, 0), told(seed, document)
        assert all(report.rows.compared >= len(ground.fields[report.move].quiet) for report in document.moves), seed
    assert rig.stop(consumers) == []

    ground.plant(dice, 0, 2)  # once more
    document = ground.reconcile(dice, timeout=0.5)
    assert ground.drifted(document) == {name: set() for name in ground.fields}, seed
    for report in document.moves:
        assert ground.fields[report.move].planted <= {tuple(each.key) for each in report.differences}, seed
    rig.consume()
    document = ground.reconcile(dice)
    assert ground.drifted(document) == ground.planted(), told(seed, document)
    errors = rig.stop()
    assert errors == [], errors
    assert ground.killed, seed
