"""What a quick look at the rows says of a plan: duplicate and NULL keys, how often JSON extraction finds something."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from sql.connection import Connection
from sql.counted import counted
from sql.model import Finding
from sql.names import quote
from sql.understood import Understood

ROWS = 10_000  # how many rows of the mapping are read for hit rates
_PATIENCE = "3s"
_FEW = 1_000  # keys are counted up to here


def sample_rows(conn: Connection, it: Understood) -> list[Finding]:
    """Findings about the rows as they are now. Reads only, each query for three seconds at most."""
    found: list[Finding] = []
    for look in (_duplicates, _nulls, _json):
        try:
            with conn.transaction(force_rollback=True):
                conn.execute("SET TRANSACTION READ ONLY", prepare=False)
                conn.execute(f"SET LOCAL statement_timeout = '{_PATIENCE}'".encode(), prepare=False)
                found += look(conn, it)
        except psycopg.errors.QueryCanceled:
            what = {_duplicates: "duplicate keys", _nulls: "NULL keys", _json: "JSON hit rates"}[look]
            found.append(_finding(it, "not-sampled", f"{what} were not counted: it takes longer than {_PATIENCE}"))
        except psycopg.DataError as error:
            why = f"SQLSTATE {error.sqlstate}" if it.spec.mask else error.diag.message_primary  # it may quote a value
            message = f"the mapping fails on a row that is there: {why}"
            cure = "guard the expression, or leave such rows out and list them in `quarantine`"
            found.append(Finding("warn", "failing-row", message, file=it.spec.mapping.file, line=1, cure=cure))
            break
        except psycopg.errors.UndefinedColumn:  # a column that the ddl has yet to add
            break
    return found


def _duplicates(conn: Connection, it: Understood) -> Iterator[Finding]:
    if it.analysis.unique:
        return
    keys = ", ".join(map(quote, it.spec.key))
    given = " AND ".join(f"{quote(name)} IS NOT NULL" for name in it.spec.key)
    count = _count(
        conn, f"SELECT 1 FROM ({it.analysis.text}\n) m WHERE {given} GROUP BY {keys} HAVING count(*) > 1 LIMIT {_FEW}"
    )
    if count:
        message = f"{_shown(count, 'key')} {'has' if count == 1 else 'have'} more than one row in the mapping now"
        cure = "leave them out of the mapping and list them in `quarantine`: no row of them may win by chance"
        yield Finding("warn", "duplicate-keys", message, file=it.spec.mapping.file, line=1, cure=cure)


def _nulls(conn: Connection, it: Understood) -> Iterator[Finding]:
    missing = " OR ".join(f"{quote(name)} IS NULL" for name in it.spec.key)
    count = _count(conn, f"SELECT 1 FROM ({it.analysis.text}\n) m WHERE {missing} LIMIT {_FEW}")
    if count:
        have = "has" if count == 1 else "have"
        message = f"{_shown(count, 'row')} of the mapping {have} no key (NULL), so no row of the target is reached"
        cure = "leave them out of the mapping and list them in `quarantine`"
        yield Finding("warn", "null-keys", message, file=it.spec.mapping.file, line=1, cure=cure)


def _json(conn: Connection, it: Understood) -> Iterator[Finding]:
    """A9: how often an extraction finds something, and where its NULL would replace a value that is there."""
    columns = [output for output in it.analysis.outputs if output.json and not output.own]
    if not columns:
        return
    there = {output.name for output in columns if it.target and it.target.column(output.name)}
    counts = ["count(*)"]
    for output in columns:
        name = quote(output.name)
        lost = f"count(*) FILTER (WHERE m.{name} IS NULL AND t.{name} IS NOT NULL)" if output.name in there else "0"
        counts += [f"count(m.{name})", lost]
    join = ""
    if there:
        equal = " AND ".join(f"t.{quote(key)} = m.{quote(key)}" for key in it.spec.key)
        join = f" LEFT JOIN {it.spec.target} t ON {equal}"
    text = f"SELECT {', '.join(counts)} FROM (SELECT * FROM ({it.analysis.text}\n) m LIMIT {ROWS}) m{join}"
    row = conn.execute(text.encode(), prepare=False).fetchone()
    assert row is not None
    rows = row[0]
    for at, output in enumerate(columns):
        hits, lost = row[1 + 2 * at], row[2 + 2 * at]
        rate = f"{hits / rows:.0%}" if rows else "no rows"
        message = f"{quote(output.name)} is extracted from JSON: found in {hits} of {rows} rows ({rate})"
        yield _finding(it, "json-hit-rate", message, output.line)
        if lost:
            message = f"NULL from JSON would replace {lost} values that {it.spec.target}.{quote(output.name)} has"
            cure = f"say what wins: coalesce(…, target's {quote(output.name)})"
            yield Finding("warn", "json-overwrite", message, file=it.spec.mapping.file, line=output.line, cure=cure)


def _count(conn: Connection, text: str) -> int:
    row = conn.execute(f"SELECT count(*) FROM ({text}) found".encode(), prepare=False).fetchone()
    return int(row[0]) if row else 0


def _shown(count: int, noun: str) -> str:
    return f"{count} or more {noun}s" if count >= _FEW else counted(count, noun)


def _finding(it: Understood, code: str, message: str, line: int = 1) -> Finding:
    return Finding("info", code, message, file=it.spec.mapping.file, line=line)
