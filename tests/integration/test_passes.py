"""The continuous pass by itself: its place is kept and taken up, what arrives late is seen, and it rests as it should."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from reconcile import passes
from reconcile.document import MoveReport
from reconcile.passes import Passes, Stopped, Throttle
from reconcile.run import Step
from sql.model import Invariant
from tests.integration.arena import Arena, arena

LEGACY = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.a (id int PRIMARY KEY, name text);
CREATE TABLE new.t (id int PRIMARY KEY, name text);
INSERT INTO old.a SELECT n, 'name ' || n FROM generate_series(1, 20000) n;
"""
pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True)


@pytest.fixture
def it(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arena]:
    monkeypatch.setattr(passes, "_KEEP", 0.0)  # a place after every chunk
    monkeypatch.setattr(passes, "_AGAIN", 0.1)
    monkeypatch.setattr(passes, "_TIMEOUT", 0.5)
    with arena(dsn, LEGACY, "SELECT a.id, a.name FROM old.a") as it:
        it.change(invariants=(Invariant("rows", "SELECT count(*) FROM old.a", "SELECT count(*) FROM new.t"),))
        it.drain()
        yield it


def run(it: Arena, until: Callable[[MoveReport], bool], every: float = 0.0) -> list[MoveReport]:
    """Pass after pass until one is as wanted."""
    stop, reports = threading.Event(), list[MoveReport]()

    def told(report: MoveReport) -> None:
        reports.append(report)
        if until(report):
            stop.set()

    Passes(it.dsn, it.plan, lambda: it.plan, 1.0, every, told).run(stop)
    return reports


def first_place(it: Arena, monkeypatch: pytest.MonkeyPatch) -> tuple[int, object]:
    """Stop a pass right after the first place that it keeps; keys so far, and its beginning."""
    stop = threading.Event()
    with monkeypatch.context() as patch:
        kept = passes._keep

        def keep_and_stop(*given: Any) -> None:
            kept(*given)
            stop.set()

        patch.setattr(passes, "_keep", keep_and_stop)
        Passes(it.dsn, it.plan, lambda: it.plan, 1.0, 0.0).run(stop)
    ((keys, began),) = it.run("SELECT pass_keys, pass_started_at FROM cutover.proof")
    return keys, began


def test_a_pass_goes_on_where_another_process_left_it(it: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    it.run("UPDATE new.t SET name = 'early' WHERE id = 3")
    it.run("UPDATE new.t SET name = 'late' WHERE id = 19999")
    keys, began = first_place(it, monkeypatch)
    assert 0 < keys < 20_000
    assert it.run("SELECT key FROM cutover.difference") == [(["3"],)]  # told before the pass is through
    assert it.run("SELECT count(*) FROM cutover.reconcile_run") == [(0,)]
    (report,) = run(it, lambda report: True)
    assert (report.verdict, report.rows.compared, report.rows.drift, report.exact) == ("drift", 20_000, 2, True)
    assert {each.key[0] for each in report.differences} == {"3", "19999"}
    assert report.started_at == began  # so that the gate knows how old the first chunk's proof is
    assert report.rows.match == 19_998
    assert [each.holds for each in report.invariants] == [True]
    assert it.run("SELECT place, pass_started_at, verdict FROM cutover.proof") == [(None, None, "drift")]


def test_what_was_mended_during_a_pass_is_not_drift_at_its_end(it: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    it.run("UPDATE new.t SET name = 'early' WHERE id IN (3, 4)")
    it.run("DELETE FROM new.t WHERE id = 5")
    first_place(it, monkeypatch)
    it.converge("3", "5")
    (report,) = run(it, lambda report: True)
    assert (report.rows.drift, report.rows.match, report.kinds) == (1, 19_999, {"missing": 0, "extra": 0, "differs": 1})
    assert report.columns == {"name": 1}
    it.converge("4")
    last = run(it, lambda report: report.verdict == "match")[-1]
    assert (last.rows.match, last.rows.compared) == (20_000, 20_000)


@pytest.mark.parametrize("upset", ["digest", "event", "age"])
def test_a_place_that_means_nothing_any_more_is_not_taken_up(
    it: Arena, monkeypatch: pytest.MonkeyPatch, upset: str
) -> None:
    _, began = first_place(it, monkeypatch)
    it.run(
        {
            "digest": "UPDATE cutover.proof SET digest = 'another'",
            "event": "INSERT INTO cutover.event (plan, move, what) VALUES ('arena', 'm', 'heal')",
            "age": "UPDATE cutover.proof SET pass_at = now() - interval '2 days'",
        }[upset]
    )
    (report,) = run(it, lambda report: True)
    assert (report.rows.compared, report.verdict) == (20_000, "match")
    assert report.started_at != began


def test_what_is_unresolved_ends_when_the_proof_arrives(it: Arena) -> None:
    it.run("UPDATE old.a SET name = 'new' WHERE id = 5")
    it.run("UPDATE cutover.position SET applied_lsn = '0/1'")
    stop = threading.Event()
    thread = threading.Thread(target=Passes(it.dsn, it.plan, lambda: it.plan, 1.0, 3600.0).run, args=(stop,))
    thread.start()
    try:
        _until(it, "SELECT verdict = 'unresolved' FROM cutover.difference")
        it.converge("5")
        it.advance()
        _until(it, "SELECT gone_at IS NOT NULL FROM cutover.difference")  # not by another pass: that is an hour away
    finally:
        stop.set()
        thread.join(30)
    assert it.run("SELECT count(*) <= 1 FROM cutover.reconcile_run") == [(True,)]


def test_the_differences_of_every_move_are_looked_at_again(it: Arena) -> None:
    """Not only those of the first: each has its own turn, while the next pass is an hour away."""
    other = replace(it.move, name="other")
    it.run(f"CREATE VIEW {other.view} AS SELECT * FROM {it.move.view}")
    it.run("INSERT INTO cutover.move (plan, move, target, topic, partitions) SELECT plan, 'other', target, topic, partitions"
           " FROM cutover.move")  # fmt: skip
    for table, columns in (("position", 'partition, "offset", applied_lsn'), ("backfill", "finished_at")):
        it.run(
            f"INSERT INTO cutover.{table} (plan, move, {columns}) SELECT plan, 'other', {columns} FROM cutover.{table}"
        )
    it.plan = replace(it.plan, moves=(it.move, other))
    it.run("UPDATE new.t SET name = 'drift' WHERE id = 5")
    stop = threading.Event()
    thread = threading.Thread(target=Passes(it.dsn, it.plan, lambda: it.plan, 1.0, 3600.0).run, args=(stop,))
    thread.start()
    try:
        _until(it, "SELECT count(*) = 2 FROM cutover.reconcile_run WHERE verdict = 'drift'")
        it.converge("5")
        _until(it, "SELECT count(*) = 2 FROM cutover.difference WHERE gone_at IS NOT NULL")
    finally:
        stop.set()
        thread.join(30)
    assert it.run("SELECT count(*) FROM cutover.reconcile_run") == [(2,)]


def test_it_waits_for_the_backfill_and_behind_a_gap(it: Arena) -> None:
    stop = threading.Event()
    it.run("UPDATE cutover.backfill SET finished_at = NULL")
    thread = threading.Thread(target=Passes(it.dsn, it.plan, lambda: it.plan, 1.0, 0.05).run, args=(stop,))
    thread.start()
    try:
        _until(it, "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND granted")
        it.run("UPDATE cutover.plan SET gap = 'why'")
        it.run("UPDATE cutover.backfill SET finished_at = now()")
        assert it.run("SELECT count(*) FROM cutover.reconcile_run") == [(0,)]
        it.run("UPDATE cutover.plan SET gap = NULL")
        _until(it, "SELECT verdict = 'match' FROM cutover.reconcile_run LIMIT 1")
    finally:
        stop.set()
        thread.join(30)


def test_it_rests_in_proportion_and_is_stopped_at_once(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock of its own: a tenth of the time at work, nine tenths at rest, whatever a chunk took."""
    now, stop = [100.0], _Clocked()
    stop.advance = lambda seconds: now.__setitem__(0, now[0] + seconds)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    turned: list[float] = []
    throttle = Throttle(0.1, stop, lambda: turned.append(now[0]), since=now[0])
    for worked in (0.1, 0.5, 3.0):
        now[0] += worked
        before = now[0]
        throttle(Step("m", "compare", 1, 2))
        assert now[0] - before == pytest.approx(worked * 9)
        now[0] += 7.0  # a proof that waits for the stream is no load
        before = now[0]
        throttle(Step("m", "prove", 1, 2))
        assert now[0] == before
    assert max(late - early for early, late in pairwise(turned)) <= 11.0
    stop.set()
    with pytest.raises(Stopped):
        throttle(Step("m", "compare", 1, 2))


class _Clocked(threading.Event):
    """An event whose waiting moves the test's clock."""

    advance: Callable[[float], None]

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set():
            self.advance(timeout or 0.0)
        return self.is_set()


def _until(it: Arena, query: str) -> None:
    deadline = time.monotonic() + 30
    while not (row := it.run(query)) or not row[0][0]:
        assert time.monotonic() < deadline, query
        time.sleep(0.02)
