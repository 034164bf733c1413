"""R3: values are compared as they are, never by a hash or a rounded look. Pairs that must, and must not, be equal."""

from __future__ import annotations

import psycopg
import pytest

from sql.connection import connect
from tests.integration.arena import arena

# type of the target's column, legacy value, target's value, equal?
PAIRS = [
    ("text", "NULL", "''", False),
    ("text", "''", "''", True),
    ("text", "NULL", "NULL", True),
    ("text", "'a'", "'a '", False),
    ("text", "'a'", "'A'", False),
    ("text", "'ß'", "'ss'", False),
    ("text", "U&'\\00e9'", "U&'e\\0301'", False),
    ("text", "U&'\\+01F600'", "U&'\\+01F600'", True),
    ("text", "U&'\\+10FFFF'", "U&'\\+10FFFE'", False),
    ("text", "repeat('x', 100000) || 'a'", "repeat('x', 100000) || 'b'", False),
    ("text", "repeat('x', 100000)", "repeat('x', 100000)", True),
    ("varchar(20)", "'abc'", "'abc'", True),
    ("varchar(20)", "'abc'", "'abc '", False),
    ("char(5)", "'abc'", "'abc'", True),
    ("char(5)", "'abc'", "'abd'", False),
    ("numeric(10,2)", "1.5", "1.50", True),
    ("numeric(10,2)", "1.505", "1.51", True),
    ("numeric(10,2)", "1.50", "1.51", False),
    ("numeric", "1.5", "1.50", False),
    ("numeric", "'NaN'", "'NaN'", True),
    ("numeric", "'Infinity'", "'-Infinity'", False),
    ("numeric", "'Infinity'", "'Infinity'", True),
    ("numeric", "'NaN'", "NULL", False),
    ("numeric", "'0'", "'-0'", True),
    ("numeric", "1e20", "100000000000000000000", True),
    ("numeric", "(repeat('9', 999) || '8')::numeric", "repeat('9', 1000)::numeric", False),
    ("numeric", "('0.' || repeat('0', 999) || '1')::numeric", "('0.' || repeat('0', 999) || '2')::numeric", False),
    ("numeric", "repeat('9', 1000)::numeric", "repeat('9', 1000)::numeric", True),
    ("numeric", "repeat('9', 1000)::numeric", "repeat('9', 999)::numeric", False),
    ("float8", "'NaN'", "'NaN'", True),
    ("float8", "'0'", "'-0'", False),
    ("float8", "'5e-324'", "'0'", False),
    ("float8", "'5e-324'", "'5e-324'", True),
    ("float8", "0.1::float8 + 0.2::float8", "0.3", False),
    ("float8", "'NaN'", "'Infinity'", False),
    ("float8", "'-Infinity'", "'-Infinity'", True),
    ("float8", "'-0'", "'-0'", True),
    ("float8", "'2.2250738585072014e-308'", "'2.225073858507201e-308'", False),  # the least normal, the next below
    ("float8", "1e22", "1e22::float8", True),
    ("float4", "'1e-45'", "'0'", False),
    ("float4", "'1e-45'", "'1e-45'", True),
    ("float4", "'NaN'", "'NaN'", True),
    ("float4", "'-0'", "'0'", False),
    ("bigint", "9223372036854775807", "9223372036854775806", False),
    ("boolean", "NULL", "false", False),
    ("timestamp", "'infinity'", "'infinity'", True),
    ("timestamp", "'infinity'", "'-infinity'", False),
    ("timestamp", "'0044-03-15 12:00 BC'", "'0044-03-15 12:00'", False),
    ("timestamp", "'12345-01-01'", "'12345-01-01'", True),
    ("timestamp", "'294276-12-31 23:59:59.999999'", "'294276-12-31 23:59:59.999998'", False),
    ("timestamp", "'0044-03-15 12:00 BC'", "'0044-03-15 12:00 BC'", True),
    ("timestamptz", "'infinity'", "'infinity'", True),
    ("timestamptz", "'-infinity'", "'infinity'", False),
    ("timestamptz", "'4713-01-01 00:00+00 BC'", "'4713-01-01 00:00+00 BC'", True),
    ("timestamptz", "'12345-06-01 12:00+02'", "'12345-06-01 10:00+00'", True),
    ("timestamptz", "'2025-06-01 12:00 Europe/Berlin'", "'2025-06-01 19:00 Asia/Tokyo'", True),
    ("timestamptz", "'2025-10-26 02:30+02'", "'2025-10-26 02:30+01'", False),  # the hour that there is twice
    ("date", "'infinity'", "'infinity'", True),
    ("date", "'0001-01-01 BC'", "'0001-01-01'", False),
    ("date", "'5874897-12-31'", "'5874897-12-31'", True),
    ("timestamp", "'2025-01-01 00:00:00.000001'", "'2025-01-01'", False),
    ("timestamp(3)", "'2025-01-01 00:00:00.123456'", "'2025-01-01 00:00:00.123'", True),
    ("timestamptz", "'2025-06-01 12:00+02'", "'2025-06-01 10:00+00'", True),
    ("timestamptz", "'2025-06-01 12:00+02'", "'2025-06-01 12:00+00'", False),
    ("date", "'2025-01-01'", "'2025-01-02'", False),
    ("time", "'24:00:00'", "'00:00:00'", False),
    ("time", "'24:00:00'", "'24:00:00'", True),
    ("timetz", "'24:00+00'", "'24:00+00'", True),
    ("interval", "'-1 day 24 hours'", "'0'", False),
    ("interval", "'1 mon -1 day 00:00:01'", "'1 mon -1 day 00:00:01'", True),
    ("interval", "'178000000 years'", "'178000000 years'", True),
    ("timetz", "'12:00+00'", "'13:00+01'", False),
    ("interval", "'1 month'", "'30 days'", False),
    ("interval", "'24 hours'", "'1 day'", False),
    ("interval", "'1 year'", "'12 months'", True),
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", True),
    ("uuid", "'00000000-0000-0000-0000-000000000000'", "NULL", False),
    ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'", False),
    ("bytea", "'\\x00'", "'\\x0000'", False),
    ("bytea", "'\\x00ff5c27'", "'\\x00FF5C27'", True),
    ("bytea", "''", "NULL", False),
    ("bytea", "convert_to(repeat('x', 100000), 'UTF8')", "convert_to(repeat('x', 99999) || 'y', 'UTF8')", False),
    ("jsonb", """'{"a":1,"b":2}'""", """'{"b":2,"a":1}'""", True),
    ("jsonb", """'{"a":1.0}'""", """'{"a":1.00}'""", False),
    ("jsonb", """'[1,2]'""", """'[2,1]'""", False),
    ("jsonb", """'null'""", "NULL", False),
    ("jsonb", """'{"a":12345678901234567890.1}'""", """'{"a":12345678901234567890.2}'""", False),
    ("jsonb", """'{"a":1,"a":2}'""", """'{"a":2}'""", True),  # jsonb has kept the last alone
    ("jsonb", "('1' || repeat('0', 1000))::jsonb", "('1' || repeat('0', 1000))::jsonb", True),
    ("jsonb", "('1' || repeat('0', 1000))::jsonb", "('1' || repeat('0', 999) || '1')::jsonb", False),
    ("jsonb", """'"1"'""", """'1'""", False),
    ("jsonb", """'{"a":null}'""", """'{}'""", False),
    ("jsonb", "'[]'", "'{}'", False),
    ("jsonb", """'{"a":"\\u00e9"}'""", """'{"a":"é"}'""", True),
    ("json", """'{"a":"\\u00e9"}'""", """'{"a":"é"}'""", False),  # json is its text
    ("json", """'{"a":1,"b":2}'""", """'{"b":2,"a":1}'""", False),
    ("json", "'12345678901234567890123'", "'12345678901234567890124'", False),
    ("json", "'null'", "NULL", False),
    ("json", """'{"a":1}'""", """'{"a": 1}'""", False),
    ("json", """'{"a":1,"a":2}'""", """'{"a":2}'""", False),
    ("json", """'{"a":1,"a":2}'""", """'{"a":1,"a":2}'""", True),
    ("json", """'"\\u0000"'""", """'"\\u0000"'""", True),  # jsonb and text refuse it
    ("json", """'"\\u0000"'""", """'""'""", False),
    ("int[]", "'{1,NULL,3}'", "'{1,NULL,3}'", True),
    ("int[]", "'{1,NULL}'", "'{1}'", False),
    ("int[]", "'{}'", "NULL", False),
    ("int[]", "'{{1,2},{3,4}}'", "'{1,2,3,4}'", False),
    ("int[]", "'[0:1]={1,2}'", "'{1,2}'", False),
    ("text[]", """'{"a,b"}'""", "'{a,b}'", False),
    ("text[]", """'{"NULL"}'""", "'{NULL}'", False),
    ("text[]", "ARRAY[NULL]::text[]", "ARRAY['']", False),
    ("text[]", """'{{"a\\"b",NULL},{"{}","\\\\"}}'""", """'{{"a\\"b",NULL},{"{}","\\\\"}}'""", True),
    ("text[]", "'{{a,NULL},{b,c}}'", "'{{a,b},{NULL,c}}'", False),
    ("int[]", "'{{1,2},{3,NULL}}'", "'{{1,2},{3,NULL}}'", True),
    ("int[]", "'{{{1}}}'", "'{{1}}'", False),
    ("float8[]", "'{0}'", "'{-0}'", False),
    ("timestamptz[]", "'{2025-06-01 12:00+02}'", "'{2025-06-01 10:00+00}'", True),
    ("jsonb[]", """ARRAY['{"a":1.0}'::jsonb]""", """ARRAY['{"a":1.00}'::jsonb]""", False),
    ("s.mood[]", "'{sad}'", "'{happy}'", False),
    ("s.pair[]", "ARRAY[ROW(1, NULL)::s.pair]", "ARRAY[ROW(1, '')::s.pair]", False),
    ("numeric(10,2)[]", "'{1.5}'", "'{1.50}'", True),
    ("varchar(3)[]", "'{abc}'", "'{abc}'", True),
    ("s.mood", "'sad'", "'sad'", True),
    ("s.mood", "'sad'", "'happy'", False),
    ("s.positive", "5", "5", True),
    ("s.positive", "5", "6", False),
    ("s.short", "'ab'", "'ab'", True),
    ("s.short", "'ab'", "'ab '", False),
    ("s.pair", "ROW(1, NULL)", "ROW(1, '')", False),
    ("s.pair", "ROW(NULL, NULL)", "NULL", False),
    ("s.pair", "ROW(1, 'x')", "ROW(1, 'x')", True),
    ("int4range", "'[1,5)'", "'[1,4]'", True),
    ("int4range", "'empty'", "'[1,2)'", False),
    ("numrange", "'[1.0,2)'", "'[1.00,2)'", False),
    ("int4range", "'(,5)'", "'[-2147483648,5)'", False),
    ("int4range", "'empty'", "NULL", False),
    ("tstzrange", "'[2025-06-01 12:00+02,infinity)'", "'[2025-06-01 10:00+00,infinity)'", True),
    ("tstzrange", "'[2025-06-01 12:00+02,infinity)'", "'[2025-06-01 10:00+00,)'", False),
    ("daterange", "'[2025-01-01,2025-01-31]'", "'[2025-01-01,2025-02-01)'", True),
    ("nummultirange", "'{[1.0,2)}'", "'{[1.00,2)}'", False),
    ("int4multirange", "'{}'", "NULL", False),
    ("int4multirange", "'{[1,3),[3,5)}'", "'{[1,5)}'", True),
    ("int4multirange", "'{[1,3)}'", "'{[1,2)}'", False),
    ("inet", "'10.0.0.1/24'", "'10.0.0.1'", False),
    ("inet", "'10.0.0.1'", "'10.0.0.1/32'", True),
    ("inet", "'2001:db8::1'", "'2001:0db8:0:0::1'", True),
    ("inet", "'::ffff:10.0.0.1'", "'10.0.0.1'", False),
    ("cidr", "'10.0.0.0/8'", "'10.0.0.0/9'", False),
    ("macaddr", "'08:00:2b:01:02:03'", "'08002b:010203'", True),
    ("bit(3)", "B'101'", "B'101'", True),
    ("varbit(8)", "B''", "NULL", False),
    ("bit(3)", "B'101'", "B'100'", False),
    ("varbit(8)", "B'101'", "B'1010'", False),
    ("tsvector", "'a:1 b:2'", "'b:2 a:1'", True),
    ("tsvector", "'a:1'", "'a:2'", False),
    ("tsvector", "'a:1A'", "'a:1B'", False),
    ("tsvector", "'a:1'", "'a'", False),
    ("tsquery", "'a & b'", "'a | b'", False),
    ("s.hstore", """'a=>NULL'""", """'a=>""'""", False),
    ("s.hstore", "'a=>1, b=>2'", "'b=>2, a=>1'", True),
    ("s.hstore", """'"a=>b"=>"\\"NULL\\""'""", """'"a=>b"=>NULL'""", False),
    ("s.hstore", "''", "NULL", False),
    ("point", "'(0,0)'", "'(0,1e-7)'", False),
    ("money", "'1.00'", "'1.01'", False),
    ("name", "'a'", "'b'", False),
    ('"char"', "'a'", "'b'", False),
    ("s.citext", "'a'", "'A'", False),
]
# A character of every plane of Unicode, and its neighbour.
PAIRS += [
    ("text", f"chr({plane * 0x10000 + 0x2F00})", f"chr({plane * 0x10000 + 0x2F00 + other})", not other)
    for plane in range(17)
    for other in (0, 1)
]
TYPES = """
CREATE SCHEMA s; CREATE SCHEMA new; CREATE SCHEMA old;
CREATE EXTENSION hstore SCHEMA s; CREATE EXTENSION citext SCHEMA s;
CREATE TYPE s.mood AS ENUM ('sad', 'happy'); CREATE TYPE s.pair AS (a int, b text);
CREATE DOMAIN s.positive AS int CHECK (value > 0); CREATE DOMAIN s.short AS varchar(3);
"""
# What not every build of PostgreSQL has (the embedded one has neither): DDL that tells, pairs.
OPTIONAL = [
    (
        # a collation under which 'a' = 'A'
        "CREATE COLLATION s.blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);",
        [
            ("text COLLATE s.blind", "'a'", "'A'", False),
            ("text COLLATE s.blind", "'a'", "'a'", True),
            ("text[] COLLATE s.blind", "'{a}'", "'{A}'", False),
            ("text[] COLLATE s.blind", "'{a}'", "'{a}'", True),
        ],
    ),
    (
        "SELECT 'infinity'::interval;",  # from 17 on
        [
            ("interval", "'infinity'", "'infinity'", True),
            ("interval", "'infinity'", "'-infinity'", False),
            ("interval", "'infinity'", "NULL", False),
        ],
    ),
    ("SELECT '<a/>'::xml;", [("xml", "'<a/>'", "'<a></a>'", False), ("xml", "'<a/>'", "'<a/>'", True)]),
]


def _supported(dsn: str) -> tuple[str, list[tuple[str, str, str, bool]]]:
    """The DDL and the pairs for this build of PostgreSQL."""
    ddl, pairs = TYPES, list(PAIRS)
    with connect(dsn, "test") as conn:
        for probe, more in OPTIONAL:
            try:
                with conn.transaction(force_rollback=True):
                    conn.execute(f"CREATE SCHEMA s; {probe}".encode(), prepare=False)
            except (psycopg.errors.FeatureNotSupported, psycopg.errors.InvalidDatetimeFormat):
                continue
            ddl, pairs = ddl + probe, pairs + more
    return ddl, pairs


# What a database may set that changes how values are read and printed.
SETTINGS = """
DO $$ DECLARE setting text; BEGIN
  FOREACH setting IN ARRAY ARRAY['DateStyle = "SQL, DMY"', 'TimeZone = "Asia/Kolkata"', 'IntervalStyle = sql_standard',
                                 'extra_float_digits = -15', 'bytea_output = escape', 'array_nulls = off']
  LOOP EXECUTE format('ALTER DATABASE %I SET ', current_database()) || setting; END LOOP;
END $$;
"""


def _identifier(at: int) -> str:
    """Capitals, a quote, a percent sign, a blank, up to 63 bytes: names are quoted everywhere."""
    return '"' + f'C%{at} ""order'.ljust(64, "x")[:64] + '"'


@pytest.mark.parametrize("settings", ["", SETTINGS], ids=["plain", "settings"])
def test_r3_every_pair_of_the_catalogue(dsn: str, settings: str) -> None:
    """One column a pair: exactly the columns of unequal pairs differ, and converge mends every one of them.

    Whatever the database says of dates, zones, intervals, floats and bytes, for the sessions that begin after it.
    """
    types, pairs = _supported(dsn)
    columns = [_identifier(at) for at in range(len(pairs))]
    listed = ", ".join(columns)
    legacy = ", ".join(f"{name} {_unconstrained(pair[0])}" for name, pair in zip(columns, pairs, strict=True))
    consolidated = ", ".join(f"{name} {pair[0]}" for name, pair in zip(columns, pairs, strict=True))
    ddl = types + (
        f"CREATE TABLE old.a (id int PRIMARY KEY, {legacy});"
        f"CREATE TABLE new.t (id int PRIMARY KEY, {consolidated});"
        f"INSERT INTO old.a VALUES (1, {', '.join(pair[1] for pair in pairs)});"
        f"INSERT INTO new.t VALUES (1, {', '.join(pair[2] for pair in pairs)});{settings}"
    )
    with arena(dsn, ddl, f"SELECT id, {listed} FROM old.a") as it:
        report = it.reconcile(progress=lambda step: it.advance())
        wrong = [
            (pair, bool(report.columns[_plain(column)]))
            for column, pair in zip(columns, pairs, strict=True)
            if bool(report.columns[_plain(column)]) == pair[3]
        ]
        assert wrong == []
        assert report.rows.drift == 1
        it.drain()
        assert it.reconcile().verdict == "match"


def _unconstrained(kind: str) -> str:
    """The legacy column has no modifier where the target's has one that rounds."""
    return {"numeric(10,2)": "numeric", "timestamp(3)": "timestamp", "numeric(10,2)[]": "numeric[]"}.get(kind, kind)


def _plain(quoted: str) -> str:
    return quoted[1:-1].replace('""', '"')


def test_r3_swapped_columns_and_equal_sums_are_seen(dsn: str) -> None:
    ddl = """CREATE SCHEMA old; CREATE SCHEMA new; CREATE TABLE old.a (id int PRIMARY KEY, x int, y int);
             CREATE TABLE new.t (id int PRIMARY KEY, x int, y int);
             INSERT INTO old.a VALUES (1, 1, 2), (2, 2, 1); INSERT INTO new.t VALUES (1, 2, 1), (2, 1, 2)"""
    with arena(dsn, ddl, "SELECT id, x, y FROM old.a") as it:
        report = it.reconcile()
        assert (report.rows.drift, report.columns) == (2, {"x": 2, "y": 2})


def test_r3_a_length_never_hides_a_difference(dsn: str) -> None:
    """Casting to varchar(3) or bit(3) would cut the legacy value to what the target has."""
    ddl = """CREATE SCHEMA old; CREATE SCHEMA new;
             CREATE TABLE old.a (id int PRIMARY KEY, x text, y varbit, z varchar[]);
             CREATE TABLE new.t (id int PRIMARY KEY, x varchar(3), y varbit(3), z varchar(3)[]);
             INSERT INTO old.a VALUES (1, 'abcdef', B'101111', '{abcdef}');
             INSERT INTO new.t VALUES (1, 'abc', B'101', '{abc}')"""
    with arena(dsn, ddl, "SELECT id, x::varchar AS x, y, z FROM old.a") as it:
        report = it.reconcile()
        assert (report.rows.drift, report.columns) == (1, {"x": 1, "y": 1, "z": 1})


KEYS = [
    ("uuid", "gen_random_uuid()"),
    ("text", "'Straße \"' || n || '\" \\ , {} %' || chr(128512)"),
    ("text", "CASE n WHEN 1 THEN '' ELSE repeat(' ', n) END"),
    ('text COLLATE "C"', "chr(n + 64)"),
    ("numeric(12,3)", "n * 1.001 - 5"),
    ("timestamptz", "'2025-01-01 00:00+02'::timestamptz + n * interval '1 hour 1 microsecond'"),
    (
        "timestamp",
        "CASE n WHEN 1 THEN 'infinity' WHEN 2 THEN '0044-03-15 BC' ELSE now()::timestamp + n * interval '1 s' END",
    ),
    ("date", "'2024-12-31'::date + n"),
    ("inet", "'10.0.0.0'::inet + n"),
    ("bytea", "decode(lpad(to_hex(n), 4, '0'), 'hex')"),
    ("bigint", "n * 1000000000000 - 7"),
]


@pytest.mark.parametrize(("kind", "value"), KEYS, ids=[kind for kind, _ in KEYS])
def test_keys_of_every_kind_are_bounded_proven_and_named(dsn: str, kind: str, value: str) -> None:
    ddl = f"""CREATE SCHEMA old; CREATE SCHEMA new; CREATE TABLE old.a ("Key" {kind} PRIMARY KEY, v int);
              CREATE TABLE new.t ("Key" {kind} PRIMARY KEY, v int);
              INSERT INTO old.a SELECT {value}, n FROM generate_series(1, 20) n; INSERT INTO new.t SELECT * FROM old.a;
              UPDATE new.t SET v = -1 WHERE v IN (3, 17); DELETE FROM new.t WHERE v = 9"""
    with arena(dsn, ddl, 'SELECT "Key", v FROM old.a', key=["Key"]) as it:
        report = it.reconcile(chunk_rows=3)
        assert (report.rows.drift, report.kinds) == (3, {"missing": 1, "extra": 0, "differs": 2})
        wanted = {row[0] for row in it.run('SELECT concat("Key") FROM old.a WHERE v IN (3, 17, 9)')}
        assert {difference.key[0] for difference in report.differences} == wanted
        it.drain()
        assert it.reconcile(chunk_rows=4).verdict == "match"


def test_composite_keys_are_bounded_proven_and_named(dsn: str) -> None:
    ddl = """CREATE SCHEMA old; CREATE SCHEMA new;
             CREATE TABLE old.a (a text, "B" int, c timestamp, v int, PRIMARY KEY (a, "B", c));
             CREATE TABLE new.t (a text, "B" int, c timestamp, v int, PRIMARY KEY (a, "B", c));
             INSERT INTO old.a SELECT chr(65 + n / 9), n / 3, '2025-01-01'::timestamp + n * interval '1 s', n
               FROM generate_series(1, 40) n;
             INSERT INTO new.t SELECT * FROM old.a;
             UPDATE new.t SET v = 0 WHERE v = 20; DELETE FROM new.t WHERE v = 30"""
    with arena(dsn, ddl, 'SELECT a, "B", c, v FROM old.a', key=["a", "B", "c"]) as it:
        report = it.reconcile(chunk_rows=4)
        assert {(tuple(d.key), d.kind) for d in report.differences} == {
            (("C", "6", "2025-01-01 00:00:20"), "differs"), (("D", "10", "2025-01-01 00:00:30"), "missing"),
        }  # fmt: skip
        it.drain()
        assert it.reconcile(chunk_rows=4).verdict == "match"
