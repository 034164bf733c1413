"""Keys and values of every type go through backfill, log and converge byte for byte, whatever the writer's session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cdc import frame, pgoutput
from sql.connection import Connection, connect
from tests.integration.rig import Rig, prepared

# How the application's session writes and reads: unlike the service's in everything that shapes text.
ELSEWHERE = {
    "datestyle": "SQL, DMY",
    "timezone": "Asia/Kathmandu",
    "intervalstyle": "sql_standard",
    "extra_float_digits": "-3",
    "bytea_output": "escape",
}

TYPES = """
CREATE SCHEMA t;
CREATE TYPE t.mood AS ENUM ('sad', 'NULL', 'a, b', '"quoted"', '{}', 'back\\slash', '');
CREATE TYPE t.pair AS (a int, b text);
CREATE DOMAIN t.word AS text CHECK (length(value) < 100);
CREATE DOMAIN t.positive AS int CHECK (value > 0);
CREATE DOMAIN t.short AS varchar(3);
"""

TEXTS = [
    "", " ", "NULL", "null", "'", '"', "\\", '\\"', 'a","b', "{a,b}", "{}", "a,b", "(1,2)", "%s %(k1)s %%", "ü", "u\u0308",
    "\U0001f600", "\U0010ffff", "\ufffe", "tab\tnew\nline\r\x01", "x" * 2000, "\\x41", "$1", ":keys",
]  # fmt: skip
MOMENTS = ["infinity", "-infinity", "0044-03-15 12:00 BC", "4713-12-31 BC", "12345-01-01 00:00:00.000001", "2025-06-01"]
# Name, type, keys as text.
KEYS = [
    ("uuid", "uuid", ["00000000-0000-0000-0000-000000000000", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"]),
    ("bigint", "bigint", ["-9223372036854775808", "0", "9223372036854775807"]),
    ("text", "text", TEXTS),
    ("boolean", "boolean", ["true", "false"]),
    ("inet", "inet", ["10.0.0.1", "10.0.0.1/24", "::1", "2001:db8::/32", "0.0.0.0/0", "::ffff:10.0.0.1"]),
    ("date", "date", ["infinity", "-infinity", "0044-03-15 BC", "12345-01-01", "5874897-12-31", "2025-02-28"]),
    ("timestamptz", "timestamptz", [*MOMENTS, "2025-06-01 12:00+02", "2025-06-01 12:00+05:45", "1850-01-01 00:00+00"]),
    ("timestamp", "timestamp", MOMENTS),
    ("bytea", "bytea", ["", "\\x00", "\\xff005c27", "\\x22"]),
    ("enum", "t.mood", ["sad", "NULL", "a, b", '"quoted"', "{}", "back\\slash", ""]),
    ("numeric", "numeric(12,2)", ["0", "-0.01", "9999999999.99", "NaN", "1.5", "7"]),
    ("domain", "t.word", TEXTS[:10]),
]

# Type, a value, and another one: where the type has any, one that is equal and has other bytes.
VALUES = [
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'00000000-0000-0000-0000-000000000000'"),
    ("numeric", "'NaN'", "'Infinity'"),
    ("numeric", "'-Infinity'", "'NaN'"),
    ("numeric", "repeat('9', 1000)::numeric", "('0.' || repeat('7', 1000))::numeric"),
    ("numeric", "1.0", "1.00"),
    ("numeric(10,2)", "1.5", "-1.5"),
    ("float8", "'0'", "'-0'"),
    ("float8", "'NaN'", "'-Infinity'"),
    ("float8", "'5e-324'", "'1e-323'"),
    ("float8", "0.1::float8 + 0.2::float8", "0.3"),
    ("float8", "'1.7976931348623157e308'", "'2.2250738585072014e-308'"),
    ("float4", "'-0'", "'0'"),
    ("float4", "'1e-45'", "'3e-45'"),
    ("smallint", "-32768", "32767"),
    ("boolean", "false", "NULL"),
    ("timestamp", "'infinity'", "'-infinity'"),
    ("timestamp", "'0044-03-15 12:00 BC'", "'4713-01-01 BC'"),
    ("timestamp", "'12345-01-01'", "'294276-12-31 23:59:59.999999'"),
    ("timestamp(3)", "'2025-01-01 00:00:00.123'", "'2025-01-01 00:00:00.124'"),
    ("timestamptz", "'2025-03-30 02:30+01'", "'2025-03-30 02:30+02'"),
    ("timestamptz", "'infinity'", "'0001-01-01 00:00:00.000001+00 BC'"),
    ("timestamptz", "'1850-01-01 00:00+00'", "'294276-12-31 23:59:59.999999+00'"),
    ("date", "'infinity'", "'0044-03-15 BC'"),
    ("date", "'2025-04-03'", "'5874897-12-31'"),
    ("time", "'24:00:00'", "'00:00:00'"),
    ("timetz", "'24:00:00-15:59'", "'12:00+00'"),
    ("timetz", "'12:00+00'", "'13:00+01'"),
    ("interval", "'1 month'", "'30 days'"),
    ("interval", "'24 hours'", "'1 day'"),
    ("interval", "'-1 year +2 mons -3 days +04:05:06.000007'", "'178000000 years'"),
    ("bytea", "'\\x00ff5c27'", "''"),
    ("json", """'{"a":1}'""", """'{"a": 1}'"""),
    ("json", """'{"a":1,"a":2}'""", """'{"a":2}'"""),
    ("json", "'[123456789012345678901234567890.10]'", "'[1e400]'"),
    ("json", """'"\\u0000"'""", """'"\\u0001"'"""),
    ("jsonb", """'{"a":1.0}'""", """'{"a":1.00}'"""),
    ("jsonb", "'[123456789012345678901234567890.10]'", "'[1e400]'"),
    ("jsonb", "'null'", "NULL"),
    ("int[]", "'{{1,2},{3,NULL}}'", "'{1,2,3,NULL}'"),
    ("int[]", "'[0:1]={1,2}'", "'{1,2}'"),
    ("int[]", "'{}'", "NULL"),
    ("text[]", """'{"a,b","NULL",NULL,"","\\"q\\"","\\\\","{}"}'""", """'{"a","b",NULL,NULL,"\\"q\\"","\\\\","{}"}'"""),
    ("numeric[]", "'{1.0}'", "'{1.00}'"),
    ("float8[]", "'{0,NaN}'", "'{-0,NaN}'"),
    ("timestamptz[]", "'{infinity,2025-03-30 02:30+01}'", "'{infinity,2025-03-30 02:30+02}'"),
    ("t.mood", "'a, b'", "'NULL'"),
    ("t.mood[]", """'{"a, b","NULL",NULL}'""", """'{"a, b",NULL,"NULL"}'"""),
    ("t.positive", "5", "6"),
    ("t.short", "'ab'", "'ab '"),
    ("t.pair", "ROW(1, NULL)", "ROW(1, '')"),
    ("t.pair", "ROW(NULL, NULL)", "NULL"),
    ("t.pair[]", """ARRAY[ROW(1, '"'), NULL]::t.pair[]""", """ARRAY[ROW(1, '""'), NULL]::t.pair[]"""),
    ("int4range", "'[1,5)'", "'empty'"),
    ("numrange", "'[1.0,2)'", "'[1.00,2)'"),
    ("tstzrange", "'[2025-01-01 00:00+02,infinity]'", "'[2025-01-01 00:00+02,)'"),
    ("int4multirange", "'{[1,3),[5,7)}'", "'{}'"),
    ("nummultirange", "'{[1.0,2)}'", "'{[1.00,2)}'"),
    ("inet", "'10.0.0.1/24'", "'10.0.0.1'"),
    ("cidr", "'10.0.0.0/24'", "'::/0'"),
    ("macaddr", "'08:00:2b:01:02:03'", "'08:00:2b:01:02:04'"),
    ("bit(3)", "B'101'", "B'100'"),
    ("varbit", "B'101'", "B'1010'"),
    ("tsvector", """'a:1A "b c":2,3'""", """'a:1B "b c":2,3'"""),
    ("tsquery", "'a & !b'", "'a <-> b'"),
    # one character of each plane, and the first ones of all
    ("text", "(SELECT string_agg(chr(n * 65536 + 66), '') FROM generate_series(0, 16) n)", "chr(1114111)"),
    ("text", "(SELECT string_agg(chr(n), '') FROM generate_series(1, 2048) n)", "NULL"),
    ("text", "U&'\\00e9'", "U&'e\\0301'"),
    ("text", "repeat('toast', 100000)", "repeat('toasT', 100000)"),
    ("text", "''", "NULL"),
    ("varchar(5)", "'ab'", "'ab '"),
    ("char(5)", "'ab'", "'ab c'"),
    ('"char"', "'a'", "''"),
    ("name", "'a'", "'A'"),
    ("point", "'(0,0)'", "'(-0,0)'"),
    ("polygon", "'((0,0),(1,1e-300),(NaN,2))'", "'((0,0),(1,2e-300),(NaN,2))'"),
    ("pg_lsn", "'0/1'", "'FFFFFFFF/FFFFFFFF'"),
]
# What not every build of PostgreSQL has (the embedded one has no libxml): DDL that tells, values.
OPTIONAL = [
    ("SELECT '<a/>'::xml;", [("xml", "'<a/>'", "'<a></a>'"), ("xml", "'text <b>ü</b>'", "'text  <b>ü</b>'")]),
    ("CREATE EXTENSION hstore SCHEMA t;", [("t.hstore", """'a=>NULL,"b c"=>"\\""'""", """'a=>"","b c"=>"\\""'""")]),
    ("CREATE EXTENSION citext SCHEMA t;", [("t.citext", "'a'", "'A'")]),
]


def _keys_world() -> tuple[str, dict[str, str]]:
    """A table and a move of each key type, and one whose key has two columns."""
    schema, plan, files = TYPES, 'name = "{name}"\n', {}
    for name, kind, _ in KEYS:
        schema += f'CREATE TABLE t."{name}" (k {kind} PRIMARY KEY, v int);'
        schema += f'CREATE TABLE t."{name}_now" (k {kind} PRIMARY KEY, v int);'
        files[f"{name}.sql"] = f'SELECT k, v FROM t."{name}"'
        plan += _move(name, ["k"])
    schema += 'CREATE TABLE t.composite (k text, "N" int, v int, PRIMARY KEY (k, "N"));'
    schema += 'CREATE TABLE t.composite_now (k text, "N" int, v int, PRIMARY KEY (k, "N"));'
    files["composite.sql"] = 'SELECT k, "N", v FROM t.composite'
    return schema, {"plan.toml": plan + _move("composite", ["k", '"N"']), **files}


def _move(name: str, key: list[str]) -> str:
    return (
        f'[moves.{name}]\ntarget = \'t."{name}_now"\'\nmapping = "{name}.sql"\nkey = {key!r}\n'
        'rows = "all"\npartitions = 3\n'
    )


@pytest.fixture
def elsewhere(dsn: str) -> Iterator[Connection]:
    """The application's session."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        for setting, value in ELSEWHERE.items():
            conn.execute("SELECT set_config(%s, %s, false)", (setting, value))
        yield conn


def test_keys_of_every_type_have_one_notation(
    dsn: str, elsewhere: Connection, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    """L3: a key that the backfill touched and the same key in a change are the same bytes in the same partition."""
    schema, files = _keys_world()
    rig = Rig(dsn, plan_name, log_address, tmp_path, schema, files)
    for name, kind, keys in KEYS:
        elsewhere.execute(f'INSERT INTO t."{name}" SELECT k::{kind}, 0 FROM unnest(%s::text[]) k'.encode(), (keys,))
    elsewhere.execute(
        "INSERT INTO t.composite SELECT k, n, 0 FROM unnest(%s::text[]) k, unnest('{-1,7}'::int[]) n", (TEXTS,)
    )
    with prepared(rig):
        rig.backfill()
        rig.capture()
        rig.consume()
        rig.drain()
        assert rig.differences() == {}
        for move in rig.plan.moves:
            elsewhere.execute(f'UPDATE t."{move.name}" SET v = 1'.encode())
        rig.drain()
        assert rig.differences() == {}
        for move in rig.plan.moves:
            row = rig.conn.execute(
                f'SELECT count(*), count(*) FILTER (WHERE v = 1), (SELECT count(*) FROM t."{move.name}")'
                f" FROM {move.target}".encode()
            ).fetchone()
            assert row is not None
            assert row[0] == row[1] == row[2] > 1, move.name
            assert _keys(rig, move.name, frame.TOUCH) == _keys(rig, move.name, frame.CHANGES), move.name
        for move in rig.plan.moves:
            elsewhere.execute(f'DELETE FROM t."{move.name}"'.encode())
        rig.drain()
        for move in rig.plan.moves:
            assert rig.conn.execute(f"SELECT count(*) FROM {move.target}".encode()).fetchone() == (0,), move.name
        assert rig.stop() == []


def _keys(rig: Rig, move: str, kind: int) -> set[tuple[int, bytes]]:
    """The keys of a move's frames of one kind, with their partitions."""
    frames = [(record.partition, frame.decode(record.value)) for record in rig.placed(move)]
    return {(partition, key) for partition, each in frames if each.kind == kind for key in each.keys}


def _supported(conn: Connection) -> tuple[str, list[tuple[str, str, str]]]:
    """The DDL and the values for this build of PostgreSQL."""
    ddl, values = TYPES, list(VALUES)
    for probe, more in OPTIONAL:
        try:
            with conn.transaction(force_rollback=True):
                conn.execute(f"CREATE SCHEMA t; {probe}".encode(), prepare=False)
        except psycopg.errors.FeatureNotSupported:  # built without it, or not installed
            continue
        ddl, values = ddl + probe, values + more
    return ddl, values


def test_values_of_every_type_survive_byte_for_byte(
    dsn: str, elsewhere: Connection, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    """One column and one row a value, so that no other difference of the row takes a change along (R3)."""
    with connect(dsn, "test") as conn:
        ddl, values = _supported(conn)
    columns = [f"c{at}" for at in range(len(values))]
    shape = ", ".join(f"{column} {kind}" for column, (kind, _, _) in zip(columns, values, strict=True))
    schema = (
        ddl
        + f"CREATE TABLE t.value (id int PRIMARY KEY, {shape}); CREATE TABLE t.value_now (LIKE t.value INCLUDING ALL);"
    )
    files = {
        "plan.toml": 'name = "{name}"\n' + _move("value", ["id"]),
        "value.sql": f"SELECT id, {', '.join(columns)} FROM t.value",
    }
    with prepared(Rig(dsn, plan_name, log_address, tmp_path, schema, files)) as rig:
        rig.capture()
        rig.consume()
        for at, (_, first, _) in enumerate(values):
            elsewhere.execute(f"INSERT INTO t.value (id, c{at}) VALUES ({at}, {first})".encode())
        _prove(rig, values)
        for at, (_, _, then) in enumerate(values):
            elsewhere.execute(f"UPDATE t.value SET c{at} = {then} WHERE id = {at}".encode())
        _prove(rig, values)
        assert rig.stop() == []


def _prove(rig: Rig, values: list[tuple[str, str, str]]) -> None:
    """The target has the source's row images, and so has the log."""
    rig.drain()
    rows = rig.conn.execute(
        "SELECT s.id FROM t.value s LEFT JOIN t.value_now n USING (id) WHERE ROW(s.*)::record *<> ROW(n.*)::record"
    ).fetchall()
    assert [values[at] for (at,) in rows] == []
    assert rig.conn.execute("SELECT count(*) FROM t.value_now").fetchone() == (len(values),)
    logged: dict[int, pgoutput.Value] = {}
    for value in rig.records("value"):
        for message in frame.decode(value).changes():
            new = pgoutput.change(message).new
            assert new is not None
            at = int(bytes(new[0]))  # type: ignore[arg-type]
            logged[at] = new[at + 1]
    assert len(logged) == len(values)
    for (at, text), (kind, _, _) in zip(sorted(logged.items()), values, strict=True):
        assert text is not pgoutput.UNCHANGED
        same = rig.conn.execute(
            f"SELECT ROW(%s::text::{kind})::record *= ROW(c{at})::record FROM t.value WHERE id = {at}".encode(),
            (text.decode() if isinstance(text, bytes) else None,),
        ).fetchone()
        assert same == (True,), (kind, text)
