"""The ledger: what a writer's own statements returned, kept once their commit was acknowledged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

Identity = tuple[str, str]  # kind and id of a legacy row


@dataclass(frozen=True, slots=True)
class Effect:
    """What one statement did to one legacy row: the row as JSON text, digits as PostgreSQL printed them."""

    kind: str
    id: str
    image: str
    gone: bool = False


@dataclass(slots=True)
class Ledger:
    """The legacy rows of some keys as their only writer knows them.

    `rows`: the last acknowledged image of each row that is there. `former`: images that were replaced or deleted.
    `touched`: keys that were written, by pool; only these are worth verifying.
    """

    rows: dict[Identity, str] = field(default_factory=dict)
    former: list[tuple[str, str, str]] = field(default_factory=list)
    touched: dict[str, set[str]] = field(default_factory=dict)
    transactions: int = 0  # acknowledged
    writes: int = 0  # rows that they wrote

    def open(self, effects: Iterable[Effect]) -> None:
        """Enter what the keys had before the first write."""
        self.rows.update({(each.kind, each.id): each.image for each in effects})

    def acknowledge(self, touched: Mapping[str, Iterable[str]], effects: Iterable[Effect], writes: int) -> None:
        """Enter one transaction that the server said is committed, its effects in their order."""
        self._touch(touched)
        for each in effects:
            before = self.rows.pop((each.kind, each.id), None)
            if before is not None:
                self.former.append((each.kind, each.id, before))
            if not each.gone:
                self.rows[each.kind, each.id] = each.image
        self.transactions += 1
        self.writes += writes

    def merge(self, other: Ledger) -> None:
        """Add another writer's ledger; their keys have nothing in common."""
        self.rows.update(other.rows)
        self.former += other.former
        self._touch(other.touched)
        self.transactions += other.transactions
        self.writes += other.writes

    def present(self, kinds: Iterable[str]) -> str:
        """The rows of these kinds as one JSON text, [{kind, id, row}]."""
        wanted = set(kinds)
        return _json((kind, key, image) for (kind, key), image in self.rows.items() if kind in wanted)

    def formerly(self, kinds: Iterable[str]) -> str:
        """The replaced and deleted images of these kinds, likewise."""
        wanted = set(kinds)
        return _json(each for each in self.former if each[0] in wanted)

    def document(self) -> dict[str, Any]:
        """The ledger as JSON can carry it from one process to another."""
        return {
            "rows": [(kind, key, image) for (kind, key), image in self.rows.items()],
            "former": self.former,
            "touched": {pool: sorted(keys) for pool, keys in self.touched.items()},
            "transactions": self.transactions,
            "writes": self.writes,
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Ledger:
        """What `document` gave."""
        return cls(
            rows={(kind, key): image for kind, key, image in document["rows"]},
            former=[(kind, key, image) for kind, key, image in document["former"]],
            touched={pool: set(keys) for pool, keys in document["touched"].items()},
            transactions=document["transactions"],
            writes=document["writes"],
        )

    def _touch(self, touched: Mapping[str, Iterable[str]]) -> None:
        for pool, keys in touched.items():
            self.touched.setdefault(pool, set()).update(keys)


def _json(entries: Iterable[tuple[str, str, str]]) -> str:
    rows = [{"kind": kind, "id": key, "row": orjson.Fragment(image)} for kind, key, image in entries]
    return orjson.dumps(rows).decode()
