"""Something that runs beside the test."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """Runs `body` in a thread from now on; `join` hands back what it raised."""

    def __init__(self, body: Callable[[], object]) -> None:
        self._error: BaseException | None = None
        self._body = body
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._body()
        except BaseException as error:
            self._error = error

    @property
    def running(self) -> bool:
        """Has it not ended yet?"""
        return self._thread.is_alive()

    def join(self, timeout: float = 30) -> BaseException | None:
        """Wait for its end."""
        self._thread.join(timeout)
        assert not self._thread.is_alive()
        return self._error
