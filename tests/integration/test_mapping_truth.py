"""The analysis of a mapping against what PostgreSQL really does: random mappings, random rows, every single change.

Whatever a change of a source's row alters must be among the keys, columns and sources that the analysis says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sql.connection import Connection, connect
from sql.mapping import MappingAnalysis, analyse
from sql.names import Name
from sql.query import Shape

A, B, C = (Name("w", it) for it in "abc")
COLUMNS = ("id", "k", "x")
TABLES = {
    A: Shape.plain(*COLUMNS, unique=[["id"]]),
    B: Shape.plain(*COLUMNS, unique=[["k"]]),
    C: Shape.plain(*COLUMNS),
}
_SCHEMA = """
CREATE SCHEMA w;
CREATE TABLE w.a (id int, k int, x int, UNIQUE (id));
CREATE TABLE w.b (id int, k int, x int, UNIQUE (k));
CREATE TABLE w.c (id int, k int, x int);
"""
Rows = Mapping[Name, list[tuple[int | None, ...]]]
_VALUE = st.sampled_from([0, 1, 2, 0, 1, 2, None])


@st.composite
def _rows(draw: st.DrawFn) -> Rows:
    row = st.tuples(_VALUE, _VALUE, _VALUE)
    return {
        A: draw(st.lists(row, min_size=1, max_size=4, unique_by=lambda it: it[0] if it[0] is not None else object())),
        B: draw(st.lists(row, min_size=1, max_size=4, unique_by=lambda it: it[1] if it[1] is not None else object())),
        C: draw(st.lists(row, min_size=1, max_size=4)),
    }


class _Writer:
    """Writes random SELECTs whose every FROM item has the columns id, k and x."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw, self.count = draw, 0

    def alias(self) -> str:
        self.count += 1
        return f"t{self.count}"

    def often(self) -> bool:
        return self.draw(st.integers(0, 9)) > 1

    def three(self, aliases: list[str]) -> tuple[str, str, str]:
        first = f"{aliases[0]}.id" if self.often() else self.column(aliases)
        return first, self.column(aliases), self.column(aliases)

    def flip(self) -> bool:
        return self.draw(st.booleans())

    def pick(self, *choices: str) -> str:
        return self.draw(st.sampled_from(choices))

    def column(self, aliases: list[str]) -> str:
        return f"{self.pick(*aliases)}.{self.pick(*COLUMNS)}"

    def condition(self, mine: list[str], outer: list[str], depth: int) -> str:
        kind = self.pick(
            "equal", "equal", "equal", "equal", "constant", "null-safe", "row", "or", "exists", "in", "not"
        )
        one = self.column(mine)
        if kind == "equal" and outer and self.often():  # correlated on the key, as in a mapping that makes sense
            return f"{mine[0]}.{self.pick(*COLUMNS)} = {self.pick(*outer)}.id"
        if kind in ("equal", "null-safe"):
            sign = "=" if kind == "equal" else "IS NOT DISTINCT FROM"
            return f"{one} {sign} {self.column(mine + outer)}"
        if kind == "constant":
            return f"{one} = {self.pick('0', '1', '2')}"
        if kind == "row":
            return f"({one}, {self.column(mine)}) = ({self.column(mine + outer)}, {self.column(mine + outer)})"
        if kind == "or" or depth <= 0:
            return f"({one} = {self.column(mine + outer)} OR {self.column(mine)} = 1)"
        inner = self.select(depth - 1, mine + outer)
        if kind == "in":
            return f"{one} {self.pick('IN', '= ANY', 'NOT IN')} (SELECT q.{self.pick(*COLUMNS)} FROM ({inner}) q)"
        return f"{'NOT ' if kind == 'not' else ''}EXISTS ({inner})"

    def conditions(self, mine: list[str], outer: list[str], depth: int) -> str:
        return " AND ".join(self.condition(mine, outer, depth) for _ in range(1 if self.often() else 2))

    def item(self, depth: int, lateral: list[str]) -> tuple[str, list[str]]:
        alias = self.alias()
        if depth <= 0 or self.flip():
            return f"w.{self.pick('a', 'b', 'c')} {alias}", [alias]
        if lateral and self.flip():
            return f"LATERAL ({self.select(depth - 1, lateral)}) {alias}", [alias]
        return f"({self.select(depth - 1, [])}) {alias}", [alias]

    def tree(self, depth: int, outer: list[str]) -> tuple[str, list[str]]:
        text, aliases = self.item(depth, outer)
        for _ in range(self.draw(st.integers(0, 2))):
            kind = self.pick("JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
            right, added = self.item(depth, aliases + outer if kind in ("JOIN", "LEFT JOIN") else [])
            on = f"{self.column(added)} = {f'{aliases[0]}.id' if self.often() else self.column(aliases)}"
            if kind != "FULL JOIN" and self.flip():  # PostgreSQL joins fully on equalities of both sides only
                on += f" AND {self.conditions(aliases + added, outer, depth - 1)}"
            text, aliases = f"({text} {kind} {right} ON {on})", aliases + added
        return text, aliases

    def select(self, depth: int, outer: list[str]) -> str:
        kind = self.pick("plain", "plain", "plain", "group", "distinct", "on", "limit", "window", "total", "set")
        if kind == "set" and depth > 0:
            left, right = self.plain(depth - 1, outer), self.plain(depth - 1, outer)
            return f"{left} {self.pick('UNION', 'UNION ALL', 'EXCEPT')} {right}"
        text, aliases = self.tree(depth, outer)
        where = f" WHERE {self.conditions(aliases, outer, depth)}" if outer or not self.often() else ""
        one, two, three = self.three(aliases)
        rest, columns = f"FROM {text}{where}", f"{one} AS id, {two} AS k, {three} AS x"
        if kind == "group":
            return f"SELECT {one} AS id, {two} AS k, sum({three})::int AS x {rest} GROUP BY {one}, {two}"
        if kind == "distinct":
            return f"SELECT DISTINCT {columns} {rest}"
        if kind == "on":
            return f"SELECT DISTINCT ON ({one}) {columns} {rest} ORDER BY {one}, {two}, {three}"
        if kind == "limit":
            return f"SELECT {columns} {rest} ORDER BY 1, 2, 3 LIMIT {self.pick('1', '2')}"
        if kind == "window":
            function = self.pick("row_number()", "count(*)")
            order = f"ORDER BY {two}, {three}" if function == "row_number()" else ""
            inner = f"SELECT {one} AS id, {two} AS k, {function} OVER (PARTITION BY {one} {order}) AS x {rest}"
            alias = self.alias()
            return f"SELECT {alias}.id, {alias}.k, {alias}.x FROM ({inner}) {alias} WHERE {alias}.x = 1"
        if kind == "total":
            return f"SELECT max({one}) AS id, min({two}) AS k, count(*)::int AS x {rest}"
        return self.outputs(one, two, three, rest, aliases, outer, depth)

    def plain(self, depth: int, outer: list[str]) -> str:
        text, aliases = self.tree(depth, outer)
        one, two, three = self.three(aliases)
        return self.outputs(one, two, three, f"FROM {text}", aliases, outer, depth)

    def outputs(
        self, one: str, two: str, three: str, rest: str, aliases: list[str], outer: list[str], depth: int
    ) -> str:
        if self.draw(st.integers(0, 3)) == 0:
            one = f"coalesce({one}, {self.column(aliases)})"
        if depth > 0 and self.draw(st.integers(0, 3)) == 0:
            inner = self.plain(depth - 1, aliases + outer)
            three = f"(SELECT sum(q.x)::int FROM ({inner}) q)"
        return f"SELECT {one} AS id, {two} AS k, {three} AS x {rest}"


@st.composite
def _mapping(draw: st.DrawFn) -> str:
    return _Writer(draw).select(draw(st.integers(0, 2)), [])


@st.composite
def _change(draw: st.DrawFn) -> tuple[Name, int, tuple[int | None, ...] | None]:
    """A table, which of its rows (-1: a new one), what it becomes (None: it goes)."""
    table = draw(st.sampled_from([A, B, C]))
    at = draw(st.integers(-1, 11))
    new = draw(st.tuples(_VALUE, _VALUE, _VALUE))
    return table, at, None if at >= 0 and draw(st.booleans()) else new


def _load(conn: Connection, rows: Rows) -> None:
    text = "DELETE FROM w.a; DELETE FROM w.b; DELETE FROM w.c;"
    for table, content in rows.items():
        if content:
            values = ", ".join(str(row) for row in content).replace("None", "NULL")
            text += f" INSERT INTO {table} VALUES {values};"
    conn.execute(text.encode(), prepare=False)


def _valid(rows: Rows) -> bool:
    """Whether the unique constraints of the tables hold."""
    columns = ([row[0] for row in rows[A]], [row[1] for row in rows[B]])
    return all(max(Counter(it for it in found if it is not None).values(), default=0) <= 1 for found in columns)


def _read(conn: Connection, sql: str) -> dict[Any, Counter[tuple[Any, ...]]]:
    found: dict[Any, Counter[tuple[Any, ...]]] = {}
    for row in conn.execute(sql.encode(), prepare=False).fetchall():
        found.setdefault(row[0], Counter())[row] += 1
    return found


def _check(
    found: MappingAnalysis, table: Name, old: tuple[Any, ...] | None, new: tuple[Any, ...] | None,
    before: dict[Any, Counter[tuple[Any, ...]]], after: dict[Any, Counter[tuple[Any, ...]]],
) -> None:  # fmt: skip
    own = {at for at, output in enumerate(found.outputs) if output.own and output.name != "id"}
    untraced = any(str(table) in it.message for it in found.findings if it.code == "untraceable-key")
    source = next((source for source in found.sources if source.name == table), None)
    touched = {
        row[COLUMNS.index(key[0])] for row in (old, new) if row is not None for key in (source.keys if source else ())
    }
    for key in {*before, *after} - {None}:
        one, other = before.get(key, Counter()), after.get(key, Counter())
        if one == other:
            continue
        assert source is not None, f"{key} changed, and {table} is no source"
        assert untraced or key in touched, f"key {key} changed, touched are {touched}"
        unseen = False
        if one.total() != other.total():
            assert table in found.rows, f"rows came or went with {table}"
        elif one.total() == 1:
            row, changed = next(iter(one)), next(iter(other))
            for at, output in enumerate(found.outputs):
                if row[at] != changed[at]:
                    assert table in output.depends, f"{output.name} changed with {table}"
            unseen = all(at in own for at in range(3) if row[at] != changed[at])
        if old is not None and new is not None and not unseen:
            differing = {name for name, was, now in zip(COLUMNS, old, new, strict=True) if was != now}
            assert differing & (source.columns | {it for key in source.keys for it in key}), f"{differing} not captured"


def _unique(found: MappingAnalysis, rows: dict[Any, Counter[tuple[Any, ...]]]) -> bool:
    return not found.unique or all(sum(it.values()) == 1 for key, it in rows.items() if key is not None)


@settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink]
)
@given(sql=_mapping(), rows=_rows(), changes=st.lists(_change(), min_size=1, max_size=6))
def _holds(
    conn: Connection, sql: str, rows: Rows, changes: list[tuple[Name, int, tuple[int | None, ...] | None]]
) -> None:
    found = analyse(sql, ("id",), A, TABLES)
    _load(conn, rows)
    before = _read(conn, sql)
    assert _unique(found, before)
    for table, at, new in changes:
        at = at % len(rows[table]) if at >= 0 else at
        old = rows[table][at] if at >= 0 else None
        if old is None and new is None:
            continue
        content = [row for index, row in enumerate(rows[table]) if index != at or old is None]
        changed = {**rows, table: content + ([new] if new is not None else [])}
        if not _valid(changed):
            continue
        _load(conn, changed)
        after = _read(conn, sql)
        assert _unique(found, after)
        _check(found, table, old, new, before, after)


def test_A8_C6_every_change_stays_within_what_the_analysis_says(dsn: str) -> None:
    with connect(dsn, "truth") as conn:
        conn.execute(_SCHEMA.encode(), prepare=False)
        conn.execute("BEGIN")
        _holds(conn)
