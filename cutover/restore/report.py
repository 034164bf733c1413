"""What a restore says: how much it rebuilt, and what the log cannot know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sql.counted import counted
from sql.names import quote

_EXAMPLES: Final = 20  # keys named in the report


@dataclass(slots=True)
class Restored:
    """What was rebuilt, and what the log cannot know.

    complete: the log holds every row: a backfill's, from its beginning to its end, or all since a TRUNCATE.
    reached: the log holds every commit before the moment.
    long_values: by column, cells left NULL whose value is in no record (C7). too_large: keys of rows that did not fit
    into a record (L4). without_key: rows whose key became NULL, which nobody follows. not_in_log: the source's columns
    that no mapping reads. other_history: partitions in which the server went back in time before the moment; gaps:
    those in which changes were missing before it. What came before that is left out there.
    since: when the log's first change of the source's partitions was committed.
    """

    source: str
    into: str
    move: str
    rows: int = 0
    complete: bool = True
    reached: bool = True
    long_values: Counter[str] = field(default_factory=Counter)
    too_large: list[str] = field(default_factory=list)
    without_key: int = 0
    there: bool = True  # the table; False: the log knows no row, so that none was made
    not_in_log: list[str] = field(default_factory=list)
    other_history: list[int] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)
    since: str | None = None

    @property
    def certain(self) -> bool:
        """Is it what the source had, as far as its columns are in the log?"""
        unknown = self.long_values or self.too_large or self.without_key
        return self.complete and self.reached and not unknown

    def document(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return asdict(self) | {"long_values": dict(self.long_values), "certain": self.certain}

    def unknown(self) -> Iterator[str]:
        """What the log cannot know, a sentence each."""
        if not self.complete:
            since = f"the log begins ({self.since or 'it is empty'})"
            if self.other_history or self.gaps:
                since = "the server went back in time" if self.other_history else "the gap"
            yield (
                f"rows that nothing changed since {since} are missing:"
                f' no backfill of {self.move} with backfill = "rows" began after that, ended before that moment'
                " and is still in the log"
            )
        if not self.reached:
            yield "the log does not reach that moment: start capture, let it catch up, and restore again"
        for column, count in self.long_values.items():
            values = counted(count, "long value")
            are, them = ("is", "it") if count == 1 else ("are", "them")
            yield f"{values} of {quote(column)} {are} NULL here: updates left {them} alone, so WAL lacks {them}"
        if self.too_large:
            yield f"rows of these keys were too large for the log, and are as they were before: {_some(self.too_large)}"
        if self.without_key:
            yield f"{counted(self.without_key, 'row')} got NULL as the key: missing, and nobody followed them"
        for numbers, what in ((self.other_history, "the server went back in time"), (self.gaps, "there was a gap")):
            if numbers:
                yield f"{what}: what partition {', '.join(map(str, numbers))} had before that is left out"
        if self.not_in_log:
            yield f"never in the log, since no mapping reads them: {', '.join(map(quote, self.not_in_log))}"


def _some(keys: Sequence[str]) -> str:
    more = len(keys) - _EXAMPLES
    return ", ".join(keys[:_EXAMPLES]) + (f" and {more:,} more" if more > 0 else "")
