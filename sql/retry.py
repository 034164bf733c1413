"""The one retry policy: what may go well the next time is tried again, with growing pauses."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

import psycopg
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, stop_when_event_set, wait_fixed
from tenacity.nap import sleep_using_event

from sql.connection import transient
from sql.errors import Unreachable

T = TypeVar("T")

FIRST_PAUSE: Final = 0.2  # seconds, doubled by each failure …
LAST_PAUSE: Final = 5.0
HEALTHY: Final = 10.0  # … and back to the first after a session that lived this long
_BRIEF_PAUSE: Final = 0.05


def until_stopped(session: Callable[[], object], stop: threading.Event, logger: logging.Logger) -> None:
    """Run `session` until it returns or `stop` is set; again after a lost connection, a lock or a shortage.

    Raises what trying again cannot mend.
    """
    if stop.is_set():
        return
    again = Retrying(
        retry=retry_if_exception(retryable),
        stop=stop_when_event_set(stop),
        sleep=sleep_using_event(stop),
        wait=_Pauses(),
        before_sleep=lambda state: _say(state, logger),
        retry_error_callback=lambda state: None,  # stopped while it failed
    )
    again(lambda: None if stop.is_set() else session())


def for_a_while(seconds: float, passing: Callable[[BaseException], bool], attempt: Callable[[], T]) -> T:
    """`attempt()`, again while it raises what is `passing`, for about `seconds`; then its last error is raised."""
    again = Retrying(
        retry=retry_if_exception(passing),
        stop=stop_after_delay(seconds),
        wait=wait_fixed(_BRIEF_PAUSE),
        reraise=True,
    )
    return again(attempt)


def retryable(error: BaseException) -> bool:
    """Can the same thing go well in a moment? Unreachable and its kinds, and PostgreSQL's transient errors."""
    return isinstance(error, Unreachable) or (isinstance(error, psycopg.Error) and transient(error))


class _Pauses:
    """How long to wait after each failure: doubled each time, from the first again after a healthy session."""

    def __init__(self) -> None:
        self._next = FIRST_PAUSE
        self._begun = time.monotonic()

    def __call__(self, state: RetryCallState) -> float:
        if time.monotonic() - self._begun > HEALTHY:
            self._next = FIRST_PAUSE
        pause = self._next
        self._next = min(2 * pause, LAST_PAUSE)
        self._begun = time.monotonic() + pause
        return pause


def _say(state: RetryCallState, logger: logging.Logger) -> None:
    assert state.outcome is not None
    error = state.outcome.exception()
    logger.warning(
        "%s; trying again in %.1f s",
        str(error).splitlines()[0],
        state.upcoming_sleep,
        extra={"cure": getattr(error, "cure", None), "hint": getattr(error, "hint", None)},
    )
