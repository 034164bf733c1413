"""Single keys: how each stands, with its evidence, and both sides' values of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from reconcile.chunk import Cells, Chunk, Key
from reconcile.session import BRIEF_LOCK_MS, Session, patiently
from reconcile.verdicts import Observation, state_of
from sql.connection import Connection
from sql.model import Move
from sql.pairs import Pairs
from sql.render import key_parameters

_MOST_TEXTS: Final = 1_000  # sets of differing columns that are remembered


class Singles(Session):
    """A session that looks at the keys that it is given."""

    def __init__(
        self, conn: Connection, move: Move, where: str | None = None, *, pairs: Pairs | None = None
    ) -> None:  # fmt: skip
        super().__init__(conn, move, where, pairs=pairs)
        self.sources = [(source, columns) for source in move.sources for columns in source.keys]
        self.itself = self._itself()
        self._columns: dict[str, tuple[str, ...]] = {}

    def observed(self, keys: Sequence[Key]) -> dict[Key, Observation]:
        """How the keys stand, in the snapshot that is open.

        Raises psycopg.Error when the mapping fails for one of them.
        """
        if not keys:
            return {}
        move, lsn = self.move, self.lsn()
        given = key_parameters(keys, len(move.key))
        versions: list[list[str]] = [[""] * len(self.sources) for _ in keys]
        for at, (source, columns) in enumerate(self.sources):
            if at == self.itself:
                continue
            for number, version in self._all(self.pairs.versions(source, columns), given):
                versions[number - 1][at] = version
        found = {}
        conflicting = move.rows == "add" and move.existing == "report"
        for number, legacy, consolidated, mine, flags, left, right, version in self._all(self.pairs.observe(), given):
            key = keys[number - 1]
            if self.itself is not None:
                versions[number - 1][self.itself] = version or ""
            columns = self._differing(flags)
            state = state_of(
                rows=move.rows, existing=move.existing, legacy=legacy, consolidated=consolidated, mine=mine,
                differs=bool(columns),
            )  # fmt: skip
            found[key] = Observation(
                key=key,
                state=state,
                columns=columns,
                legacy=left,
                consolidated=right,
                sources=tuple(versions[number - 1]),
                target=version,
                lsn=lsn,
                conflict=conflicting and bool(consolidated) and not mine,
            )
        return found

    def cells(self, keys: Sequence[Key]) -> dict[Key, Cells]:
        """Both sides' values of the compared columns as text, and how those of masked ones differ, for the keys given.

        In the snapshot that is open.
        """
        if not keys:
            return {}
        rows = self._all(self.pairs.cells(), key_parameters(keys, len(self.move.key)))
        return {keys[number - 1]: (legacy, consolidated, masked) for number, legacy, consolidated, masked in rows}

    def chosen(self, keys: Sequence[Key]) -> Chunk:
        """Compare these keys and no others, in one snapshot. A key that is on neither side does not count."""
        return patiently(lambda: self._chosen(keys))

    def _chosen(self, keys: Sequence[Key]) -> Chunk:
        started = time.monotonic()
        with self.snapshot(lock_ms=BRIEF_LOCK_MS):
            found = self.observed(keys)
            lsn = self.lsn()
        there = [seen for seen in found.values() if seen.legacy is not None or seen.consolidated is not None]
        return Chunk(
            None, None,
            sum(seen.legacy is not None for seen in there), sum(seen.consolidated is not None for seen in there),
            0, len(there), sum(seen.state == "kept" for seen in there),
            tuple(seen for seen in there if seen.state not in ("same", "kept")),
            {}, lsn, time.monotonic() - started,
        )  # fmt: skip

    def _differing(self, flags: str) -> tuple[str, ...]:
        """The columns whose flag is set in the text of a boolean[]; most keys share a few of these texts."""
        if len(self._columns) > _MOST_TEXTS:
            self._columns.clear()
        if flags not in self._columns:
            told = zip(self.move.written, flags.strip("{}").split(","), strict=True) if self.move.written else ()
            self._columns[flags] = tuple(column.name for column, flag in told if flag == "t")
        return self._columns[flags]

    def _itself(self) -> int | None:
        """The place among the sources of the target itself: its row's version is read anyway."""
        names = tuple(key.name for key in self.move.key)
        for at, (source, columns) in enumerate(self.sources):
            if source.is_target and columns == names and self.pairs.target_unique:
                return at
        return None
