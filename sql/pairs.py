"""Mapping and target side by side, rendered: a chunk of keys, single keys with their evidence, their cells.

Inside every statement the mapping is `v` and the target `t`. Keys and bounds go in as text: arrays %(k1)s, %(k2)s …
as in `sql.render`, bounds %(lo1)s … (exclusive) and %(hi1)s … (inclusive).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from sql.compare import any_differs, differs, image
from sql.mask import MASKED, literal, unlike
from sql.model import Move, Source
from sql.names import quote
from sql.narrowed import Narrowed
from sql.render import _parameterised, _placeholder, base_type

Side = Literal["legacy", "consolidated"]

_CAP = "cap"
# Aliases that no column of a plan has.
_MINE, _ROWS, _VERSION, _NUMBER = '"#mine"', '"#rows"', '"#version"', '"#number"'
_FIRST, _HASH, _WHERE = '"#1"', '"#hash"', '"#where"'


@dataclass(frozen=True, slots=True)
class Pairs:
    """The statements that compare one move. `collations`: by key column, where both sides sort by different ones."""

    move: Move
    collations: tuple[str | None, ...]
    target_unique: bool
    where: str | None = None  # a condition on `r`: only keys that satisfy it on either side count
    narrowed: Narrowed | None = None  # the mapping for a chunk's range to be written into; None: chunks read the view
    few_others: bool = False  # nearly every row of the target is the move's own: chunks look it up where it matters

    # -- chunks --------------------------------------------------------------------------------------------------------

    def chunk(self, *, low: bool, high: bool, narrowed: bool = True) -> str:
        """Compare the keys in (lo, hi]; bounds that are False are open. `narrowed`: they are written into the
        mapping's sources, where it can take them.

        One row: rows of the mapping, rows of the target in scope, rows of the target out of scope, pairs, pairs that
        differ but are kept by rule, pairs that differ, their keys as text[][] (at most %(cap)s).
        """
        changed = any_differs(self.move.written, "v", "t")
        mine, others, kept = "true", "0", "0"
        if self.move.owned:
            mine = self._own_key("t") if self.few_others else f"t.{_MINE}"
            others = f"count(*) FILTER (WHERE v.{_FIRST} IS NULL AND NOT {mine})"
        if self._keeps:
            both = f"v.{_FIRST} IS NOT NULL AND t.{_FIRST} IS NOT NULL"
            kept = f"count(*) FILTER (WHERE {both} AND {changed} AND NOT {mine})"
            changed = f"({changed} AND {mine})"
        different = f"t.{_FIRST} IS NULL OR CASE WHEN v.{_FIRST} IS NULL THEN {mine} ELSE {changed} END"
        keys = f"array_agg(ARRAY[{self._key_texts('coalesce(v.{0}, t.{0})')}]) FILTER (WHERE {different})"
        target = self._side("consolidated", low, high, own=not self.few_others)
        legacy = self._side("legacy", low, high, self._ranged(low, high) if narrowed else None)
        # In two steps, or what fills the array would be computed once for its length and once for its elements.
        return _parameterised(
            f"SELECT pairs - extra, pairs - missing - others, others, pairs - others, kept,"
            f" coalesce(array_length(keys, 1), 0), keys[1:{_placeholder(_CAP)}::int]"
            # Of each pair as little is counted as can be: the rest follows.
            f" FROM (SELECT count(*) AS pairs, count(*) FILTER (WHERE v.{_FIRST} IS NULL) AS extra,"
            f" count(*) FILTER (WHERE t.{_FIRST} IS NULL) AS missing, {others} AS others, {kept} AS kept,"
            f" {keys} AS keys"
            f" FROM ({legacy}) v FULL JOIN ({target}) t"
            f" ON {self._same('v', 't')}{self._satisfied('v', 't')}) c"
        )

    def disagreements(self, *, low: bool, high: bool) -> str:
        """Keys in (lo, hi] whose row belongs to others and is not as the mapping says, as texts; of an `add` move."""
        changed = any_differs(self.move.written, "v", "t")
        return _parameterised(
            f"SELECT {self._key_texts('v.{0}')} FROM ({self._side('legacy', low, high)}) v"
            f" JOIN ({self._side('consolidated', low, high)}) t ON {self._same('v', 't')}"
            f" WHERE NOT t.{_MINE} AND {changed} ORDER BY {', '.join(f'v.{alias}' for alias in self._aliases)}"
        )

    def drawn(self, *, low: bool, high: bool, capped: bool) -> str:
        """Draw keys of either side in (lo, hi] whose hash is at most %(below)s; `capped`: the %(cap)s lowest.

        One row: number of keys in the range, the drawn ones as text[][] with their hash in front.
        """
        keys = ", ".join(self._aliases)
        owned = f" JOIN {self.move.owned} o ON {self._same_names('o', 'r')}" if self.move.owned else ""
        hashed = f"{_placeholder('seed')}::bigint"
        for alias in self._aliases:  # each component seeds the next: ('a', 'bc') is not ('ab', 'c')
            hashed = f'hashtextextended(concat(k.{alias}) COLLATE "C", {hashed})'
        limit = f" LIMIT {_placeholder(_CAP)}::bigint" if capped else ""
        texts = ", ".join(f"concat(h.{alias})" for alias in self._aliases)
        return _parameterised(
            f"WITH k AS MATERIALIZED (SELECT {self._named_keys('r')} FROM {self.move.view} r"
            f" WHERE {self._range('r', low, high)} UNION"
            f" SELECT {self._named_keys('r')} FROM {self.move.target} r{owned} WHERE {self._range('r', low, high)}),"
            f" h AS (SELECT {keys}, {hashed} AS {_HASH} FROM k)"
            f" SELECT (SELECT count(*) FROM k), ARRAY(SELECT ARRAY[h.{_HASH}::text, {texts}] FROM h"
            f" WHERE h.{_HASH} <= {_placeholder('below')}::bigint ORDER BY h.{_HASH}{limit})"
        )

    def bound(self, side: Side, *, low: bool, high: bool) -> str:
        """The key %(skip)s places after lo on one side, as texts; no row when there is none."""
        keys = self._aliases
        relation = self.move.view if side == "legacy" else self.move.target
        return _parameterised(
            f"SELECT {self._key_texts('b.{0}')} FROM (SELECT {self._named_keys('r')} FROM {relation} r"
            f" WHERE {self._range('r', low, high)} ORDER BY {', '.join(self._key(at, 'r') for at in range(len(keys)))}"
            f" OFFSET {_placeholder('skip')}::bigint LIMIT 1) b"
        )

    def keys_between(self, side: Side, *, low: bool, high: bool) -> str:
        """Every key of one side in (lo, hi], as texts, at most %(cap)s."""
        relation = self.move.view if side == "legacy" else self.move.target
        return _parameterised(
            f"SELECT {self._key_texts('b.{0}')} FROM (SELECT {self._named_keys('r')} FROM {relation} r"
            f" WHERE {self._range('r', low, high)} LIMIT {_placeholder(_CAP)}::bigint) b"
        )

    def count_between(self, side: Side, *, low: bool, high: bool) -> str:
        """The number of rows of one side in (lo, hi]."""
        relation = self.move.view if side == "legacy" else self.move.target
        return _parameterised(f"SELECT count(*) FROM {relation} r WHERE {self._range('r', low, high)}")

    def estimate(self, side: Side) -> str:
        """EXPLAIN of one side's keys: the planner's number of rows."""
        relation = self.move.view if side == "legacy" else self.move.target
        return _parameterised(f"EXPLAIN (FORMAT JSON) SELECT {self._named_keys('r')} FROM {relation} r")

    def duplicates(self, side: Side, *, low: bool, high: bool) -> str:
        """Keys in (lo, hi] that one side has more than once, as texts, with their number; at most %(cap)s."""
        keys = ", ".join(f"s.{alias}" for alias in self._aliases)
        tests = [f"s.{_MINE}"] if side == "consolidated" and self.move.owned else []
        tests += [f"s.{_WHERE}"] if self.where else []
        mine = f" WHERE {' AND '.join(tests)}" if tests else ""
        return _parameterised(
            f"SELECT {self._key_texts('s.{0}')}, count(*) FROM ({self._side(side, low, high)}) s{mine}"
            f" GROUP BY {keys} HAVING count(*) > 1 LIMIT {_placeholder(_CAP)}::bigint"
        )

    def null_keys(self, side: Side) -> str:
        """How many rows of one side have a key with a NULL in it."""
        relation = self.move.view if side == "legacy" else self.move.target
        empty = " OR ".join(f"{quote(key.name)} IS NULL" for key in self.move.key)
        return _parameterised(f"SELECT count(*) FROM {relation} WHERE {empty}")

    # -- single keys ---------------------------------------------------------------------------------------------------

    def observe(self) -> str:
        """How the given keys stand, by their number from 1.

        Rows of: number, rows of the mapping, rows of the target, is the row converge's own, a boolean[] as text (does
        it differ, in the order of `move.written`), digests of both sides' values, version of the target's row.
        """
        flags = ", ".join(differs(c, f"v.{quote(c.name)}", f"t.{quote(c.name)}") for c in self.move.written)
        return _parameterised(
            f"WITH {self._given_pairs}"
            f" SELECT DISTINCT ON (g.{_NUMBER}) g.{_NUMBER}, coalesce(v.{_ROWS}, 0), coalesce(t.{_ROWS}, 0),"
            f" coalesce(t.{_MINE}, false),"
            f" ARRAY[{flags}]::boolean[]::text,"
            f" CASE WHEN v.{_ROWS} IS NOT NULL THEN {self._digest('v')} END,"
            f" CASE WHEN t.{_ROWS} IS NOT NULL THEN {self._digest('t')} END, t.{_VERSION}"
            f" FROM g LEFT JOIN v ON {self._same('v', 'g')} LEFT JOIN t ON {self._same('t', 'g')}"
            " ORDER BY 1, 6, 7"  # the digests by their place: as expressions, they would be computed twice
        )

    def cells(self) -> str:
        """Both sides' values of `move.written` for the given keys, as text: number, text[], text[], text[].

        A masked column's values do not leave the database: MASKED stands for them, and the third array says how they
        differ in kind. It is NULL where a column is not masked.
        """
        legacy, consolidated = (
            ", ".join(
                f"CASE WHEN num_nulls({side}.{quote(c.name)}) = 0 THEN"
                f" {literal(MASKED) if c.name in self.move.mask else f'concat({side}.{quote(c.name)})'} END"
                for c in self.move.written
            )
            for side in ("v", "t")
        )
        masked = ", ".join(
            unlike(c, f"v.{quote(c.name)}", f"t.{quote(c.name)}") if c.name in self.move.mask else "NULL"
            for c in self.move.written
        )
        return _parameterised(
            f"WITH {self._given_pairs} SELECT DISTINCT ON (g.{_NUMBER}) g.{_NUMBER},"
            f" ARRAY[{legacy}]::text[], ARRAY[{consolidated}]::text[], ARRAY[{masked}]::text[]"
            f" FROM g LEFT JOIN v ON {self._same('v', 'g')} LEFT JOIN t ON {self._same('t', 'g')}"
            f" ORDER BY g.{_NUMBER}, {self._digest('v')}, {self._digest('t')}"
        )

    def versions(self, source: Source, columns: Sequence[str]) -> str:
        """The versions of a source's rows with the given keys: number, text.

        A row version never changes: while (table, ctid, xmin) are the same, so is the row, also where its values went
        from A to B and back (PostgreSQL documentation, chapter 5.6 "System Columns").
        """
        same = " AND ".join(
            f"s.{quote(column)} = g.{alias}" for column, alias in zip(columns, self._aliases, strict=True)
        )
        return _parameterised(
            f"WITH {self._given} SELECT g.{_NUMBER}, string_agg(concat_ws(':', s.tableoid, s.ctid, s.xmin), ' '"
            f" ORDER BY s.tableoid, s.ctid) FROM g JOIN {source.name} s ON {same} GROUP BY g.{_NUMBER}"
        )

    # -- parts ---------------------------------------------------------------------------------------------------------

    @property
    def _keeps(self) -> bool:
        return self.move.owned is not None and self.move.existing == "keep"

    @property
    def _aliases(self) -> tuple[str, ...]:
        return tuple(f'"#{at + 1}"' for at in range(len(self.move.key)))

    def _key(self, at: int, relation: str) -> str:
        """A key column of a relation, sorted as the target sorts it."""
        return self._sorted(at, f"{relation}.{quote(self.move.key[at].name)}")

    def _sorted(self, at: int, name: str) -> str:
        collation = self.collations[at]
        return f"{name} COLLATE {collation}" if collation else name

    def _named_keys(self, relation: str) -> str:
        return ", ".join(f"{self._key(at, relation)} AS {alias}" for at, alias in enumerate(self._aliases))

    def _key_texts(self, template: str) -> str:
        """The key's components as PostgreSQL prints them (`concat` calls the output function; a cast need not)."""
        return ", ".join(f"concat({template.format(alias)})" for alias in self._aliases)

    def _same(self, left: str, right: str) -> str:
        return " AND ".join(f"{left}.{alias} = {right}.{alias}" for alias in self._aliases)

    def _range(self, relation: str, low: bool, high: bool) -> str:
        return self._within([f"{relation}.{quote(key.name)}" for key in self.move.key], low, high)

    def _within(self, names: Sequence[str], low: bool, high: bool) -> str:
        columns = [self._sorted(at, name) for at, name in enumerate(names)]
        tests = [f"{name} IS NOT NULL" for name in names]
        for bounded, operator, word in ((low, ">", "lo"), (high, "<=", "hi")):
            if bounded:
                bounds = [
                    f"{_placeholder(f'{word}{at + 1}')}::{base_type(key)}" for at, key in enumerate(self.move.key)
                ]
                tests.append(f"({', '.join(columns)}) {operator} ({', '.join(bounds)})")
        return " AND ".join(tests)

    def _values(self, relation: str) -> str:
        return "".join(f", {relation}.{quote(column.name)}" for column in self.move.written)

    def _ranged(self, low: bool, high: bool) -> str:
        """The mapping; where it can be, with the range in its sources."""
        if self.narrowed is None:
            return self.move.view.sql
        return f"({self.narrowed.query(partial(self._within, low=low, high=high))})"

    def _side(self, side: Side, low: bool, high: bool, mapping: str | None = None, *, own: bool = True) -> str:
        """One side's rows in (lo, hi]; with `own` those of the target say whether they are this move's own."""
        relation = mapping or (self.move.view if side == "legacy" else self.move.target).sql
        mine, join = "", ""
        if side == "consolidated" and self.move.owned and own:
            # PostgreSQL carries no range over a LEFT JOIN: it would read all of this for each chunk.
            within = f" w WHERE {self._range('w', low, high)}"
            mine, join = f", (o.own IS NOT NULL) AS {_MINE}", self._owned_join("r", within)
        satisfied = "" if self.where is None else f", ({self.where}\n) AS {_WHERE}"
        return (
            f"SELECT {self._named_keys('r')}{self._values('r')}{mine}{satisfied} FROM {relation} r{join}"
            f" WHERE {self._range('r', low, high)}"
        )

    def _owned_join(self, relation: str, within: str = "") -> str:
        keys = ", ".join(quote(key.name) for key in self.move.key)
        owned = f"SELECT {keys}, true AS own FROM {self.move.owned}{within}"
        return f" LEFT JOIN ({owned}) o ON {self._same_names('o', relation)}"

    def _own_key(self, relation: str) -> str:
        """Is that relation's key one of the move's own? Looked up when it is asked; never NULL."""
        names = zip(self.move.key, self._aliases, strict=True)
        same = " AND ".join(f"o.{quote(key.name)} = {relation}.{alias}" for key, alias in names)
        # Not EXISTS, which PostgreSQL may answer by reading all of it into a hash table.
        return f"coalesce((SELECT true FROM {self.move.owned} o WHERE {same}), false)"

    def _same_names(self, left: str, right: str) -> str:
        return " AND ".join(f"{left}.{quote(key.name)} = {right}.{quote(key.name)}" for key in self.move.key)

    def _satisfied(self, left: str, right: str) -> str:
        return "" if self.where is None else f" WHERE {left}.{_WHERE} OR {right}.{_WHERE}"

    @property
    def _given(self) -> str:
        arrays = ", ".join(f"{_placeholder(f'k{at + 1}')}::{base_type(key)}[]" for at, key in enumerate(self.move.key))
        return f"g AS (SELECT * FROM unnest({arrays}) WITH ORDINALITY AS given ({', '.join(self._aliases)}, {_NUMBER}))"

    @property
    def _given_pairs(self) -> str:
        """CTEs g (the given keys), v and t (their rows, each with the number of rows of that key)."""
        rows = f"count(*) OVER (PARTITION BY {', '.join(self._aliases)}) AS {_ROWS}"
        mine, join = (
            (f"(o.own IS NOT NULL) AS {_MINE}", self._owned_join("r")) if self.move.owned else (f"true AS {_MINE}", "")
        )
        version = f"concat_ws(':', r.tableoid, r.ctid, r.xmin) AS {_VERSION}"
        target = f"SELECT {self._named_keys('r')}{self._values('r')}, {mine}, {version} FROM {self.move.target} r{join}"
        mapping = f"SELECT {self._named_keys('r')}{self._values('r')} FROM {self.move.view} r"
        return (
            f"{self._given}, v AS MATERIALIZED (SELECT *, {rows} FROM ({self._of_given(mapping)}) m),"
            f" t AS MATERIALIZED (SELECT *, {rows} FROM ({self._of_given(target)}) m)"
        )

    def _of_given(self, select: str) -> str:
        """A select over `r`, held to the given keys by a condition that reaches an index through a view."""
        if len(self.move.key) == 1:
            key = self.move.key[0]
            return f"{select} WHERE r.{quote(key.name)} = ANY ({_placeholder('k1')}::{base_type(key)}[])"
        same = " AND ".join(
            f"r.{quote(key.name)} = d.{alias}" for alias, key in zip(self._aliases, self.move.key, strict=True)
        )
        distinct = f"SELECT DISTINCT {', '.join(self._aliases)} FROM g"
        return f"SELECT l.* FROM ({distinct}) d CROSS JOIN LATERAL ({select} WHERE {same} OFFSET 0) l"

    def _digest(self, relation: str) -> str:
        """A digest of one side's values. Used to recognise a state seen before, never to call two rows equal."""
        return f"sha256(convert_to({image(self.move.written, relation)}::text, 'UTF8'))"
