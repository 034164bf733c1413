"""C8, R5: a table that is emptied right after a match is not what was proven, whoever may or may not see its changes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import pytest

from cutover.gate import Check, gate
from reconcile import one_move
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


@ONE
def test_r5_a_partition_that_was_away_for_a_moment_is_told(rig: Rig) -> None:
    """What was written to it meanwhile nobody streamed; oid and file are the same."""
    conn = rig.conn
    conn.execute("CREATE TABLE public.whole (k int) PARTITION BY LIST (k)")
    conn.execute("CREATE TABLE public.part PARTITION OF public.whole FOR VALUES IN (1)")
    before = conn.execute("SELECT cutover.storage(ARRAY['public.whole'])").fetchone()
    assert conn.execute("SELECT cutover.storage(ARRAY['public.whole'])").fetchone() == before
    with conn.transaction():
        conn.execute("ALTER TABLE public.whole DETACH PARTITION public.part")
        conn.execute("ALTER TABLE public.whole ATTACH PARTITION public.part FOR VALUES IN (1)")
    assert conn.execute("SELECT cutover.storage(ARRAY['public.whole'])").fetchone() != before


@ONE
def test_c8_a_proof_is_stamped_by_the_servers_clock(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What upsets a proof is stamped there: on a machine that is ahead, a proof would seem to be younger."""

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(minutes=2)

    monkeypatch.setattr(one_move, "datetime", Ahead)
    reconcile(rig.dsn, rig.plan, ["price"])
    rig.conn.execute(
        "INSERT INTO cutover.event (plan, move, what) VALUES (%s, 'price', 'partitions-changed')", (rig.name,)
    )
    assert "began before" in checks(rig, "price")["reconciled"].why
