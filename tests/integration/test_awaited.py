"""What a run says of a move whose stream or backfill nobody has begun: what is awaited, and the command that begins it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconcile.document import InvariantResult, MoveReport, exit_code
from reconcile.run import reconcile
from reconcile.tally import Tally
from sql.model import Invariant
from tests.integration.arena import MOVE, Arena, arena
from tests.integration.rig import Rig, shop

DDL = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.a (id int PRIMARY KEY, v int); CREATE TABLE new.t (id int PRIMARY KEY, v int);
INSERT INTO old.a SELECT g, g FROM generate_series(1, 1000) g;
"""
BOTH = pytest.mark.parametrize("server", ["pg15", "pg18"], indirect=True)
SUM = Invariant("sum", "SELECT sum(v) FROM old.a", "SELECT sum(v) FROM new.t")
UNNAMED = Invariant("sum", "SELECT sum(v) FROM old.a", "SELECT sum(v) FROM new.w")  # it does not name the target
SLOW = Invariant("slow", "SELECT 1", "SELECT 2 FROM pg_sleep(60)")


@pytest.fixture
def it(dsn: str) -> Iterator[Arena]:
    """Prepared, and not backfilled."""
    with arena(dsn, DDL, "SELECT id, v FROM old.a") as it:
        it.run("DELETE FROM cutover.backfill")
        yield it


def history(it: Arena) -> list[tuple[str, str, bool]]:
    return it.run("SELECT key[1], verdict, gone_at IS NULL FROM cutover.difference ORDER BY id")


@BOTH
@pytest.mark.parametrize("invariants", [(), (SUM,), (UNNAMED,)], ids=["none", "waits", "waits untold"])
def test_a_move_that_was_not_backfilled_says_so_with_the_cure(it: Arena, invariants: tuple[Invariant, ...]) -> None:
    """One word for it, whether or not an invariant waits too; the keys were never there, so none is gone afterwards."""
    it.run("CREATE VIEW new.w AS SELECT v FROM new.t")
    it.change(invariants=invariants)
    document = it.document(timeout=0.3)
    (report,) = document.moves
    assert (report.verdict, exit_code(document), report.rows.in_flight) == ("lag", 3, 1000)
    assert report.sentence == "m: the move has not been backfilled: 1,000 keys await it; run `cutover backfill m`."
    assert "1,000 keys: the move has not been backfilled: cutover backfill m" in report.findings
    assert history(it) == []
    it.drain()
    it.run("INSERT INTO cutover.backfill (plan, move, finished_at) VALUES ('arena', %s, now())", MOVE)
    report = it.reconcile()
    assert (report.sentence, report.gone_in_all) == ("m: all 1,000 keys are equal on both sides.", 0)


@pytest.mark.parametrize("server", ["pg18"], indirect=True)
def test_an_invariant_that_could_not_be_told_for_another_cause_stays_unresolved(it: Arena) -> None:
    """Lag is no word for what took too long; and without keys in flight nothing waits for them."""
    it.change(invariants=(SUM, SLOW))
    assert it.reconcile(timeout=0.3).verdict == "unresolved"
    waits = InvariantResult(name="sum", legacy=1, consolidated=2, holds=None, waits=True)
    tally = Tally(it.move, 10)
    tally.counts.update(compared=2, in_flight=1)
    assert tally.verdict([waits]) == "lag"
    tally.counts["in_flight"] = 0  # they have arrived, and still nobody can tell
    assert tally.verdict([waits]) == "unresolved"


@BOTH
def test_a_difference_that_stood_before_a_backfill_was_asked_for_again_is_followed(it: Arena) -> None:
    """It was seen, and is neither forgotten nor gone while it waits; keys that only wait are no difference."""
    it.drain()
    it.run("INSERT INTO cutover.backfill (plan, move, finished_at) VALUES ('arena', %s, now())", MOVE)
    it.run("UPDATE new.t SET v = 0 WHERE id = 5")
    it.advance()
    assert it.reconcile(progress=lambda step: it.advance()).verdict == "drift"
    it.run("DELETE FROM cutover.backfill; UPDATE cutover.move SET touch_again = 'mapping-changed'")
    it.run("UPDATE new.t SET v = 0 WHERE id = 6")
    told = it.reconcile(progress=lambda step: it.advance()).sentence
    assert told == "m: the move has to be backfilled again: 2 keys await it; run `cutover backfill m`."
    assert history(it) == [("5", "lag", True)]
    it.drain()
    it.run("INSERT INTO cutover.backfill (plan, move, finished_at) VALUES ('arena', %s, now())", MOVE)
    report = it.reconcile()
    assert ([each.key for each in report.gone], report.gone_in_all) == ([["5"]], 1)


@pytest.mark.parametrize("server", ["pg18"], indirect=True)
@pytest.mark.parametrize("log_address", ["sqlite"], indirect=True)
def test_who_waits_for_a_stream_that_does_not_run_is_told_how_to_run_it(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    """Capture, the consumers, or both; and whose consumers run without getting on is sent to doctor."""
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        rig.conn.execute("""INSERT INTO "Lager"."Preis" VALUES ('de', '1', 'EUR', 10)""")
        captures = rig.capture()
        rig.consume()
        rig.backfill()
        rig.drain()
        rig.stop(captures)
        rig.conn.execute("""UPDATE "Lager"."Preis" SET betrag = 11""")
        assert told(rig).startswith("1 key: capture is not running (cutover capture, or cutover run): applied up to ")
        rig.stop()
        assert told(rig).startswith("1 key: neither capture nor a consumer is running (cutover run, or cutover capture")
        rig.capture()
        rig.wait_until("SELECT cutover.captured(%s)", (plan_name,))
        assert told(rig).startswith("1 key: no consumer is running (cutover consume, or cutover run): applied up to ")
        with rig.conn.transaction():  # what the consumer needs is locked
            rig.conn.execute("SELECT FROM cutover.position FOR UPDATE")
            rig.consume()
            assert told(rig, busy).startswith("1 key: the consumers do not move (cutover doctor says why): applied up ")


def told(rig: Rig, until: Callable[[Rig], None] = lambda rig: None) -> str:
    until(rig)
    (report,) = reconcile(rig.dsn, rig.plan, ["price"], timeout=0.3).moves
    assert isinstance(report, MoveReport)
    return report.findings[0]


def busy(rig: Rig) -> None:
    rig.wait_until("SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND classid = 1668641900")
