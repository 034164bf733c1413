"""Equal keys have equal texts: two texts of one key would go to two partitions, and two workers to one row.

Converge in two sessions at once would then write what the slower one read before the faster one wrote: PostgreSQL
checks an updated row again, and never the mapping. So a type that has two texts for one value is refused as a key.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cutover.plan import load_plan
from sql.compile import compile_plan
from sql.connection import connect
from sql.errors import UsageError
from sql.given import as_printed
from sql.model import Plan
from sql.render import output
from tests.integration.rig import write_plan

pytestmark = pytest.mark.parametrize("server", ["pg15"], indirect=True)  # the one that is built with ICU

TOML = """
name = "{name}"

[moves.m]
target  = "k.now"
mapping = "m.sql"
key     = ["id"]
rows    = "all"
"""
PREPARED = """
CREATE SCHEMA k;
CREATE EXTENSION citext SCHEMA k;
CREATE EXTENSION hstore SCHEMA k;
CREATE COLLATION k.blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE DOMAIN k.mail AS k.citext;
CREATE DOMAIN k.folded AS text COLLATE k.blind;
CREATE DOMAIN k.sum AS numeric;
CREATE TYPE k.pair AS (a numeric, b text);
"""
# Each has two values that are equal and print differently, or may.
REFUSED = (
    "numeric", "k.citext", "char(5)", "text COLLATE k.blind", "jsonb", "float4", "float8", "interval", "timetz",
    "numrange", "numeric[]", "numeric(5,1)[]", "k.citext[]", "k.mail", "k.folded", "k.sum", "k.pair", "money",
    "tsvector", "k.hstore",
)  # fmt: skip
# Each with texts of one value, some of them in another session's notation, and others; or a column of another length.
TAKEN = {
    "numeric(10,2)": ("numeric(4,2)", ["1", "1.0", "1.00", "01.000", "1e0", "NaN", "-0", "0"]),
    "text": ("varchar(20)", ["a", "A", "a ", "ä", "a\u0308", ""]),
    "uuid": (None, ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "{A0EEBC999C0B4EF8BB6D6BB9BD380A11}"]),
    "int4": ("int8", ["1", "01", " 1", "-0", "0"]),
    "bool": (None, ["t", "true", "on", "1", "f", "no"]),
    "inet": (None, ["10.0.0.1", "10.0.0.1/32", "10.0.0.0/24", "::1", "0:0:0:0:0:0:0:1", "::ffff:10.0.0.1"]),
    "date": (None, ["2026-11-27", "27-NOV-2026", "20261127", "infinity", "0044-03-15 BC"]),
    "timestamp": ("timestamp(3)", ["2026-11-27 24:00", "2026-11-28", "2026-11-28 00:00:00.000", "infinity"]),
    "timestamptz": (None, ["2026-11-27 12:00+02", "2026-11-27 10:00Z", "2026-11-27 05:15:00-04:45", "-infinity"]),
    "bytea": (None, ["\\x41", "A", "\\101", "\\x"]),
}


def compiled(dsn: str, folder: Path, kind: str, mapping: str = "SELECT s.id, s.v FROM k.source s") -> Plan:
    """A plan whose source and target have a key of this type."""
    with connect(dsn, "test") as conn:
        conn.execute("DROP TABLE IF EXISTS k.source, k.now, k.other")
        for table in ("source", "now", "other"):
            conn.execute(f"CREATE TABLE k.{table} (id {kind} NOT NULL, v text)".encode())
            conn.execute(f"CREATE UNIQUE INDEX {table}_id ON k.{table} (id)".encode())
            conn.execute(f"ALTER TABLE k.{table} REPLICA IDENTITY FULL".encode())
        return compile_plan(
            conn, load_plan(str(write_plan(folder / "plan", "keys", {"plan.toml": TOML, "m.sql": mapping})))
        )


def test_a_type_with_two_texts_for_one_value_is_no_key(dsn: str, tmp_path: Path) -> None:
    """`plan --check` says so, with the types that are."""
    with connect(dsn, "test") as conn:
        conn.execute(PREPARED.encode(), prepare=False)
    taken = []
    for kind in REFUSED:
        found = [each for each in compiled(dsn, tmp_path, kind).findings if each.severity == "block"]
        if not any(each.code == "key-type" and each.cure for each in found):
            taken.append(kind)
    assert taken == []


@pytest.mark.parametrize("kind", TAKEN)
def test_a_type_that_is_taken_has_one_text_for_each_value(dsn: str, tmp_path: Path, kind: str) -> None:
    """In every session of ours, whatever the database's settings; over columns of another length too."""
    other, texts = TAKEN[kind]
    with connect(dsn, "test") as conn:
        conn.execute(PREPARED.encode(), prepare=False)
        assert [each for each in compiled(dsn, tmp_path, kind).findings if each.severity == "block"] == []
        conn.execute(f"CREATE TABLE k.texts (a {kind}, b {other or kind})".encode())
        for text in texts:
            conn.execute("INSERT INTO k.texts VALUES (%s, %s)", (text, text))
        differing = conn.execute(
            f"SELECT {output('x.a')}, {output('y.b')} FROM k.texts x JOIN k.texts y ON x.a = y.b"
            f" WHERE {output('x.a')} <> {output('y.b')}".encode()
        ).fetchall()
        assert differing == []


def test_a_source_joined_under_a_looser_equality_is_not_keyed_by_it(dsn: str, tmp_path: Path) -> None:
    """`ON a.id = b.id` says that the texts are equal only as long as `=` is the key's own."""
    with connect(dsn, "test") as conn:
        conn.execute(PREPARED.encode(), prepare=False)
    loose = (
        "o.id = s.id COLLATE k.blind",
        "o.id COLLATE k.blind = s.id",
        "o.id::k.citext OPERATOR(k.=) s.id::k.citext",
        "lower(o.id) = lower(s.id)",
        "o.id::char(9) = s.id::char(9)",
        "o.id ILIKE s.id",
    )
    strict = "SELECT s.id, coalesce(o.v, s.v) AS v FROM k.source s LEFT JOIN k.other o ON "
    accepted = []
    for condition in loose:
        plan = compiled(dsn, tmp_path, "text", strict + condition)
        if not any(each.severity == "block" for each in plan.findings):
            accepted.append(condition)
    assert accepted == []
    assert not any(
        each.severity == "block" for each in compiled(dsn, tmp_path, "text", strict + "o.id = s.id").findings
    )


@pytest.mark.parametrize("kind", TAKEN)
def test_a_key_given_in_another_spelling_is_the_key_that_is_printed(dsn: str, tmp_path: Path, kind: str) -> None:
    """Also with a modifier, by which 1 prints as 1.00."""
    with connect(dsn, "test") as conn:
        conn.execute(PREPARED.encode(), prepare=False)
        (move,) = compiled(dsn, tmp_path, kind).moves
        conn.execute(f"CREATE TABLE k.texts (place int, a {kind})".encode())
        given = TAKEN[kind][1]
        for place, text in enumerate(given):
            conn.execute("INSERT INTO k.texts VALUES (%s, %s)", (place, text))
        printed = conn.execute(f"SELECT {output('a')} FROM k.texts ORDER BY place".encode()).fetchall()
        assert as_printed(conn, move, [("--key", (text,)) for text in given]) == list(dict.fromkeys(printed))


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        ("date", "quatsch", 'invalid input syntax for type date: "quatsch"'),
        ("date", "2026-02-31", "date/time field value out of range"),
        ("int4", "9999999999", "out of range for type integer"),
        ("numeric(4,2)", "100", "numeric field overflow"),
        ("k.small", "7", "violates check constraint"),
        ("text", "a\0b", "NUL"),
        ("text", "\udce4", "surrogates not allowed"),
    ],
)
def test_what_the_type_of_a_key_does_not_take_is_named(
    dsn: str, tmp_path: Path, kind: str, text: str, why: str
) -> None:
    """Also where it is one of many."""
    with connect(dsn, "test") as conn:
        conn.execute(PREPARED.encode(), prepare=False)
        conn.execute("CREATE DOMAIN k.small AS int CHECK (VALUE < 5)")
        (move,) = compiled(dsn, tmp_path, kind).moves
        good = [("2020-01-01" if kind == "date" else "1",)]
        for before, after in ((0, 0), (0, 3), (3, 0), (5, 2)):
            given = [*good * before, (text,), *good * after]
            with pytest.raises(UsageError) as caught:
                as_printed(conn, move, [(f"--key {at}", key) for at, key in enumerate(given)])
            assert f"--key {before} " in str(caught.value)
            assert f"id is of type {move.key[0].type}, which does not take" in str(caught.value)
            assert why in str(caught.value)


def test_a_value_that_the_key_column_would_round_stays_what_was_given(dsn: str, tmp_path: Path) -> None:
    """Rounded it would be another key, which nobody named."""
    with connect(dsn, "test") as conn:
        conn.execute(PREPARED.encode(), prepare=False)
        (move,) = compiled(dsn, tmp_path, "numeric(10,2)").moves
        assert as_printed(conn, move, [("--key", ("1.005",)), ("--key", ("1.5",))]) == [("1.005",), ("1.50",)]
