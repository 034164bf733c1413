"""C8, R5: a table that is emptied right after a match is not what was proven, whoever may or may not see its changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cutover.gate import Check, gate
from reconcile.run import reconcile
from tests.integration.rig import Rig, shop

ONE = pytest.mark.parametrize(("server", "log_address"), [("pg15", "sqlite")], indirect=True, ids=["pg15-sqlite"])


@pytest.fixture
def rig(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> Iterator[Rig]:
    """Everything streams and is proven."""
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        rig.conn.execute("INSERT INTO shop.item (id, name) SELECT gen_random_uuid(), 'x' FROM generate_series(1, 9)")
        rig.conn.execute("""INSERT INTO "Lager"."Preis" SELECT 'DE', n::text, 'EUR', n FROM generate_series(1, 9) n""")
        rig.capture()
        rig.consume()
        rig.backfill()
        rig.drain()
        reconcile(rig.dsn, rig.plan)
        yield rig


def checks(rig: Rig, move: str) -> dict[str, Check]:
    return {each.check: each for each in gate(rig.conn, rig.plan, rig.move(move), "consolidated")}


@ONE
def test_c8_the_truncate_of_a_target_that_is_a_source_closes_the_gate_at_once_and_halts(rig: Rig) -> None:
    """It is published: the stream sees it too, a moment later. What others delete there is mended by the stream."""
    assert checks(rig, "item")["reconciled"].ok
    rig.conn.execute("TRUNCATE shop.item")
    why = checks(rig, "item")["reconciled"]
    assert not why.ok
    assert "shop.item was emptied" in why.why
    rig.wait_until("SELECT halted LIKE '%%shop.item was truncated%%' FROM cutover.move WHERE move = 'item'")
    assert not checks(rig, "item")["running"].ok


@ONE
def test_r5_the_truncate_of_a_target_that_nobody_streams_closes_the_gate(rig: Rig) -> None:
    """Its changes are in no publication: only its file tells."""
    assert checks(rig, "price")["reconciled"].ok
    rig.conn.execute('TRUNCATE "Lager"."select"')
    assert not checks(rig, "price")["reconciled"].ok
    reconcile(rig.dsn, rig.plan, ["price"], timeout=5)
    assert "said drift" in checks(rig, "price")["reconciled"].why
