"""Statements of a move, rendered in one place: converge, its keys, every key there is.

Keys go in as one array parameter per key component (%(k1)s, %(k2)s …), in PostgreSQL's array notation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from psycopg import sql

from sql.compare import any_differs
from sql.model import Move, Source, TargetColumn
from sql.names import Name, quote

_PARAMETER = re.compile(r"(?<![:\w]):(keys|key\d+|since|until)\b")
_NEEDS_ESCAPE = re.compile(r'["\\]')


def array_literal(texts: Sequence[str]) -> str:
    """Texts as PostgreSQL's array input, every element quoted (chapter 8.15.6)."""
    if not texts:
        return "{}"
    joined = '","'.join(texts)
    if "\\" in joined or joined.count('"') != 2 * (len(texts) - 1):
        joined = '","'.join(_NEEDS_ESCAPE.sub(r"\\\g<0>", text) for text in texts)
    return '{"' + joined + '"}'


def _placeholder(name: str) -> str:
    """Stands for a parameter until the percent signs of identifiers have been doubled."""
    return f"\0{name}\0"


def _parameterised(text: str) -> str:
    return re.sub("\0([a-z0-9]+)\0", r"%(\1)s", text.replace("%", "%%"))


def key_parameters(keys: Sequence[tuple[str, ...]], width: int) -> dict[str, str]:
    """Keys as the parameters of the statements here."""
    return {f"k{at + 1}": array_literal([key[at] for key in keys]) for at in range(width)}


def base_type(column: TargetColumn) -> str:
    """The column's type without its modifier, so that a cast neither rounds nor truncates."""
    bare = re.sub(r"\(\d+(,-?\d+)?\)", "", column.type)
    return {"character": "bpchar", "bit": "varbit"}.get(bare, bare)


def output(value: str) -> str:
    """SQL for the text that pgoutput sends for a value: the type's output function. A cast to text is another one for
    bool (`true`) and inet (`10.0.0.1/32`), and a key in two notations would have two partitions."""
    return f"format('%s', {value})"


def due_keys(text: str, move: Move) -> str:
    """A refresh's keys query, with :since and :until bound, and its keys as pgoutput would send them."""
    names = [f"k{at + 1}" for at in range(len(move.key))]
    texts = ", ".join(output(f"due.{name}").replace("%", "%%") for name in names)
    present = " AND ".join(f"due.{name} IS NOT NULL" for name in names)
    return f"SELECT {texts} FROM (\n{bind(text, move)}\n) AS due ({', '.join(names)}) WHERE {present}"


def bind(text: str, move: Move) -> str:
    """A plan's statement with its :keys, :key1 …, :since, :until as parameters, and its percent signs doubled."""

    def parameter(match: re.Match[str]) -> str:
        word = match[1]
        if word in ("since", "until"):
            return f"%({word})s::timestamptz"
        at = 0 if word == "keys" else int(word[3:]) - 1
        return f"%(k{at + 1})s::{base_type(move.key[at])}[]"

    return _PARAMETER.sub(parameter, text.replace("%", "%%").strip().rstrip(";"))


def changed_columns(move: Move, sources: Iterable[str]) -> tuple[TargetColumn, ...]:
    """The written columns that a change of these sources can change; all of them where rows may come or go."""
    names = set(sources)
    if move.rows != "existing" or not names or move.target.sql in names:
        return move.written
    return tuple(column for column in move.written if names & {source.sql for source in column.depends})


def converge(move: Move, columns: Sequence[TargetColumn]) -> str:
    """The statement that makes the target equal to the mapping for the given keys.

    One row comes back: rows in the mapping, rows updated, inserted, deleted, and the keys for which the mapping
    yields more than one row (text[][], or NULL), which are left alone (A7, A8).
    """
    parts = [_mapping_rows(move, columns), _update(move, columns)]
    counts = ["(SELECT count(*) FROM v)", "(SELECT count(*) FROM updated)"]
    if move.rows == "existing":
        counts += ["0", "0"]
    else:
        parts += [_insert(move, columns), *_delete(move)]
        counts += ["(SELECT count(*) FROM inserted)", "(SELECT count(*) FROM deleted)"]
    if move.unique:
        counts.append("NULL::text[]")
    else:
        texts = ", ".join(output(f"v.{quote(k.name)}") for k in move.key)
        counts.append(f'(SELECT array_agg(DISTINCT ARRAY[{texts}]) FROM v WHERE v."cutover rows" > 1)')
    return _parameterised("WITH " + ",\n".join(parts) + f"\nSELECT {', '.join(counts)}")


def _mapping_rows(move: Move, columns: Sequence[TargetColumn]) -> str:
    """Materialized, so that PostgreSQL drops the joins nobody asks for and evaluates each expression once."""
    names = [quote(column.name) for column in (*move.key, *columns)]
    key = [quote(column.name) for column in move.key]
    rows = "" if move.unique else f', count(*) OVER (PARTITION BY {", ".join("m." + k for k in key)}) AS "cutover rows"'
    listed = ", ".join(f"m.{name}" for name in names)
    if len(key) == 1:
        return (
            f"v AS MATERIALIZED (SELECT {listed}{rows} FROM {move.view} m"
            f" WHERE m.{key[0]} = ANY ({_placeholder('k1')}::{base_type(move.key[0])}[]))"
        )
    # One lookup per key: an = ANY per component would probe their cross product.
    match = " AND ".join(f"x.{k} = k.{k}" for k in key)
    inner = ", ".join(f"x.{name}" for name in names)
    return (
        f"k AS ({_given_keys(move)}),\nv AS MATERIALIZED (SELECT {listed}{rows} FROM k"
        f" CROSS JOIN LATERAL (SELECT {inner} FROM {move.view} x WHERE {match} OFFSET 0) m)"
    )


def _given_keys(move: Move) -> str:
    """A SELECT of the keys given as parameters; raw text, for use within this module."""
    arrays = ", ".join(f"{_placeholder(f'k{at + 1}')}::{base_type(k)}[]" for at, k in enumerate(move.key))
    names = ", ".join(quote(k.name) for k in move.key)
    return f"SELECT {names} FROM unnest({arrays}) AS given ({names})"


def _single(move: Move) -> str:
    return "" if move.unique else ' AND v."cutover rows" = 1'


def _same_key(move: Move, left: str, right: str) -> str:
    return " AND ".join(f"{left}.{quote(k.name)} = {right}.{quote(k.name)}" for k in move.key)


def _update(move: Move, columns: Sequence[TargetColumn]) -> str:
    if not columns:
        return "updated AS (SELECT WHERE false)"
    assigned = ", ".join(f"{quote(c.name)} = v.{quote(c.name)}" for c in columns)
    return f"updated AS (UPDATE {move.target} t SET {assigned} FROM v WHERE {_behind(move, columns)} RETURNING 1)"


def _behind(move: Move, columns: Sequence[TargetColumn]) -> str:
    """Which rows `t` of the target the move may write, and are to have other values of these columns, from `v`."""
    mine = ""
    if move.owned and move.existing != "overwrite":
        mine = f" AND EXISTS (SELECT FROM {move.owned} o WHERE {_same_key(move, 'o', 'v')})"
    return f"{_same_key(move, 't', 'v')}{_single(move)}{mine} AND {any_differs(columns, 'v', 't')}"


def free(move: Move, columns: Sequence[TargetColumn]) -> str:
    """The statement that gives up what the given keys' rows have in the way of one another: in these columns, where
    they are to be another value, and as rows that are to go. `converge` of the same keys gives them the new values.

    One row comes back: rows that need no more (NULL is what they are to have), and rows deleted.
    """
    parts = [_mapping_rows(move, move.written)]
    counts = ["0", "0"]
    if columns:
        rest = [column for column in move.written if column not in columns]
        assigned = ", ".join(f"{quote(c.name)} = NULL" for c in columns)
        done = " AND ".join([*(f"v.{quote(c.name)} IS NULL" for c in columns), f"NOT {any_differs(rest, 'v', 't')}"])
        parts.append(
            f"freed AS (UPDATE {move.target} t SET {assigned} FROM v WHERE {_behind(move, columns)}"
            f" RETURNING {done} AS done)"
        )
        counts[0] = "(SELECT count(*) FROM freed WHERE done)"
    if move.rows != "existing":
        parts += _delete(move)
        counts[1] = "(SELECT count(*) FROM deleted)"
    return _parameterised("WITH " + ",\n".join(parts) + f"\nSELECT {', '.join(counts)}")


def _insert(move: Move, columns: Sequence[TargetColumn]) -> str:
    names = [quote(c.name) for c in (*move.key, *columns)]
    key = ", ".join(quote(k.name) for k in move.key)
    listed = ", ".join(names)
    insert = (
        f"inserted AS (INSERT INTO {move.target} ({listed}) OVERRIDING SYSTEM VALUE"
        f" SELECT {', '.join('v.' + n for n in names)} FROM v"
        f" WHERE NOT EXISTS (SELECT FROM {move.target} t WHERE {_same_key(move, 't', 'v')}){_single(move)}"
        f" RETURNING {key})"
    )
    if move.owned:
        insert += (
            f",\nremembered AS (INSERT INTO {move.owned} ({key}) SELECT {key} FROM inserted ON CONFLICT DO NOTHING)"
        )
    return insert


def _delete(move: Move) -> list[str]:
    gone = f"NOT EXISTS (SELECT FROM v WHERE {_same_key(move, 'v', 'g')})"
    given = f"({_given_keys(move)}) g"
    if not move.owned:
        return [
            f"deleted AS (DELETE FROM {move.target} t USING {given}"
            f" WHERE {_same_key(move, 't', 'g')} AND {gone} RETURNING 1)"
        ]
    return [
        f"deleted AS (DELETE FROM {move.target} t USING {given}, {move.owned} o WHERE {_same_key(move, 't', 'g')}"
        f" AND {_same_key(move, 'o', 'g')} AND {gone} RETURNING 1)",
        f"forgotten AS (DELETE FROM {move.owned} o USING {given} WHERE {_same_key(move, 'o', 'g')} AND {gone})",
    ]


def every_key(move: Move, limit: int, *, after: bool, order: Sequence[str | None]) -> str:
    """The next `limit` keys in order, of all that may need a touch: the mapping's, those that only the target has, and
    the sources' own where a row that the mapping leaves out matters: to `backfill = "rows"`, and to an annotation,
    which may have to take back what it wrote there.

    With `after`, beyond the key given as %(c1)s, %(c2)s … (text). `order`: see `one_order`, of all relations here; if
    each portion had an order of its own, the last of the keys would say nothing of where the others are.
    """
    names = [quote(k.name) for k in move.key]
    relations: list[Name] = [move.view]
    if move.rows == "all":
        relations.append(move.target)
    elif move.owned:
        relations.append(move.owned)
    portions = [_portion(move, "SELECT", it, names, limit, after, order) for it in relations]
    for table, columns in key_readers(move):
        cast = [f"{quote(column)}::{base_type(key)}" for column, key in zip(columns, move.key, strict=True)]
        portions.append(_portion(move, "SELECT DISTINCT", table, cast, limit, after, order))
    texts = ", ".join(output(f"every.{name}") for name in names)
    last = ", ".join(f"every.{name}" for name in names)
    return _parameterised(f"SELECT {texts} FROM ({' UNION '.join(portions)}) every ORDER BY {last} LIMIT {limit:d}")


def key_readers(move: Move) -> list[tuple[Name, tuple[str, ...]]]:
    """The sources whose own keys need a touch, whether the mapping shows them or not, each with its key's columns."""
    if move.backfill != "rows" and not move.annotate_sql:
        return []
    return [(each.name, columns) for each in move.sources for columns in each.keys]


def _portion(
    move: Move, select: str, relation: Name, keys: Sequence[str], limit: int, after: bool, order: Sequence[str | None]
) -> str:
    """The next keys of one relation."""
    columns = [f"{it} COLLATE {sorted_by}" if sorted_by else it for it, sorted_by in zip(keys, order, strict=True)]
    where = " AND ".join(f"{it} IS NOT NULL" for it in keys)
    if after:
        beyond = ", ".join(f"{_placeholder(f'c{at + 1}')}::{base_type(key)}" for at, key in enumerate(move.key))
        where += f" AND ({', '.join(columns)}) > ({beyond})"
    listed = ", ".join(f"{it} AS {quote(key.name)}" for it, key in zip(columns, move.key, strict=True))
    by = ", ".join(str(at + 1) for at in range(len(columns)))
    return f"({select} {listed} FROM {relation} WHERE {where} ORDER BY {by} LIMIT {limit:d})"


def source_rows(move: Move, source: Source) -> str:
    """All rows of a source for the keys given as parameters, with the columns that may enter the log."""
    listed = ", ".join(f"s.{quote(column)}" for column in source.columns)
    columns = [f"s.{quote(column)}" for column in source.keys[0]]
    if len(columns) == 1:
        where = f"{columns[0]} = ANY ({_placeholder('k1')}::{base_type(move.key[0])}[])"
        return _parameterised(f"SELECT {listed} FROM {source.name} s WHERE {where}")
    match = " AND ".join(f"{column} = k.{quote(key.name)}" for column, key in zip(columns, move.key, strict=True))
    return _parameterised(f"SELECT {listed} FROM ({_given_keys(move)}) k JOIN {source.name} s ON {match}")


def too_long(move: Move, columns: Sequence[TargetColumn], limit: int) -> str:
    """For the given keys, of which of these columns the mapping's text has more than `limit` characters.

    Spaces at the end do not count: PostgreSQL cuts them where they are too many. One row a key: text[], then bools.
    """
    key = ", ".join(output(f"v.{quote(k.name)}") for k in move.key)
    tests = ", ".join(f"length(rtrim(v.{quote(column.name)}::text, ' ')) > {limit:d}" for column in columns)
    return _parameterised(f"WITH {_mapping_rows(move, columns)}\nSELECT ARRAY[{key}], {tests} FROM v")


def alone(move: Move, columns: Sequence[TargetColumn]) -> str:
    """Read these columns of the mapping for the given keys and convert them to the target's types, for what that
    raises; none: the keys' rows alone."""
    counts = ["count(*)", *(f"count(v.{quote(column.name)}::{column.type})" for column in columns)]
    return _parameterised(f"WITH {_mapping_rows(move, columns)}\nSELECT {', '.join(counts)} FROM v")


def look(move: Move, key: Sequence[str]) -> str:
    """A statement for a person: the row of one key on both sides, one above the other."""
    names = ", ".join(quote(column.name) for column in (*move.key, *move.written))
    same = " AND ".join(
        f"{quote(column.name)} = {_literal(text)}::{base_type(column)}"
        for column, text in zip(move.key, key, strict=True)
    )
    return (
        f"SELECT 'legacy' AS side, {names} FROM {move.view} WHERE {same}\n"
        f"UNION ALL\nSELECT 'consolidated', {names} FROM {move.target} WHERE {same};"
    )


def _literal(text: str) -> str:
    return sql.Literal(text).as_string(None)
