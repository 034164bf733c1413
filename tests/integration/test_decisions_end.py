"""A discarded dead letter, and a decision about a row of others: what they open, and what ends them for good."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc.touch import touch
from cutover.dead_letters import Discarded, discard, find
from cutover.flip import flip
from cutover.gate import GateClosed
from cutover.proven import read_proofs
from reconcile.diff import Comparison
from reconcile.disagreements import Accepted, _take, write_disagreements
from reconcile.discards import SETTINGS
from reconcile.document import MoveReport
from reconcile.review import read_review
from reconcile.run import reconcile
from reconcile.scope import Selection
from sql.connection import connect
from tests.acceptance.command import Cli
from tests.integration.arena import MOVE, PLAN, Arena, arena
from tests.integration.rig import FILES, ITEM, Rig, prepared

FIRST = "item_id = (SELECT min(item_id::text)::uuid FROM shop.item_cost)"
KEY = ("de", "2")
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


def told(rig: Rig, *, only: Selection | None = None) -> tuple[str, int]:
    (report,) = reconcile(rig.dsn, rig.plan, ["price"], only={"price": only} if only else None).moves
    return report.verdict, report.rows.accepted


def states(rig: Rig) -> list[str]:
    return [state for (state,) in rig.conn.execute("SELECT state FROM cutover.dead_letter ORDER BY id")]


def touched(rig: Rig) -> None:
    writer = rig.log.writer()
    touch(writer, rig.move("price"), [KEY])
    assert writer.wait(writer.queued(), 10)
    writer.close()
    rig.drain()


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


@BOTH
@SQLITE
@pytest.mark.parametrize(
    "damage",
    [
        """DELETE FROM "Lager"."select" WHERE "Nummer" = '2'""",
        """UPDATE "Lager"."select" SET betrag = 20 WHERE "Nummer" = '2'""",
    ],
    ids=["missing", "stale"],
)
def test_r4_an_applied_key_is_not_accepted_any_more(rig: Rig, damage: str) -> None:
    """What was accepted comes back by somebody's hand, after the key was applied: drift, and no run between saw it."""
    rig.conn.execute("""UPDATE "Lager"."Preis" SET betrag = 5000 WHERE "Nummer" = '2'""")
    if damage.startswith("DELETE"):
        rig.wait_until(OPEN)
        rig.conn.execute(damage.encode())
    discarded(rig)
    assert told(rig) == ("match", 1)
    rig.conn.execute('ALTER TABLE "Lager"."select" DROP CONSTRAINT few')
    touched(rig)
    assert states(rig) == ["resolved"]
    rig.conn.execute(damage.encode())
    assert told(rig) == ("drift", 0)


@BOTH
@SQLITE
def test_r4_no_report_says_that_an_accepted_key_is_equal(rig: Rig, tmp_path: Path) -> None:
    """It was a difference, and is one: by decision now, with its reason. Nothing says that it is gone."""
    rig.conn.execute("""UPDATE "Lager"."Preis" SET betrag = 5000 WHERE "Nummer" = '2'""")
    rig.wait_until(OPEN)
    assert told(rig) == ("unresolved", 0)
    rig.conn.execute("""UPDATE "Lager"."select" SET betrag = 1 WHERE "Nummer" = '1'""")
    assert told(rig) == ("drift", 0)
    discarded(rig)
    rig.conn.execute("""UPDATE "Lager"."select" SET betrag = 10 WHERE "Nummer" = '1'""")
    cli = Cli(tmp_path, {"CUTOVER_DSN": rig.dsn, "CUTOVER_LOG": rig.address, "CUTOVER_PLAN": str(rig.folder)})
    page = tmp_path / "report.html"
    said = " ".join(cli.run("reconcile", "price", "--html", str(page)).out.split())
    assert (
        "price: 1 of 2 keys is equal on both sides. 1 key differs and stays as it is, by somebody's decision." in said
    )
    assert "accepted: 1 key differs and stays as it is, by somebody's decision de,2: test data (" in said
    assert "gone: 1 key that differed before, equal now, the latest de,1 " in said
    text = page.read_text()
    assert "1 key differs and stays as it is, by somebody&#39;s decision" in text
    assert '<p class="soft">1 in the last 90 days.</p>' in text
    (report,) = reconcile(rig.dsn, rig.plan, ["price"], record=False).moves
    assert ([each.key for each in report.gone], report.gone_in_all, report.gone_now) == ([["de", "1"]], 1, 0)
    assert "accepted: 1 key differs" in cli.run("reconcile", "price").out  # and in the runs after that


@pytest.mark.parametrize("server", ["pg18"], indirect=True)
@SQLITE
@pytest.mark.parametrize(
    ("price", "only", "seen"),
    [
        (5000, None, ("match", 0)),
        (5000, Selection(keys=[KEY]), ("match", 0)),
        (21, None, ("drift", 0)),
    ],
    ids=["equal", "equal, one key compared", "another value"],
)
def test_r4_a_run_that_sees_another_state_ends_the_decision(
    rig: Rig, price: int, only: Selection | None, seen: tuple[str, int]
) -> None:
    """Without any converge: both sides become what was accepted again, and it is drift."""
    put = """UPDATE "Lager"."select" SET betrag = %s WHERE "Nummer" = '2'"""
    rig.conn.execute("""UPDATE "Lager"."Preis" SET betrag = 5000 WHERE "Nummer" = '2'""")
    discarded(rig)
    rig.conn.execute('ALTER TABLE "Lager"."select" DROP CONSTRAINT few')
    assert told(rig) == ("match", 1)
    rig.conn.execute(put, (price,))
    assert told(rig, only=only) == seen
    rig.conn.execute(put, (20,))
    assert told(rig) == ("drift", 0)


# -- decisions about rows of others ------------------------------------------------------------------------------------

OTHERS = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.a (id text PRIMARY KEY, v text);
CREATE TABLE new.t (id text PRIMARY KEY, v text);
INSERT INTO old.a VALUES ('1', 'a'), ('2', 'b'); INSERT INTO new.t VALUES ('1', 'other');
"""


def kept(it: Arena, file: Path) -> MoveReport:
    """Decide for the row of others, which asks for one more run."""
    it.reconcile()
    write_disagreements(it.dsn, it.move, file)
    review = read_review(file)
    ((nonce,),) = it.run("SELECT nonce FROM cutover.review WHERE id = %s", review.review)
    wanted = [each.model_copy(update={"decision": "consolidated"}) for each in review.disagreement]
    done = Accepted()
    _take(Comparison(it.conn, it.move), nonce, review.review, wanted, done)
    assert done.kept == [("1",)]
    assert read_proofs(it.conn, PLAN)[MOVE].void("digest") == "the last reconciliation began before: accept"
    return it.reconcile()


@pytest.mark.parametrize("server", ["pg18"], indirect=True)
def test_r4_a_decision_about_a_row_of_others_says_nothing_of_the_moves_own(dsn: str, tmp_path: Path) -> None:
    """The row goes, and converge inserts the move's own: the value that was accepted of others is drift in it."""
    with arena(dsn, OTHERS, "SELECT a.id, a.v FROM old.a", rows="add", existing="report") as it:
        it.drain()
        assert kept(it, tmp_path / "review.toml").rows.accepted == 1
        it.run("DELETE FROM new.t WHERE id = '1'")
        it.drain()
        it.run("UPDATE new.t SET v = 'other' WHERE id = '1'")
        report = it.reconcile()
        assert (report.verdict, report.rows.accepted, report.rows.drift) == ("drift", 0, 1)


@pytest.mark.parametrize("server", ["pg18"], indirect=True)
def test_r4_a_run_ends_a_decision_about_a_row_of_others(dsn: str, tmp_path: Path) -> None:
    with arena(dsn, OTHERS, "SELECT a.id, a.v FROM old.a", rows="add", existing="report") as it:
        it.drain()
        assert kept(it, tmp_path / "review.toml").rows.accepted == 1
        it.run("UPDATE new.t SET v = 'a' WHERE id = '1'")
        assert (it.reconcile(record=False).rows.accepted, it.reconcile(record=False).verdict) == (0, "match")
        it.run("UPDATE new.t SET v = 'other' WHERE id = '1'")
        assert it.reconcile().rows.accepted == 1  # nothing was recorded: the decision stands
        it.run("UPDATE new.t SET v = 'a' WHERE id = '1'")
        assert it.reconcile().verdict == "match"
        it.run("UPDATE new.t SET v = 'other' WHERE id = '1'")
        assert it.reconcile().verdict == "drift"
        assert kept(it, tmp_path / "again.toml").rows.accepted == 1  # decided anew
