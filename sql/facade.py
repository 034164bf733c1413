"""The facade: the view that applications read through, in its three forms. Pure rendering.

- legacy: over the mapping, consolidated: over the target. Plain views: indexes, ORDER BY … LIMIT and prepared
  statements go on as they would on a table.
- canary: both branches under a one-time filter. ORDER BY … LIMIT is not pushed into it and FOR UPDATE locks
  nothing, so it is for a percentage of sessions only. It is also the only form that obeys `SET cutover.side`.

The view reads with its owner's rights and asks nothing of the caller but SELECT on itself: the rights to tables in a
view are its owner's, those to functions the caller's, so that it calls functions of pg_catalog only. It carries copies
of the target's SELECT grants, so that a flip never changes who can read. Row security would be bypassed that way:
`prepare` refuses it. In no form can anybody write through it: what is written to the target past the stream is drift.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

from sql.model import Move
from sql.names import Name, quote

Form = Literal["legacy", "consolidated", "canary"]
# PostgreSQL lets nobody write through a view over two things. This one has one empty row, and the planner drops it: the
# plans are those without it (4 µs of planning).
_READ_ONLY: Final = " CROSS JOIN (SELECT) read_only"


@dataclass(frozen=True, slots=True)
class FacadeColumn:
    """A column that both branches must show alike: CREATE OR REPLACE VIEW and prepared statements insist on it.

    `type` and `collation` are the target's. `cast`: the mapping's type differs from it, if only in its modifier;
    `collate`: the mapping's collation does.
    """

    name: str
    type: str
    cast: bool = False
    collate: Name | None = None


@dataclass(frozen=True, slots=True)
class Facade:
    """A facade in all its forms. `name` and the SELECT of either side are SQL, `columns` plain names.

    `prepare` records it in the database, so that the way back depends on no file of the plan.
    """

    name: str
    columns: tuple[str, ...]
    legacy: str
    consolidated: str

    def statement(self, percent: int) -> str:
        """The CREATE OR REPLACE VIEW statement for this percentage of sessions on the consolidated side."""
        names = ", ".join(quote(column) for column in self.columns)
        return f"CREATE OR REPLACE VIEW {self.name} ({names}) AS\n{self._select(percent)}"

    def shape(self) -> str:
        """A digest of all its forms: the same as long as nothing about it has changed but its side."""
        texts = "\0".join(self.statement(percent) for percent in (0, 100, 50))
        return hashlib.sha256(texts.encode()).hexdigest()[:16]

    def _select(self, percent: int) -> str:
        match form_of(percent):
            case "legacy":
                return self.legacy
            case "consolidated":
                return self.consolidated
            case "canary":
                return self._canary(percent)

    def _canary(self, percent: int) -> str:
        # IS (NOT) TRUE: whatever the question says, exactly one branch answers.
        chosen, everything = f"({_chosen(percent)})", ", ".join(quote(column) for column in self.columns)
        return (
            f"SELECT {everything} FROM (\n{self.consolidated}\n) consolidated\n WHERE {chosen} IS TRUE\nUNION ALL\n"
            f"SELECT {everything} FROM (\n{self.legacy}\n) legacy\n WHERE {chosen} IS NOT TRUE"
        )


def form_of(percent: int) -> Form:
    """The form of the facade when this percentage of sessions reads the consolidated side."""
    return "legacy" if percent == 0 else "consolidated" if percent == 100 else "canary"


def facade_of(move: Move, columns: tuple[FacadeColumn, ...]) -> Facade:
    """The facade of a move; ValueError when the plan declares none."""
    if move.facade is None:
        raise ValueError(f"move {move.name} has no facade")
    names = tuple(column.name for column in columns)
    return Facade(move.facade.sql, names, _legacy(move, columns), _consolidated(move, columns))


def _chosen(percent: int) -> str:
    """Does this session read the consolidated side? `SET cutover.side` says so, else chance, the same all its life."""
    number = "pg_catalog.abs(pg_catalog.hashint4(pg_catalog.pg_backend_pid())::bigint)"
    return (
        "SELECT CASE pg_catalog.current_setting('cutover.side', true)"
        " WHEN 'consolidated' THEN true WHEN 'legacy' THEN false"
        f" ELSE pg_catalog.mod({number}, 100) < {percent} END"
    )


def _consolidated(move: Move, columns: tuple[FacadeColumn, ...]) -> str:
    return f"SELECT {_target_list(columns)}\n  FROM {move.target.sql} target{_READ_ONLY}"


def _legacy(move: Move, columns: tuple[FacadeColumn, ...]) -> str:
    """The mapping. An `add` move shares its target with rows of others: those stay visible on both sides."""
    mapping = f"SELECT {_mapping_list(columns)}\n  FROM {move.view.sql} mapping{_READ_ONLY}"
    if move.owned is None:
        return mapping
    others = f"NOT EXISTS (SELECT FROM {move.owned.sql} owned WHERE {_same_key(move, 'owned', 'target')})"
    rest = f"SELECT {_target_list(columns)}\n  FROM {move.target.sql} target\n WHERE {others}"
    if move.existing == "keep":  # the rows of others win over the mapping
        kept = f"SELECT FROM {move.target.sql} target WHERE {_same_key(move, 'target', 'mapping')} AND {others}"
        return f"{mapping}\n WHERE NOT EXISTS ({kept})\nUNION ALL\n{rest}"
    mapped = f"SELECT FROM {move.view.sql} mapping WHERE {_same_key(move, 'mapping', 'target')}"
    return f"{mapping}\nUNION ALL\n{rest}\n   AND NOT EXISTS ({mapped})"


def _target_list(columns: tuple[FacadeColumn, ...]) -> str:
    return ", ".join(f"target.{quote(column.name)}" for column in columns)


def _mapping_list(columns: tuple[FacadeColumn, ...]) -> str:
    return ", ".join(_mapped(column) for column in columns)


def _mapped(column: FacadeColumn) -> str:
    text = f"mapping.{quote(column.name)}"
    if column.cast:
        text = f"{text}::{column.type}"
    if column.collate is not None:
        text = f"({text} COLLATE {column.collate.sql})"
    return f"{text} AS {quote(column.name)}" if column.cast or column.collate else text


def _same_key(move: Move, left: str, right: str) -> str:
    return " AND ".join(f"{left}.{quote(column.name)} = {right}.{quote(column.name)}" for column in move.key)
