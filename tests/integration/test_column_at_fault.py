"""A6: the letter of a value that cannot be read or stored names the column where there is only one that it can be."""

from __future__ import annotations

import pytest

from consumers import column_at_fault
from consumers.converge import Batch, Converger
from consumers.dead_letters import Key
from tests.integration.arena import arena

DDL = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.t (a text PRIMARY KEY, b text, c text, d text, e text);
CREATE TABLE new.t (a text PRIMARY KEY, "B %" varchar(12), c varchar(12), d char(3), e varchar(20));
CREATE TABLE new.audit (said varchar(12));
CREATE FUNCTION new.audit() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO new.audit VALUES (new.e); RETURN new; END $$;
CREATE TRIGGER audit BEFORE INSERT ON new.t FOR EACH ROW EXECUTE FUNCTION new.audit();
"""
MAPPING = 'SELECT t.a, t.b AS "B %", t.c, t.d, t.e FROM old.t'
LONG = "thirteen char"
ROWS: dict[str, tuple[tuple[str, str, str, str], str | None]] = {
    "first": ((LONG, "", "", ""), "B %"),
    "second": (("fits" + " " * 20, LONG, "", ""), "c"),  # spaces at the end are cut, and no error
    "third": (("", "", "four", ""), "d"),
    "two": ((LONG, LONG, "", ""), None),
    "trigger": (("", "", "", LONG), None),  # it fits here, and not where the trigger puts it
    "odd, \"k'ey": ((LONG, "", "", ""), "B %"),
}


@pytest.mark.parametrize("server", ["pg15", "pg18"], indirect=True)
def test_a6_the_column_of_a_text_too_long(dsn: str) -> None:
    with arena(dsn, DDL, MAPPING, key=("a",), partitions=1) as it:
        for key, (values, _) in ROWS.items():
            it.conn.execute("INSERT INTO old.t VALUES (%s, %s, %s, %s, %s)", (key, *values))
        it.run("INSERT INTO old.t VALUES ('fine', '', '', '', '')")
        keys: dict[Key, tuple[int, int]] = {(key,): (0, 0) for key in [*ROWS, "fine"]}
        done = Converger(it.conn, it.move, "test").apply(Batch(it.move, keys, set(), [], {0: None}, {}))
        assert {letter.sqlstate for letter in done.letters} == {"22001"}
        found = it.run('SELECT key[1], "column" FROM cutover.dead_letter')
        assert dict(found) == {key: column for key, (_, column) in ROWS.items()}
        assert it.run("SELECT a FROM new.t") == [("fine",)]


CASTS_DDL = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.t (a text, x int, b text, c text, d numeric, e text, PRIMARY KEY (a, x));
CREATE TABLE new.t (a text, x int, b int, "C %" date, d numeric(4,2), e text, PRIMARY KEY (a, x));
CREATE FUNCTION new.audit() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM new.e::int; RETURN new; END $$;
CREATE TRIGGER audit BEFORE INSERT ON new.t FOR EACH ROW EXECUTE FUNCTION new.audit();
"""
CASTS = """SELECT t.a, t.x, t.b::int AS b, t.c::date AS "C %", t.d, t.e FROM old.t"""
CAST_ROWS: dict[str, tuple[tuple[str, str, str, str], str, str | None]] = {
    "no number": (("x", "2026-01-01", "1", "1"), "22P02", "b"),
    "out of range": (("9999999999", "2026-01-01", "1", "1"), "22003", "b"),
    "no date": (("1", "x", "1", "1"), "22007", "C %"),
    "no such day": (("1", "2026-02-30", "1", "1"), "22008", "C %"),
    "does not fit": (("1", "2026-01-01", "123", "1"), "22003", "d"),
    "two": (("9999999999", "2026-01-01", "123", "1"), "22003", None),
    "trigger": (("1", "2026-01-01", "1", "x"), "22P02", None),  # reads well, and a trigger of the target fails
}


@pytest.mark.parametrize("server", ["pg15", "pg18"], indirect=True)
def test_a6_the_column_that_cannot_be_read_or_converted(dsn: str) -> None:
    with arena(dsn, CASTS_DDL, CASTS, key=("a", "x"), partitions=1) as it:
        for key, (values, _, _) in CAST_ROWS.items():
            it.conn.execute("INSERT INTO old.t VALUES (%s, 7, %s, %s, %s, %s)", (key, *values))
        it.run("INSERT INTO old.t VALUES ('fine', 7, '1', '2026-01-01', 1, '1')")
        keys: dict[Key, tuple[int, int]] = {(key, "7"): (0, 0) for key in [*CAST_ROWS, "fine"]}
        done = Converger(it.conn, it.move, "test").apply(Batch(it.move, keys, set(), [], {0: None}, {}))
        assert len(done.letters) == len(CAST_ROWS)
        found = it.run('SELECT key[1], sqlstate, "column" FROM cutover.dead_letter')
        assert {key: rest for key, *rest in found} == {key: [*rest] for key, (_, *rest) in CAST_ROWS.items()}
        assert it.run("SELECT a FROM new.t") == [("fine",)]


LONE_DDL = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.t (a text PRIMARY KEY, live text, b text);
CREATE TABLE new.t (a int PRIMARY KEY, b int);
"""
LONE = "SELECT t.a::int AS a, t.b::int AS b FROM old.t WHERE t.live::int > 0"
LONE_ROWS: dict[str, tuple[str, str, str | None]] = {
    "1": ("1", "x", "b"),
    "2": ("x", "1", None),  # the condition fails, whatever is read
    "no number": ("1", "1", None),  # the key does
}


def lone(dsn: str, key: str) -> list[object]:
    """The columns that letters name, of a move that writes one column, where one row is at fault."""
    with arena(dsn, LONE_DDL, LONE, key=("a",), partitions=1) as it:
        live, b, _ = LONE_ROWS[key]
        it.conn.execute("INSERT INTO old.t VALUES (%s, %s, %s)", (key, live, b))
        Converger(it.conn, it.move, "test").apply(Batch(it.move, {(key,): (0, 0)}, set(), [], {0: None}, {}))
        return [column for (column,) in it.run('SELECT "column" FROM cutover.dead_letter')]


@pytest.mark.parametrize("key", LONE_ROWS)
def test_a6_a_lone_column_is_not_at_fault_for_what_fails_without_it(dsn: str, key: str) -> None:
    assert lone(dsn, key) == [LONE_ROWS[key][2]]


def test_a6_a_letter_does_not_wait_for_the_name_of_its_column(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow mapping takes long for each trial, and the batch's positions stay locked."""
    monkeypatch.setattr(column_at_fault, "_LONGEST", 0.0)
    assert lone(dsn, "1") == [None]
