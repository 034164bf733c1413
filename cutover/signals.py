"""Stopping: the first SIGTERM or Ctrl-C finishes the batch in hand, the second ends the process at once."""

from __future__ import annotations

import _thread
import logging
import os
import signal
import sys
import threading

_LOG = logging.getLogger(__name__)
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
SUPERVISED = "CUTOVER_SUPERVISED"


def stop_on_signals() -> threading.Event:
    """An event that the first signal sets; call it in the main thread. The second signal kills, as is the default."""
    stop = threading.Event()

    def first(number: int, frame: object) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        # Not from here: the main thread may hold the event's lock just now, and the handler runs on top of it.
        _thread.start_new_thread(stop.set, ())

    for each in _SIGNALS:
        signal.signal(each, first)
    if os.environ.get(SUPERVISED):
        threading.Thread(target=_watch_parent, args=(stop,), name="parent", daemon=True).start()
    return stop


def _watch_parent(stop: threading.Event) -> None:
    """Stop when the supervisor is gone, however it died: its end of our standard input closes with it."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    stop.set()
    threading.Event().wait(10.0)
    os._exit(1)  # the batch in hand did not end; nothing is lost, position and data commit together
