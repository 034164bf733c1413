"""Random operations, random faults: after a drain the target is exactly what the mapping says."""

from __future__ import annotations

import random
import sys
import threading
import uuid
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from consumers import batch_size, holding
from consumers.backfill import backfill
from cutover.heal import heal
from sql.connection import connect
from sql.model import Move
from tests.integration.rig import Rig, shop

IDS = [uuid.UUID(int=n) for n in range(1, 25)]
REFS = [f"R{n}" for n in range(12)]
identifiers = st.sampled_from(IDS)
references = st.sampled_from(REFS)
amounts = st.integers(0, 99_999)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


class Shop(RuleBasedStateMachine):
    """The application, its operator and the weather."""

    rig: Rig
    runs: dict[str, list[threading.Event]]

    def _execute(self, *statements: tuple[str, tuple[object, ...]]) -> None:
        with suppress(psycopg.errors.IntegrityError), self.rig.conn.transaction():
            for query, parameters in statements:
                self.rig.conn.execute(query.encode(), parameters)

    @rule(item=identifiers, cost=amounts, name=texts)
    def add_item(self, item: uuid.UUID, cost: int, name: str) -> None:
        self._execute(
            ("INSERT INTO shop.item (id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING", (item, name)),
            (
                "INSERT INTO shop.item_cost VALUES (%s, %s) ON CONFLICT (item_id) DO UPDATE SET cost = excluded.cost",
                (item, cost),
            ),
            (
                "INSERT INTO shop.item_state (item_id, state, note) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (item, name, name),
            ),
        )

    @rule(item=identifiers, cost=amounts)
    def change_cost(self, item: uuid.UUID, cost: int) -> None:
        self._execute(("UPDATE shop.item_cost SET cost = %s WHERE item_id = %s", (cost, item)))

    @rule(item=identifiers, other=identifiers)
    def move_state(self, item: uuid.UUID, other: uuid.UUID) -> None:
        self._execute(("UPDATE shop.item_state SET item_id = %s WHERE item_id = %s", (other, item)))

    @rule(item=identifiers, qty=st.integers(-5, 5))
    def hold(self, item: uuid.UUID, qty: int) -> None:
        self._execute(("INSERT INTO shop.item_hold (item_id, qty) VALUES (%s, %s)", (item, qty)))

    @rule(item=identifiers, table=st.sampled_from(["item_cost", "item_state", "item_hold"]))
    def delete_satellite(self, item: uuid.UUID, table: str) -> None:
        self._execute((f"DELETE FROM shop.{table} WHERE item_id = %s", (item,)))

    @rule(item=identifiers)
    def delete_item(self, item: uuid.UUID) -> None:
        self._execute(("DELETE FROM shop.item WHERE id = %s", (item,)))

    @rule(item=identifiers, cost=amounts)
    def roll_back_to_a_savepoint(self, item: uuid.UUID, cost: int) -> None:
        with self.rig.conn.transaction():
            self.rig.conn.execute("UPDATE shop.item_cost SET cost = %s WHERE item_id = %s", (cost, item))
            with self.rig.conn.transaction() as savepoint:
                self.rig.conn.execute("DELETE FROM shop.item_cost")
                self.rig.conn.execute("DELETE FROM shop.payment")
                raise psycopg.Rollback(savepoint)

    @rule(ref=st.one_of(st.none(), references), amount=amounts)
    def pay(self, ref: str | None, amount: int) -> None:
        self._execute(("INSERT INTO shop.payment (ref, amount) VALUES (%s, %s)", (ref, amount)))

    @rule(ref=references, other=st.one_of(st.none(), references), amount=amounts)
    def change_payment(self, ref: str, other: str | None, amount: int) -> None:
        self._execute(("UPDATE shop.payment SET ref = %s, amount = %s WHERE ref = %s", (other, amount, ref)))

    @rule(ref=references)
    def unpay(self, ref: str) -> None:
        self._execute(("DELETE FROM shop.payment WHERE ref = %s", (ref,)))

    @rule(ref=references, amount=amounts)
    def order_by_others(self, ref: str, amount: int) -> None:
        self._execute(('INSERT INTO shop."order" (ref, total) VALUES (%s, %s)', (ref, amount)))

    @rule(land=texts, number=texts, amount=amounts)
    def price(self, land: str, number: str, amount: int) -> None:
        self._execute(
            (
                'INSERT INTO "Lager"."Preis" VALUES (%s, %s, \'€\', %s) ON CONFLICT ("Land", "Nummer") DO UPDATE SET betrag = excluded.betrag',
                (land, number, amount),
            ),
            ('INSERT INTO "Lager"."Rabatt" VALUES (%s, %s, %s) ON CONFLICT DO NOTHING', (land, number, amount / 7)),
        )

    @rule(which=st.integers(0, 1_000_000))
    def unprice(self, which: int) -> None:
        self._execute(('DELETE FROM "Lager"."Preis" WHERE abs(hashtext("Nummer")) %% 3 = %s', (which % 3,)))

    @rule()
    def bulk(self) -> None:
        self._execute(
            ("UPDATE shop.item_cost SET cost = cost + 1", ()), ("UPDATE shop.payment SET amount = amount + 1", ())
        )

    @rule(what=st.sampled_from(["capture", "consume"]))
    def cut_connections(self, what: str) -> None:
        self.rig.conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s AND datname = current_database()",
            (f"cutover {what}%",),
        )

    @rule(batch=st.integers(1, 40))
    def another_consumer(self, batch: int) -> None:
        batch_size.FIRST_BATCH = batch_size.MAX_BATCH = batch
        if len(self.runs["consume"]) < 3:
            self.runs["consume"].append(self.rig.consume(sessions=2))

    @precondition(lambda self: len(self.runs["consume"]) > 1)
    @rule()
    def one_consumer_less(self) -> None:
        assert self.rig.stop(self.runs["consume"].pop()) == []

    @rule()
    def restart_capture(self) -> None:
        assert self.rig.stop(self.runs["capture"].pop()) == []
        self.runs["capture"].append(self.rig.capture())

    @rule(table=st.sampled_from(["shop.item_hold", '"Lager"."Rabatt"']))
    def truncate(self, table: str) -> None:
        """Halts the move; the operator heals it."""
        rig = self.rig
        move = "item" if "item" in table else "price"
        rig.conn.execute(f"TRUNCATE {table}".encode())
        rig.wait_until("SELECT halted IS NOT NULL FROM cutover.move WHERE plan = %s AND move = %s", (rig.name, move))
        heal_all(rig)

    @rule()
    def replay_everything(self) -> None:
        """Positions go back to the start of the log while everything runs."""
        while len(self.runs["consume"]):
            assert self.rig.stop(self.runs["consume"].pop()) == []
        self.rig.conn.execute('UPDATE cutover.position SET "offset" = 0 WHERE plan = %s', (self.rig.name,))
        self.runs["consume"].append(self.rig.consume(sessions=2))

    def teardown(self) -> None:
        self.rig.drain()
        assert self.rig.differences() == {}


def heal_all(rig: Rig) -> None:
    """What `cutover heal` does."""

    def touch(move: Move) -> bool:
        backfill(rig.dsn, rig.plan, move, rig.log, threading.Event(), restart=True)
        return True

    with connect(rig.dsn, "heal") as conn:
        heal(conn, rig.plan, [], rig.log, touch, threading.Event())


@pytest.mark.timeout(240)
def test_the_target_equals_the_mapping_after_anything(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inserts, updates, deletes, key moves, truncates, savepoints, multi-table transactions; killed sessions, workers
    that come and go and apply in several sessions, batches of any size, replays."""
    monkeypatch.setattr(batch_size, "FIRST_BATCH", random.randint(1, 50))
    monkeypatch.setattr(batch_size, "MAX_BATCH", 50)
    monkeypatch.setattr(
        batch_size, "BEHIND", random.choice((-sys.maxsize, batch_size.BEHIND))
    )  # all is a backlog, or not
    monkeypatch.setattr(holding, "REBALANCE", 0.1)
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        runs = {"capture": [rig.capture()], "consume": [rig.consume(sessions=2)]}
        machine = type("PreparedShop", (Shop,), {"rig": rig, "runs": runs})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=4,
                stateful_step_count=30,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
                database=None,
            ),
        )
