"""The flip: one short transaction, behind the gate, and nobody notices but by what they read."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cutover.facade import facade_columns
from cutover.flip import FRESH, consolidated_share, flip, flip_back
from cutover.flip_report import FlipRefused
from cutover.gate import GateClosed, gate
from cutover.interrupted import Interrupted
from sql.connection import connect
from sql.errors import Busy, Refused
from sql.facade import facade_of
from tests.integration.background import Background
from tests.integration.prepared import Prepared, small_world
from tests.integration.small_plan import FACADE, ORDER, ORDERS, PART, PRICE, SALE

PRICE_OF = f"SELECT price FROM {FACADE.sql} WHERE id = 'p000001'"


@pytest.fixture
def world(dsn: str, plan_name: str, tmp_path: Path) -> Iterator[Prepared]:
    with small_world(dsn, plan_name, tmp_path) as world:
        world.prepare()
        yield world


def _side(world: Prepared) -> tuple[object, ...]:
    row = world.conn.execute("SELECT side, percent FROM cutover.move WHERE move = 'part'").fetchone()
    assert row is not None
    return row


def test_flip_and_back_change_what_readers_see(world: Prepared) -> None:
    world.open_gate()
    assert world.value(PRICE_OF) is not None
    report = flip(world.dsn, world.plan, "part", "consolidated")
    assert (report.before, report.to, report.percent, report.attempts) == ("legacy", "consolidated", 100, 1)
    assert set(report.document()) >= {"move", "from", "to", "percent", "attempts", "lock_ms", "gate", "steps"}
    assert world.value(PRICE_OF) is None  # nothing has streamed into the target in this test
    assert _side(world) == ("consolidated", 100)
    assert flip(world.dsn, world.plan, "part", "consolidated").steps == ()
    flip(world.dsn, world.plan, "part", "legacy")
    assert world.value(PRICE_OF) is not None
    assert _side(world) == ("legacy", 0)
    assert world.value("SELECT count(*) FROM cutover.event WHERE what = 'flip'") == 2


def test_dry_run_changes_nothing(world: Prepared) -> None:
    world.open_gate()
    report = flip(world.dsn, world.plan, "part", "consolidated", dry_run=True)
    assert report.percent == 100
    assert all(check.ok for check in report.gate)
    assert _side(world) == ("legacy", 0)


CLOSED = {
    "never reconciled": ("DELETE FROM cutover.reconcile_run", "reconciled"),
    "drift": ("UPDATE cutover.reconcile_run SET verdict = 'drift'", "reconciled"),
    "sample": ("UPDATE cutover.reconcile_run SET exact = false", "reconciled"),
    "old proof": ("UPDATE cutover.reconcile_run SET finished_at = now() - interval '1 hour'", "reconciled"),
    "healed since": (
        "INSERT INTO cutover.event (plan, move, what) SELECT plan, move, 'heal' FROM cutover.move WHERE move = 'part'",
        "reconciled",
    ),
    "dead letter": (
        'INSERT INTO cutover.dead_letter (plan, move, key, partition, "offset", sqlstate, message)'
        " SELECT plan, move, '{p1}', 0, 0, '22003', 'overflow' FROM cutover.move WHERE move = 'part'",
        "dead letters",
    ),
    "late": ("UPDATE cutover.position SET applied_time = now() - interval '1 minute' WHERE partition = 1", "lag"),
    "nothing applied": ("UPDATE cutover.position SET applied_lsn = '0/0' WHERE partition = 1", "lag"),
    "gap": ("UPDATE cutover.plan SET gap = 'lost'", "gap"),
    "halted": ("UPDATE cutover.move SET halted = 'truncated'", "running"),
    "target emptied": (f"TRUNCATE {PART.sql}", "reconciled"),
    "source emptied": (f"TRUNCATE {PRICE.sql}", "reconciled"),
    "source replaced": (
        f'ALTER TABLE {PRICE.sql} RENAME TO gone; CREATE TABLE {PRICE.sql} (LIKE "Lager".gone INCLUDING ALL)',
        "prepared, reconciled",
    ),
    "rewritten": (f"VACUUM FULL {PRICE.sql}", "reconciled"),
    "proof of an older version": ("UPDATE cutover.reconcile_run SET storage = NULL", "reconciled"),
    "no backfill": ("UPDATE cutover.backfill SET finished_at = NULL", "backfill"),
    "backfill on its way": ("UPDATE cutover.backfill SET offsets = '{0,1}'", "backfill"),
}


@pytest.mark.parametrize("case", list(CLOSED))
def test_gate_is_closed(world: Prepared, case: str) -> None:
    statement, name = CLOSED[case]
    world.open_gate()
    world.conn.execute(statement.encode())
    with pytest.raises(GateClosed) as closed:
        flip(world.dsn, world.plan, "part", "consolidated")
    assert [check.check for check in closed.value.checks if not check.ok] == name.split(", ")
    assert _side(world) == ("legacy", 0)


def test_gate_is_closed_after_the_plan_changed(world: Prepared) -> None:
    world.open_gate()
    changed = dataclasses.replace(world.plan, digest="d2")
    with pytest.raises(GateClosed, match="plan has changed"):
        flip(world.dsn, changed, "part", "consolidated")


def test_way_back_needs_no_proof(world: Prepared) -> None:
    world.open_gate()
    flip(world.dsn, world.plan, "part", "consolidated")
    world.conn.execute("UPDATE cutover.plan SET gap = 'lost'")
    world.conn.execute("DELETE FROM cutover.reconcile_run")
    flip(world.dsn, world.plan, "part", "legacy")
    assert _side(world) == ("legacy", 0)


def test_way_back_takes_the_plan_where_a_prepare_of_an_older_version_recorded_nothing(world: Prepared) -> None:
    world.open_gate()
    flip(world.dsn, world.plan, "part", "consolidated")
    assert flip_back(world.dsn, world.plan.name, "part", "consolidated", 100) is None  # not back
    world.conn.execute("UPDATE cutover.move SET facade_forms = NULL")
    assert flip_back(world.dsn, world.plan.name, "part", "legacy") is None
    flip(world.dsn, world.plan, "part", "legacy")
    assert world.value(PRICE_OF) is not None
    assert "view" in " ".join(world.prepare().steps)  # and is recorded now
    flip(world.dsn, world.plan, "part", "consolidated")
    assert flip_back(world.dsn, world.plan.name, "part", "legacy") is not None
    assert world.value(PRICE_OF) is not None


def test_what_the_gate_saw_must_still_hold_under_the_lock(world: Prepared) -> None:
    """A dead letter that arrives between gate and flip stops the flip."""
    world.open_gate()
    with connect(world.dsn, "long") as long, long.transaction():
        long.execute(f"SELECT FROM {FACADE.sql} LIMIT 1")
        flipping = Background(lambda: flip(world.dsn, world.plan, "part", "consolidated"))
        wait_until_looking(world)
        world.conn.execute(CLOSED["dead letter"][0].encode())
    outcome = flipping.join()
    assert isinstance(outcome, Refused)
    assert _side(world) == ("legacy", 0)


def test_a_flip_that_waits_for_long_asks_the_gate_again(world: Prepared) -> None:
    """Behind a reader it has waited while a reconciliation found a drift: that is as good a reason as before."""
    world.open_gate()
    with connect(world.dsn, "long") as long, long.transaction():
        long.execute(f"SELECT FROM {FACADE.sql} LIMIT 1")
        flipping = Background(lambda: flip(world.dsn, world.plan, "part", "consolidated"))
        wait_until_looking(world)
        world.conn.execute("SELECT pg_sleep(%s)", (2 * FRESH,))
        world.conn.execute("UPDATE cutover.reconcile_run SET verdict = 'drift'")
    outcome = flipping.join()
    assert isinstance(outcome, FlipRefused)
    assert [each.check for each in outcome.report.gate if not each.ok] == ["reconciled"]
    assert _side(world) == ("legacy", 0)


@pytest.mark.parametrize(("verdict", "ok"), [("match", True), ("drift", False)])
def test_a_long_pass_that_ends_last_does_not_hide_a_newer_match(world: Prepared, verdict: str, ok: bool) -> None:
    """It began before a letter was discarded, after which a whole run found all equal. What it finds to differ counts."""
    world.open_gate()
    world.conn.execute("INSERT INTO cutover.event (plan, what) VALUES (%s, 'discard')", (world.plan.name,))
    world.conn.execute("UPDATE cutover.reconcile_run SET started_at = now(), finished_at = now()")
    world.conn.execute(
        "INSERT INTO cutover.reconcile_run OVERRIDING SYSTEM VALUE SELECT (r).* FROM (SELECT jsonb_populate_record(r, jsonb_build_object('id', r.id + 1000,"
        " 'started_at', r.started_at - interval '1 minute', 'finished_at', clock_timestamp(), 'verdict', %s::text)) AS r"
        " FROM cutover.reconcile_run r) n",
        (verdict,),
    )
    checks = {each.check: each.ok for each in gate(world.conn, world.plan, world.plan.move("part"), "consolidated")}
    assert checks["reconciled"] == ok


def wait_until_looking(world: Prepared, who: str = "cutover flip") -> None:
    """Until a flip has passed its gate, or a prepare come to a lock, and looks at who holds locks."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%%pg_locks%%'"
    deadline = time.monotonic() + 10
    while not world.value(query + " AND application_name = %s", (who,)):
        assert time.monotonic() < deadline, f"{who} never looked"


def test_s11_canary_reads_one_branch_and_plain_form_keeps_the_index_order(world: Prepared) -> None:
    world.open_gate()
    flip(world.dsn, world.plan, "part", "consolidated", 50)
    assert _side(world) == ("legacy", 50)
    for side, other in (("consolidated", "Teil Preis"), ("legacy", None)):
        with connect(world.dsn, "reader") as reader:
            reader.execute("SELECT set_config('cutover.side', %s, false)", (side,))
            plan = _explain(
                reader, f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT * FROM {FACADE.sql} WHERE id = 'p000007'"
            )
            assert "never executed" in plan
            assert "One-Time Filter" in plan
            (price,) = reader.execute(PRICE_OF).fetchone() or (None,)
            assert (price is None) == (side == "consolidated"), plan
            if other is not None:
                line = next(line for line in plan.splitlines() if other in line)
                assert "never executed" in line
    flip(world.dsn, world.plan, "part", "consolidated")
    world.conn.execute("SET enable_seqscan = off")
    ordered = _explain(world.conn, f"EXPLAIN (COSTS OFF) SELECT * FROM {FACADE.sql} ORDER BY id LIMIT 5")
    assert "Index Scan" in ordered
    assert "Sort" not in ordered


def test_s11_percentages_split_sessions_and_nobody_reads_neither_side(world: Prepared) -> None:
    world.open_gate()
    flip(world.dsn, world.plan, "part", "consolidated", 1)
    world.conn.execute("DELETE FROM cutover.backfill")
    world.conn.execute("UPDATE cutover.move SET percent = 1")
    assert world.value(f"SELECT count(*) FROM {FACADE.sql}") == 100
    assert consolidated_share("legacy", 30) == 70
    assert consolidated_share("consolidated", None) == 100


def _explain(conn: psycopg.Connection[tuple[object, ...]], query: str) -> str:
    return "\n".join(str(row[0]) for row in conn.execute(query.encode()).fetchall())


def test_s1_a_long_reader_does_not_make_others_wait(world: Prepared) -> None:
    """While a reader sits on the facade the flip waits; a second reader hardly notices. Then it flips."""
    world.open_gate()
    stop = threading.Event()
    waits: list[float] = []

    def read() -> None:
        with connect(world.dsn, "reader") as reader:
            while not stop.is_set():
                began = time.monotonic()
                reader.execute(PRICE_OF)
                waits.append(time.monotonic() - began)

    reading = Background(read)
    try:
        with connect(world.dsn, "long") as long, long.transaction():
            long.execute(f"SELECT count(*) FROM {FACADE.sql}")
            flipping = Background(lambda: flip(world.dsn, world.plan, "part", "consolidated"))
            time.sleep(2.0)
            assert _side(world) == ("legacy", 0)
            during = max(waits)
        assert flipping.join() is None
    finally:
        stop.set()
        reading.join()
    assert _side(world) == ("consolidated", 100)
    # Behind a plain CREATE OR REPLACE VIEW the second reader would have waited for the first, two seconds.
    assert during < 0.7, during
    assert max(waits) < 1.0, max(waits)


def test_s1_busy_names_who_is_in_the_way_without_their_query(world: Prepared) -> None:
    world.open_gate()
    with connect(world.dsn, "long") as long, long.transaction():
        long.execute(f"SELECT 'secret' FROM {FACADE.sql}")
        with pytest.raises(Busy) as busy:
            flip(world.dsn, world.plan, "part", "consolidated", total_timeout=0.5)
        assert str(long.info.backend_pid) in str(busy.value)
        assert "secret" not in str(busy.value)


def test_add_move_shows_the_same_rows_on_both_sides(world: Prepared) -> None:
    world.conn.execute(f"INSERT INTO {SALE.sql} VALUES (1, 'a', 1.50, 'x@y'), (2, 'b', 2, 'x@y'), (3, NULL, 3, 'x@y')")
    world.conn.execute(f"INSERT INTO {ORDER.sql} (ext, gross) VALUES ('others', 9), ('a', 1.5)")
    legacy = _orders(world)
    assert legacy == [("a", "1.50"), ("b", "2.00"), ("others", "9.00")]
    world.conn.execute(f"INSERT INTO {ORDER.sql} (ext, gross) VALUES ('b', 2)")
    world.conn.execute(f"INSERT INTO cutover.owned_{world.plan.name}_order VALUES ('b')")
    assert _orders(world) == legacy
    world.open_gate("order")
    flip(world.dsn, world.plan, "order", "consolidated")
    assert _orders(world) == legacy


def test_add_move_with_keep_lets_the_rows_of_others_win(world: Prepared) -> None:
    world.conn.execute(f"INSERT INTO {SALE.sql} VALUES (1, 'a', 1.50, 'x@y')")
    world.conn.execute(f"INSERT INTO {ORDER.sql} (ext, gross) VALUES ('a', 7), ('z', 8)")
    order = world.small.order(world.conn, "keep")
    world.conn.execute(facade_of(order, facade_columns(world.conn, order)).statement(0).encode())
    assert _orders(world) == [("a", "7.00"), ("z", "8.00")]
    world.conn.execute(facade_of(order, facade_columns(world.conn, order)).statement(100).encode())
    assert _orders(world) == [("a", "7.00"), ("z", "8.00")]


def _orders(world: Prepared) -> list[tuple[object, ...]]:
    return world.conn.execute(f"SELECT ext, gross::text FROM {ORDERS.sql} ORDER BY ext").fetchall()


def test_grants_of_the_target_are_the_facades_in_every_form(world: Prepared) -> None:
    role = f"reader_{world.plan.name}"
    world.conn.execute(f"CREATE ROLE {role}")
    try:
        world.conn.execute(f'GRANT USAGE ON SCHEMA "Lager" TO {role}')
        world.conn.execute(f"GRANT SELECT ON {PART.sql} TO {role}")
        world.conn.execute(f"DROP VIEW {FACADE.sql}")
        world.prepare()
        world.open_gate()
        for percent in (0, 50, 100):
            flip(world.dsn, world.plan, "part", "consolidated", percent)
            with connect(world.dsn, "reader") as reader:
                reader.execute(f"SET ROLE {role}")
                assert reader.execute(f"SELECT count(*) FROM {FACADE.sql}").fetchone() == (100,)
                may = reader.execute("SELECT has_table_privilege(%s, 'INSERT, UPDATE, DELETE')", (FACADE.sql,))
                assert may.fetchone() == (False,)
    finally:
        world.conn.execute(f"DROP OWNED BY {role}")
        world.conn.execute(f"DROP ROLE {role}")


def test_row_security_is_refused(dsn: str, plan_name: str, tmp_path: Path) -> None:
    with small_world(dsn, plan_name, tmp_path) as world:
        world.conn.execute(f"ALTER TABLE {PART.sql} ENABLE ROW LEVEL SECURITY")
        with pytest.raises(Refused, match="row security"):
            world.prepare()


@pytest.mark.parametrize(
    ("point", "said", "side"),
    [
        ("flip.before-commit", "nothing was changed", ("legacy", 0)),
        ("flip.after-commit", "it was done already: 100 %", ("consolidated", 100)),
    ],
)
def test_s2_an_interrupted_flip_says_what_was_changed(
    world: Prepared, point: str, said: str, side: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.open_gate()

    def reached(name: str) -> None:
        if name == point:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("cutover.flip.reached", reached)
    with pytest.raises(Interrupted, match=f"interrupted.*{said}"):
        flip(world.dsn, world.plan, "part", "consolidated")
    assert _side(world) == side


@pytest.mark.parametrize(
    ("point", "said"),
    [
        (
            "flip.before-commit",
            "interrupted: nothing was changed, but somebody else has flipped it meanwhile: now 10 %",
        ),
        ("flip.after-commit", "it was done already, but somebody else has flipped it meanwhile: now 10 %"),
    ],
)
def test_s2_an_interrupted_flip_tells_its_own_doing_from_somebody_elses(
    world: Prepared, point: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other flip comes when this one has been undone or done, and before it asks what became of it."""
    world.open_gate()
    monkeypatch.setattr(
        "cutover.flip.reached", lambda name: signal.raise_signal(signal.SIGINT) if name == point else None
    )

    def connecting(*given: Any, **more: Any) -> Any:
        monkeypatch.undo()
        flip(world.dsn, world.plan, "part", "consolidated", 10)
        return connect(*given, **more)

    monkeypatch.setattr("cutover.interrupted.connect", connecting)
    with pytest.raises(Interrupted, match=said):
        flip(world.dsn, world.plan, "part", "consolidated")
    assert _side(world) == ("legacy", 10)


def test_s2_an_interrupted_wait_changed_nothing(world: Prepared, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world.open_gate()
    monkeypatch.setattr("sql.lock.time.sleep", lambda seconds: signal.raise_signal(signal.SIGINT))  # as it begins to
    with connect(dsn, "reader") as reader, reader.transaction():
        reader.execute(f"SELECT FROM {FACADE.sql}".encode())
        world.conn.execute("SELECT pg_sleep(0.05)")  # until the reader is one that it waits for
        with pytest.raises(Interrupted, match="interrupted: nothing was changed"):
            flip(world.dsn, world.plan, "part", "consolidated")
    assert _side(world) == ("legacy", 0)
