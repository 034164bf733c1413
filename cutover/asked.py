"""Asked: the stretch of the log and the keys that a replay's flags name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from cdc import stretch
from cdc.log import Log
from cdc.stretch import Stretch
from cutover.arguments import read_lsn, read_offsets, read_time
from sql.errors import UsageError
from sql.model import Move


@dataclass(frozen=True, slots=True)
class Asked:
    """The flags as they were given, from which exactly one beginning must be."""

    from_start: bool = False
    from_offset: Sequence[str] | None = None
    from_lsn: str | None = None
    from_time: str | None = None
    to_offset: Sequence[str] | None = None
    to_lsn: str | None = None
    to_time: str | None = None
    key: Sequence[str] | None = None
    keys: Path | None = None

    def __post_init__(self) -> None:
        given = [self.from_start, bool(self.from_offset), self.from_lsn is not None, self.from_time is not None]
        if sum(given) != 1:
            raise UsageError("from where?", cure="one of --from-start, --from-offset, --from-lsn, --from-time")
        self._forwards()

    def _forwards(self) -> None:
        """Raises UsageError for a stretch whose end lies before its beginning, in the same measure."""
        for measure, read in (("time", read_time), ("lsn", read_lsn)):
            begin, end = getattr(self, f"from_{measure}"), getattr(self, f"to_{measure}")
            flags = f"--from-{measure}", f"--to-{measure}"
            if begin is not None and end is not None and read(flags[0], begin) > read(flags[1], end):
                raise UsageError(f"{flags[0]} {begin} is behind {flags[1]} {end}: there is nothing between them")
        if self.from_offset and self.to_offset:
            first, last = read_offsets("--from-offset", self.from_offset), read_offsets("--to-offset", self.to_offset)
            for partition in sorted(first.keys() & last.keys()):
                if first[partition] > last[partition]:
                    raise UsageError(
                        f"--from-offset {partition}:{first[partition]} is behind --to-offset"
                        f" {partition}:{last[partition]}: there is nothing between them"
                    )

    def spec(self) -> str:
        """The stretch and the keys as they were asked for: the same words go on with the same replay."""
        given = ((each.name.replace("_", "-"), getattr(self, each.name)) for each in fields(self))
        return " ".join(f"{name}={value}" for name, value in given if value)

    def stretches(self, log: Log, move: Move) -> list[Stretch]:
        """What the flags name of the log as it is now. UsageError for what is not there."""
        found = self._from(log, move)
        if self.to_offset:
            found = stretch.until_offsets(log, move, found, read_offsets("--to-offset", self.to_offset))
        if self.to_lsn is not None:
            found = stretch.until_lsn(log, move, found, read_lsn("--to-lsn", self.to_lsn))
        if self.to_time is not None:
            found = stretch.until_time(log, move, found, read_time("--to-time", self.to_time))
        return found

    def _from(self, log: Log, move: Move) -> list[Stretch]:
        if self.from_offset:
            return stretch.from_offsets(log, move, read_offsets("--from-offset", self.from_offset))
        if self.from_lsn is not None:
            return stretch.from_lsn(log, move, read_lsn("--from-lsn", self.from_lsn))
        if self.from_time is not None:
            return stretch.from_time(log, move, read_time("--from-time", self.from_time))
        return stretch.whole(log, move)
