"""The one retry policy."""

from __future__ import annotations

import logging
import threading

import psycopg
import pytest

from sql import retry
from sql.errors import Busy, Refused, Unreachable

LOG = logging.getLogger("test")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(retry, "LAST_PAUSE", 0.004)


def test_a_session_runs_again_after_what_may_pass_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    failures = [Unreachable("gone"), psycopg.OperationalError("cut"), psycopg.errors.DiskFull("full"), Busy("held")]
    waiting = list(failures)

    def session() -> None:
        if waiting:
            raise waiting.pop(0)

    retry.until_stopped(session, threading.Event(), LOG)
    said = [record.getMessage().split("; trying again")[0] for record in caplog.records]
    assert said == ["gone", "cut", "full", "held"]


def test_what_cannot_pass_is_raised_at_once() -> None:
    for error in (Refused("no"), psycopg.errors.UndefinedTable("no such table"), ValueError("a bug")):
        calls: list[int] = []

        def session(error: BaseException = error, calls: list[int] = calls) -> None:
            calls.append(1)
            raise error

        with pytest.raises(type(error)):
            retry.until_stopped(session, threading.Event(), LOG)
        assert calls == [1]


def test_stopped_while_it_waits_it_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE", 60.0)
    monkeypatch.setattr(retry, "LAST_PAUSE", 60.0)
    stop, failed = threading.Event(), threading.Event()

    def session() -> None:
        failed.set()
        raise Unreachable("gone")

    runner = threading.Thread(target=retry.until_stopped, args=(session, stop, LOG))
    runner.start()
    assert failed.wait(10)
    stop.set()
    runner.join(10)
    assert not runner.is_alive()


def test_pauses_grow_to_a_limit_and_begin_anew_after_a_healthy_session(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("sql.retry.time.monotonic", lambda: now[0])
    pauses = retry._Pauses()

    def fail_after(seconds: float) -> float:
        now[0] += seconds
        return pauses(None)  # type: ignore[arg-type]

    assert [fail_after(0) for _ in range(4)] == [0.001, 0.002, 0.004, 0.004]
    assert fail_after(retry.HEALTHY + 1) == 0.001


def test_a_question_is_asked_again_for_a_while_only() -> None:
    asked = []

    def question() -> str:
        asked.append(1)
        if len(asked) < 3:
            raise Unreachable("in a moment")
        return "answer"

    assert retry.for_a_while(10, retry.retryable, question) == "answer"
    with pytest.raises(Unreachable):
        retry.for_a_while(0.1, retry.retryable, lambda: (_ for _ in ()).throw(Unreachable("never")))
