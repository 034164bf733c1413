"""The one tree of errors, each with its exit code and whether trying again can help.

CutoverError                    1  unexpected failure, or an interruption
├── UsageError                  2  a flag, a setting or a plan is wrong
│   └── PlanError               2  … with file, line and cure
├── NotProven                   3  lag, unresolved, skipped
├── Drift                       4  both sides differ, by proof
├── Refused                     5  a preflight, the gate or the drop gate said no
│   ├── Gap                     5  changes may be missing between the log and the database
│   └── Halted                  5  a move stands still until an operator decides
└── Unreachable                 6  PostgreSQL or the log does not answer (retryable)
    └── Busy                    6  a lock, a lease or a slot is held by another (retryable)
"""

from __future__ import annotations

from typing import ClassVar

from sql.cures import sorted_out, told


class CutoverError(Exception):
    """Something failed that nobody foresaw; the message says what and where."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, cure: str | None = None, hint: str | None = None) -> None:
        """`cure`: commands, one a line; what is given there and cannot be pasted is a hint."""
        super().__init__(message)
        self.cure, self.hint = sorted_out(cure, hint)

    def __str__(self) -> str:
        return super().__str__() + told(self.cure, self.hint)


def without_cure(text: str) -> str:
    """A message that was written down as an error prints, for a place that has a cure of its own."""
    return text.partition("\n  cure: ")[0].partition("\n  hint: ")[0]


class UsageError(CutoverError):
    """A flag or a setting is wrong."""

    exit_code = 2


class PlanError(UsageError):
    """The plan is wrong at a file and a line."""

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        cure: str | None = None,
        hint: str | None = None,
    ) -> None:
        where = ":".join(str(part) for part in (file, line) if part is not None)
        super().__init__(f"{where}: {message}" if where else message, cure=cure, hint=hint)
        self.file, self.line = file, line


class NotProven(CutoverError):
    """Lag, unresolved differences, or something skipped: no proof yet."""

    exit_code = 3


class Drift(CutoverError):
    """The two sides differ, and it is not lag."""

    exit_code = 4


class Refused(CutoverError):
    """A preflight or a gate refused; nothing was changed."""

    exit_code = 5


class Gap(Refused):
    """Changes may be missing between the database and the log; heal by touching every key."""


class Halted(Refused):
    """The move stands still until an operator decides."""


class Unreachable(CutoverError):
    """A needed service does not answer."""

    exit_code = 6
    retryable = True


class Busy(Unreachable):
    """Somebody else holds the lock, the lease or the slot."""


class PlanChanged(Exception):
    """Not an error: the plan was prepared anew, and what runs with the old one starts again with the new."""
