"""A discarded dead letter, and a decision about a row of others: what they open, and what ends them for good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cutover.dead_letters import Discarded, discard, find
from cutover.flip import flip
from cutover.gate import GateClosed
from reconcile.discards import SETTINGS
from reconcile.run import reconcile
from sql.connection import connect
from tests.acceptance.command import Cli
from tests.integration.rig import FILES, ITEM, Rig, prepared

FIRST = "item_id = (SELECT min(item_id::text)::uuid FROM shop.item_cost)"
POISON = "(c.cost / CASE WHEN c.cost = 13 THEN 0 ELSE 1 END)::numeric(10,2) AS cost,"
BOTH = pytest.mark.parametrize("server", ["pg15", "pg18"], indirect=True)
OPEN = "SELECT count(*) = 1 FROM cutover.dead_letter WHERE state = 'open'"

SQLITE = pytest.mark.parametrize("log_address", ["sqlite"], indirect=True)


@pytest.fixture
def rig(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> Iterator[Rig]:
    files = {**FILES, "item.sql": ITEM.replace("c.cost,", POISON)}
    with prepared(Rig(dsn, plan_name, log_address, tmp_path, files=files)) as rig:
        rig.conn.execute("INSERT INTO shop.item (id, name) SELECT gen_random_uuid(), 'x' FROM generate_series(1, 5)")
        rig.conn.execute("INSERT INTO shop.item_cost (item_id, cost) SELECT id, 5 FROM shop.item")
        rig.conn.execute('ALTER TABLE "Lager"."select" ADD CONSTRAINT few CHECK (betrag < 1000)')
        rig.conn.execute("""INSERT INTO "Lager"."Preis" VALUES ('de', '1', 'EUR', 10), ('de', '2', 'EUR', 20)""")
        rig.capture()
        rig.consume()
        rig.backfill()
        rig.drain()
        assert reconcile(dsn, rig.plan, ["item", "price"]).verdict == "match"
        yield rig


def discarded(rig: Rig) -> Discarded:
    """Discard the one letter that is to be there."""
    rig.wait_until(OPEN)
    with connect(rig.dsn, "test", **SETTINGS) as conn:
        return discard(conn, rig.plan, [letter.id for letter in find(conn, rig.plan.name)], "test data")


def states(rig: Rig) -> list[str]:
    return [state for (state,) in rig.conn.execute("SELECT state FROM cutover.dead_letter ORDER BY id")]


@BOTH
@SQLITE
def test_a6_a_key_that_the_mapping_fails_for_stays_open_and_the_gate_closed(rig: Rig, tmp_path: Path) -> None:
    """R1, R4: a match from before the letter opened is no proof of what came after."""
    rig.conn.execute(f"UPDATE shop.item_cost SET cost = 13 WHERE {FIRST}".encode())
    rig.wait_until(OPEN)
    cli = Cli(tmp_path, {"CUTOVER_DSN": rig.dsn, "CUTOVER_LOG": rig.address, "CUTOVER_PLAN": str(rig.folder)})
    (letter,) = find(rig.conn, rig.plan.name)
    said = cli.run("dead-letters", "discard", str(letter.id), "--reason", "test data", code=5).out
    assert f"dead letter {letter.id} stays open: a value of this row fails in the mapping" in said
    done = cli.run("dead-letters", "discard", str(letter.id), "--reason", "test data", "--json", code=5).document
    assert (done["discarded"], list(done["refused"]), states(rig)) == ([], [str(letter.id)], ["open"])
    with pytest.raises(GateClosed, match="dead letters: 1 open"):
        flip(rig.dsn, rig.plan, "item", "consolidated")
    assert reconcile(rig.dsn, rig.plan, ["item"]).verdict == "unresolved"


@BOTH
@SQLITE
def test_a6_a_discard_asks_for_one_more_reconcile(rig: Rig) -> None:
    """R4: the gate says how many keys are accepted, which an older run did not know."""
    rig.conn.execute("ALTER TABLE shop.item ADD CONSTRAINT cheap CHECK (cost < 1000)")
    rig.conn.execute(f"UPDATE shop.item_cost SET cost = 5000 WHERE {FIRST}".encode())
    done = discarded(rig)
    assert (done.refused, len(done.accepted), states(rig)) == ({}, 1, ["discarded"])
    with pytest.raises(GateClosed, match="the last reconciliation began before: discard"):
        flip(rig.dsn, rig.plan, "item", "consolidated")
    assert reconcile(rig.dsn, rig.plan, ["item"]).verdict == "match"
    gate = flip(rig.dsn, rig.plan, "item", "consolidated", dry_run=True).gate
    assert [check.why for check in gate if "1 key differs" in check.why]
