"""Logging to standard error: text on a terminal, one JSON object a line otherwise; secrets are starred in both."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TextIO

import orjson

from sql.cures import told

_ASSIGNED = re.compile(
    r"(?i)(\b\w*(?:password|passwd|secret|token|passphrase)\w*[\"']?\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s&,;}]+)"
)
_IN_URL = re.compile(r"(\w+://[^\s:/@]*:)[^\s@]+@")
_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Redactor:
    """Stars secrets out of a text: the known values, and whatever looks like `password=…` or `://user:…@`."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted((re.escape(secret) for secret in secrets if len(secret) > 2), key=len, reverse=True)
        self._known = re.compile(rf"(?<!\w)(?:{'|'.join(known)})(?!\w)") if known else None

    def __call__(self, text: str) -> str:
        text = _IN_URL.sub(r"\1***@", _ASSIGNED.sub(r"\1***", text))
        return self._known.sub("***", text) if self._known else text


class TextFormatter(logging.Formatter):
    """`12:30:01 consume-1 warning: message`, for a person at a terminal."""

    def __init__(self, redact: Redactor, process: str | None) -> None:
        super().__init__()
        self._redact, self._process = redact, f" {process}" if process else ""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        cure = told(getattr(record, "cure", None), getattr(record, "hint", None))
        return self._redact(f"{time}{self._process} {level}{record.getMessage()}{cure}{trace}")


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, process, message, then whatever `extra` was given."""

    def __init__(self, redact: Redactor, process: str | None) -> None:
        super().__init__()
        self._redact, self._process = redact, process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process or record.process,
            "message": self._redact(record.getMessage()),
        }
        extra = {name: value for name, value in vars(record).items() if name not in _OWN_FIELDS and value is not None}
        line |= {name: self._redact(value) if isinstance(value, str) else value for name, value in extra.items()}
        if record.exc_info:
            line["trace"] = self._redact(self.formatException(record.exc_info))
        return orjson.dumps(line, default=lambda value: self._redact(str(value))).decode()


def setup(*, verbose: bool = False, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Send all logging to `stream` (standard error). CUTOVER_PROCESS names this process among its siblings."""
    stream = stream or sys.stderr
    redact, process = Redactor(secrets), os.environ.get("CUTOVER_PROCESS")
    formatter = TextFormatter(redact, process) if stream.isatty() else JsonFormatter(redact, process)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.getLogger("kafka").setLevel(logging.INFO if verbose else logging.CRITICAL)  # its retries are ours to report
    # "error ignored in rollback": it follows on an error, or an interruption, that is reported itself.
    logging.getLogger("psycopg").setLevel(logging.INFO if verbose else logging.ERROR)
    logging.captureWarnings(True)
