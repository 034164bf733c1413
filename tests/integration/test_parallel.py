"""Several sessions compare one move: nothing is found twice or missed, nothing is left behind (R1, R4, R7)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from reconcile.arrival import Arrival
from reconcile.proof import Outcome, Prover
from reconcile.run import Step
from reconcile.verdicts import Observation
from sql.errors import Unreachable
from tests.integration.arena import Arena, arena

LEGACY = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.a (id int PRIMARY KEY, price text);
CREATE TABLE new.t (id int PRIMARY KEY, price numeric(10,2));
INSERT INTO old.a SELECT n, n FROM generate_series(1, 20000) n;
"""
MAPPING = "SELECT a.id, a.price::numeric(10,2) AS price FROM old.a a"
SESSIONS = """
SELECT pid, state FROM pg_stat_activity WHERE application_name = 'cutover reconcile' AND datname = current_database()
"""


@pytest.fixture
def it(dsn: str) -> Iterator[Arena]:
    with arena(dsn, LEGACY, MAPPING) as it:
        it.drain()
        yield it


@pytest.mark.parametrize("sessions", [1, 2, 5])
def test_r4_every_kind_is_found_once_whatever_the_number_of_sessions(it: Arena, sessions: int) -> None:
    """The 7,000 that differ side by side are more than one chunk may hold; what fails is skipped by name."""
    it.run("UPDATE new.t SET price = -1 WHERE id BETWEEN 9001 AND 16000")
    it.run("DELETE FROM new.t WHERE id % 1000 = 1")
    it.run("INSERT INTO new.t SELECT n FROM generate_series(30001, 30010) n")
    it.run("UPDATE old.a SET price = 'much' WHERE id IN (3, 17777)")
    it.advance()
    report = it.reconcile(chunk_rows=500, listed=10_000, side_by_side=sessions)
    drift = [int(each.key[0]) for each in report.differences if each.verdict == "drift"]
    gone = {n for n in range(1, 20_001) if n % 1000 == 1}
    assert sorted(drift) == sorted({*range(9001, 16001), *range(30001, 30011)} | gone)
    assert {tuple(each.key) for each in report.differences if each.kind == "failed"} == {("3",), ("17777",)}
    assert (report.rows.skipped, report.rows.compared) == (2, 20_010 - 2)
    assert report.rows.match == 20_010 - 2 - len(drift)
    assert report.kinds == {"missing": 20, "extra": 10, "differs": 7000 - 7}


def test_the_first_ranges_are_taken_first(it: Arena) -> None:
    it.run("DELETE FROM new.t WHERE id % 100 = 0")
    report = it.reconcile(chunk_rows=300, listed=3, side_by_side=3)
    assert sorted(int(each.key[0]) for each in report.differences) == [100, 200, 300]
    assert (report.capped, report.rows.drift) == (True, 200)


def test_r7_told_to_stop_in_the_middle_no_session_is_left(it: Arena) -> None:
    """Everything differs, so every session has more to give than anybody takes when the end comes."""
    it.run("UPDATE new.t SET price = -1")

    def stop(step: Step) -> None:
        assert len(it.run(SESSIONS)) == 3 + 1
        raise InterruptedError

    with pytest.raises(InterruptedError):
        it.reconcile(chunk_rows=200, side_by_side=3, progress=stop)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("compare")]
    assert not [state for _, state in it.run(SESSIONS) if state != "idle"]  # their servers' processes end presently


def test_a_session_that_is_ended_ends_the_run_and_not_in_a_verdict(it: Arena) -> None:
    ended: list[int] = []

    def end(step: Step) -> None:
        if not ended:
            ended.extend(pid for pid, _ in it.run(SESSIONS))
            it.run("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) pid", sorted(ended)[1:])

    with pytest.raises(Unreachable):
        it.reconcile(chunk_rows=20, side_by_side=2, progress=end)  # so many that they are not all there by then
    assert it.run("SELECT count(*) FROM cutover.reconcile_run") == [(0,)]


def test_r1_what_differs_is_proven_beside_the_comparison(it: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key differs: the proofs begin while chunks still come, and each key is judged once."""
    proofs: list[tuple[str, int]] = []
    prove = Prover.prove

    def told(self: Prover, candidates: Sequence[Observation], list_cells: int) -> list[Outcome]:
        proofs.append((threading.current_thread().name, len(candidates)))
        return prove(self, candidates, list_cells)

    monkeypatch.setattr(Prover, "prove", told)
    it.run("UPDATE new.t SET price = -1")
    it.advance()
    report = it.reconcile(chunk_rows=500, listed=7, side_by_side=2)
    assert (report.rows.drift, report.rows.match, report.columns) == (20_000, 0, {"price": 20_000})
    assert sum(size for _, size in proofs) == 20_000
    assert {name for name, _ in proofs} == {"prove_0"}
    assert len(proofs) > 2
    assert sorted(int(each.key[0]) for each in report.differences) == [1, 2, 3, 4, 5, 6, 7]


def test_told_to_stop_while_a_proof_waits_for_the_stream_the_proof_ends(
    it: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    it.run("UPDATE new.t SET price = -1")
    it.run("UPDATE cutover.position SET applied_lsn = '0/1'")
    waits, ended = threading.Event(), list[str]()
    pause, prove = Arrival.pause, Prover.prove

    def waiting(self: Arrival, seconds: float) -> None:
        if seconds:
            waits.set()
        pause(self, seconds)

    def told(self: Prover, candidates: Sequence[Observation], list_cells: int) -> list[Outcome]:
        try:
            return prove(self, candidates, list_cells)
        except Exception as error:
            ended.append(type(error).__name__)
            raise

    monkeypatch.setattr(Arrival, "pause", waiting)
    monkeypatch.setattr(Prover, "prove", told)

    def stop(step: Step) -> None:
        if step.done >= 5_000:  # more than a proof begins with
            assert waits.wait(30)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        it.reconcile(chunk_rows=500, side_by_side=2, progress=stop, timeout=60)
    assert ended == ["Stopped"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("compare", "prove"))]
