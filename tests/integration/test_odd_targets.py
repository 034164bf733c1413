"""Targets with a will of their own: generated columns, identities, deferred constraints, triggers, cascades, rules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cdc import frame
from cdc.frame import CHANGES
from consumers.echo import ROUNDS
from sql.errors import Refused
from tests.integration.rig import Rig, prepared

BOTH = pytest.mark.parametrize(
    ("server", "log_address"), [("pg15", "sqlite"), ("pg18", "sqlite")], indirect=True, ids=["pg15", "pg18"]
)
NEWEST = pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18"])

PLAN = """
name = "{name}"
[moves.stock]
target  = "shop.stock"
mapping = "stock.sql"
key     = ["id"]
rows    = "all"
"""
STOCK = "SELECT l.id, l.qty, l.label FROM shop.legacy l"
LEGACY = """
CREATE SCHEMA shop;
CREATE TABLE shop.legacy (id int PRIMARY KEY, qty int, label text);
INSERT INTO shop.legacy SELECT n, n, 'l' || n FROM generate_series(1, 40) n;
"""
PLAIN = "CREATE TABLE shop.stock (id int PRIMARY KEY, qty int, label text);"


@contextmanager
def world(dsn: str, name: str, address: str, folder: Path, ddl: str, **files: str) -> Iterator[Rig]:
    """A legacy table of 40 rows that becomes shop.stock, which `ddl` makes."""
    given = {"plan.toml": PLAN, "stock.sql": STOCK} | {file.replace("__", "."): text for file, text in files.items()}
    rig = Rig(dsn, name, address, folder, LEGACY + ddl, given)
    try:
        yield rig
    finally:
        rig.close()


def stream(rig: Rig) -> None:
    """Every kind of change, before and while consumers run."""
    rig.prepare()
    rig.conn.execute("UPDATE shop.legacy SET qty = qty + 100 WHERE id <= 10")
    rig.capture()
    rig.consume()
    rig.backfill()
    rig.conn.execute("INSERT INTO shop.legacy SELECT n, n, 'new' || n FROM generate_series(41, 50) n")
    rig.conn.execute("UPDATE shop.legacy SET qty = qty + 1, label = label || '!' WHERE id % 3 = 0")
    rig.conn.execute("DELETE FROM shop.legacy WHERE id % 10 = 0")
    rig.drain()


def letters(rig: Rig) -> list[tuple[object, ...]]:
    """The open ones: key and SQLSTATE."""
    query = "SELECT key[1], sqlstate FROM cutover.dead_letter WHERE plan = %s AND state = 'open' ORDER BY key"
    return rig.conn.execute(query, (rig.name,)).fetchall()


def findings(rig: Rig) -> dict[str, str]:
    """By severity and code, what is said and the cure."""
    return {f"{it.severity} {it.code}": f"{it.message} -- {it.cure}" for it in rig.compile().findings}


def counted(rig: Rig, query: str) -> object:
    row = rig.conn.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


TAKEN = {
    "stored": "CREATE TABLE shop.stock (id int PRIMARY KEY, qty int, label text,"
    " twice int GENERATED ALWAYS AS (qty * 2) STORED)",
    "surrogate": "CREATE TABLE shop.stock (no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id int UNIQUE, qty int,"
    " label text)",
    "identity-key": "CREATE TABLE shop.stock (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, qty int, label text)",
    "deferred": "CREATE TABLE shop.kind (id int PRIMARY KEY); INSERT INTO shop.kind SELECT generate_series(1, 200);"
    "CREATE TABLE shop.stock (id int PRIMARY KEY, qty int REFERENCES shop.kind DEFERRABLE INITIALLY DEFERRED,"
    " label text UNIQUE DEFERRABLE INITIALLY DEFERRED)",
    "exempting trigger": PLAIN + "CREATE FUNCTION shop.shout() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN NEW.label := upper(NEW.label); RETURN NEW; END $$; CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON"
    " shop.stock FOR EACH ROW WHEN (current_setting('application_name') NOT LIKE 'cutover %')"
    " EXECUTE FUNCTION shop.shout()",
}


@NEWEST
@pytest.mark.parametrize("ddl", TAKEN.values(), ids=TAKEN)
def test_a_target_that_fills_or_checks_itself(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path, ddl: str
) -> None:
    """Nothing is said of it, and it becomes what the mapping says."""
    with world(dsn, plan_name, log_address, tmp_path, ddl) as rig:
        assert findings(rig) == {}
        stream(rig)
        assert rig.differences() == {}
        assert letters(rig) == []
        assert counted(rig, "SELECT count(*) FROM shop.stock") == 45


@NEWEST
def test_a_target_with_a_virtual_column(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> None:
    ddl = PLAIN + "ALTER TABLE shop.stock ADD twice int GENERATED ALWAYS AS (qty * 2) VIRTUAL"
    with world(dsn, plan_name, log_address, tmp_path, ddl) as rig:
        stream(rig)
        assert rig.differences() == {}
        assert counted(rig, "SELECT count(*) FROM shop.stock WHERE twice = 2 * qty") == 45


REFUSED = {
    "unlogged-target": ("CREATE UNLOGGED TABLE shop.stock (id int PRIMARY KEY, qty int, label text)", "SET LOGGED"),
    "target-children": (PLAIN + "CREATE TABLE shop.old () INHERITS (shop.stock)", "NO INHERIT"),
    "target-rule": (PLAIN + "CREATE RULE no AS ON UPDATE TO shop.stock DO INSTEAD NOTHING", "DROP RULE no ON"),
    "no-key-constraint": (PLAIN.replace("KEY", "KEY DEFERRABLE"), "CREATE UNIQUE INDEX CONCURRENTLY"),
    "generated-target": (
        PLAIN.replace("qty int", "qty int GENERATED ALWAYS AS IDENTITY"),
        "ALTER TABLE shop.stock ALTER qty SET GENERATED BY DEFAULT",
    ),
}


@NEWEST
@pytest.mark.parametrize("code", REFUSED)
def test_a_target_that_would_lose_what_is_written_is_refused(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path, code: str
) -> None:
    """… by `plan --check`, with the cure, and by prepare."""
    ddl, cure = REFUSED[code]
    with world(dsn, plan_name, log_address, tmp_path, ddl) as rig:
        assert cure in findings(rig)[f"block {code}"]
        with pytest.raises(Refused, match=r"shop\.stock"):
            rig.prepare()
        assert counted(rig, "SELECT to_regnamespace('cutover') IS NULL")


@NEWEST
def test_an_unlogged_partition_of_the_target_is_refused(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    ddl = (
        "CREATE TABLE shop.stock (id int PRIMARY KEY, qty int, label text) PARTITION BY RANGE (id);"
        "CREATE UNLOGGED TABLE shop.low PARTITION OF shop.stock FOR VALUES FROM (0) TO (20);"
        "CREATE TABLE shop.high PARTITION OF shop.stock DEFAULT;"
    )
    with world(dsn, plan_name, log_address, tmp_path, ddl) as rig:
        with pytest.raises(Refused, match=r"shop.low is unlogged.*ALTER TABLE with SET LOGGED"):
            rig.prepare()
        rig.conn.execute("ALTER TABLE shop.low SET LOGGED")
        stream(rig)
        assert rig.differences() == {}


@BOTH
def test_what_fails_at_commit_is_a_dead_letter_of_its_key_alone(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    """A6: a deferred constraint speaks after every statement has succeeded, when the position is advanced already."""
    with world(dsn, plan_name, log_address, tmp_path, TAKEN["deferred"]) as rig:
        stream(rig)
        rig.conn.execute("UPDATE shop.legacy SET qty = 999 WHERE id IN (1, 2)")
        rig.conn.execute("UPDATE shop.legacy SET label = 'l4' WHERE id = 5")
        rig.conn.execute("UPDATE shop.legacy SET label = 'after' WHERE id = 7")
        rig.drain()
        assert letters(rig) == [("1", "23503"), ("2", "23503"), ("5", "23505")]
        assert {key for (key,) in rig.difference("stock")} == {"1", "2", "5"}
        rig.conn.execute("INSERT INTO shop.kind VALUES (999)")
        rig.conn.execute("UPDATE shop.legacy SET label = 'l5' WHERE id = 5")
        rig.backfill()
        rig.drain()
        assert letters(rig) == []
        assert rig.differences() == {}


TRIGGER = (
    "CREATE FUNCTION shop.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {} END $$;"
    "CREATE TRIGGER f {} ON shop.stock FOR EACH ROW EXECUTE FUNCTION shop.f();"
)
BEFORE = {
    "changes": TRIGGER.format("NEW.label := upper(NEW.label); RETURN NEW;", "BEFORE INSERT OR UPDATE"),
    "refuses": TRIGGER.format("RETURN NULL;", "BEFORE INSERT OR UPDATE"),
}


def streamed(rig: Rig) -> int:
    """Frames of changes and touches in the log."""
    return sum(frame.decode(value).kind == CHANGES for value in rig.records("stock"))


@NEWEST
@pytest.mark.parametrize("ddl", BEFORE.values(), ids=BEFORE)
def test_a_trigger_that_changes_what_converge_writes_is_told_and_does_not_go_round(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path, ddl: str
) -> None:
    with world(dsn, plan_name, log_address, tmp_path, PLAIN + ddl) as rig:
        (said,) = findings(rig).values()
        assert "the trigger f of shop.stock" in said
        assert "shop.f" in said
        stream(rig)
        frames = streamed(rig)
        assert len(rig.difference("stock")) == 45
        rig.drain()
        rig.drain()
        assert streamed(rig) == frames


@BOTH
def test_c12_what_a_trigger_of_the_target_writes_to_a_source_is_streamed(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    """It stands in the service's own transaction, which capture passes over only where the service itself wrote."""
    ddl = (
        PLAIN
        + "INSERT INTO shop.legacy SELECT n + 1000, 0, 'm' FROM generate_series(1, 50) n;"
        + TRIGGER.format(
            "UPDATE shop.legacy SET qty = NEW.qty WHERE id = NEW.id + 1000 AND qty <> NEW.qty; RETURN NULL;",
            "AFTER INSERT OR UPDATE",
        )
    )
    with world(dsn, plan_name, log_address, tmp_path, ddl) as rig:
        assert "shop.f writes to sources is streamed" in findings(rig)["warn target-trigger"]
        stream(rig)
        rig.drain()  # of what the trigger wrote meanwhile
        assert rig.differences() == {}
        assert counted(rig, "SELECT count(*) FROM shop.stock WHERE id > 1000 AND qty > 0") == 45
        frames = streamed(rig)
        rig.drain()
        assert streamed(rig) == frames


@BOTH
def test_c12_what_a_trigger_of_one_target_writes_to_that_of_another_move_is_streamed(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    """It is a source of the other move too: only what a move's own transactions write to its own tables is passed over."""
    schema = """
    CREATE SCHEMA shop;
    CREATE TABLE shop.payment (id int PRIMARY KEY, item int, amount int);
    CREATE TABLE shop.sale (id int PRIMARY KEY, item int, amount int);
    CREATE TABLE shop.item (id int PRIMARY KEY, sold int NOT NULL DEFAULT 0, label text);
    CREATE FUNCTION shop.count_sale() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE shop.item SET sold = sold + 1 WHERE id = NEW.item;
        RETURN NULL;
    END $$;
    CREATE TRIGGER count_sale AFTER INSERT ON shop.sale FOR EACH ROW EXECUTE FUNCTION shop.count_sale();
    INSERT INTO shop.item (id) SELECT generate_series(1, 9);
    """
    plan = """
    name = "{name}"
    [moves.sale]
    target  = "shop.sale"
    mapping = "sale.sql"
    key     = ["id"]
    rows    = "all"
    [moves.item]
    target  = "shop.item"
    mapping = "item.sql"
    key     = ["id"]
    rows    = "existing"
    """
    files = {
        "plan.toml": plan,
        "sale.sql": "SELECT p.id, p.item, p.amount FROM shop.payment p",
        "item.sql": "SELECT i.id, CASE WHEN i.sold > 0 THEN 'sold' ELSE 'new' END AS label FROM shop.item i",
    }
    with prepared(Rig(dsn, plan_name, log_address, tmp_path, schema, files)) as rig:
        rig.capture()
        rig.consume()
        rig.backfill()
        rig.drain()
        rig.conn.execute("INSERT INTO shop.payment SELECT n, n, 5 FROM generate_series(1, 4) n")
        rig.drain()  # the sales, with what the trigger has written …
        rig.drain()  # … and that
        assert rig.differences() == {}
        assert rig.conn.execute("SELECT count(*) FROM shop.item WHERE label = 'sold'").fetchone() == (4,)
        assert rig.stop() == []


@NEWEST
def test_c12_a_trigger_that_never_comes_to_rest_ends_in_dead_letters(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    """Each round gives a mapped column another value. The keys' letters name the trigger; all others are applied, and
    so are these once the trigger is gone."""
    again = "UPDATE shop.legacy SET label = clock_timestamp() WHERE id = NEW.id AND id <= 3; RETURN NULL;"
    with world(dsn, plan_name, log_address, tmp_path, PLAIN + TRIGGER.format(again, "AFTER INSERT OR UPDATE")) as rig:
        assert "would be answered for ever" in findings(rig)["warn target-trigger"]
        stream(rig)
        rig.wait_until("SELECT count(*) = 3 FROM cutover.dead_letter WHERE state = 'open'")
        rig.drain()
        assert letters(rig) == [("1", "09000"), ("2", "09000"), ("3", "09000")]
        (message,) = rig.conn.execute("SELECT DISTINCT message FROM cutover.dead_letter").fetchone() or ()
        assert "f of shop.stock (shop.f)" in message
        assert sorted(rig.difference("stock")) == [("1",), ("2",), ("3",)]
        frames = streamed(rig)
        rig.drain()
        assert streamed(rig) == frames
        rig.conn.execute("DROP TRIGGER f ON shop.stock")
        rig.backfill()
        rig.drain()
        assert (letters(rig), rig.differences()) == ([], {})


@NEWEST
def test_c12_a_key_that_the_application_changes_all_the_while_is_no_echo(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    """Each change of the application's brings one of the trigger's, which tells of nothing new."""
    once = "UPDATE shop.legacy SET qty = NEW.qty WHERE id = NEW.id; RETURN NULL;"
    with world(dsn, plan_name, log_address, tmp_path, PLAIN + TRIGGER.format(once, "AFTER INSERT OR UPDATE")) as rig:
        stream(rig)
        for number in range(20 * ROUNDS):
            rig.conn.execute("UPDATE shop.legacy SET label = %s WHERE id = 1", (f"l{number}",))
            if number % 3 == 0 and number < 5 * ROUNDS:  # then as fast as it goes
                rig.wait_until("SELECT label = %s FROM shop.stock WHERE id = 1", (f"l{number}",))
        rig.drain()
        assert (letters(rig), rig.differences()) == ([], {})


CASCADES = (
    PLAIN
    + """
CREATE TABLE shop.part (id int PRIMARY KEY, stock_id int REFERENCES shop.stock ON DELETE CASCADE, size int);
CREATE TABLE shop.parts (id int PRIMARY KEY, size int);
"""
)
PARTS = """
[moves.parts]
target  = "shop.parts"
mapping = "parts.sql"
key     = ["id"]
rows    = "all"
[moves.parts.waive]
"shop.part.stock_id" = "of no use"
"""


@NEWEST
def test_c12_what_a_delete_of_the_service_cascades_into_a_source_is_streamed(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    files = {"plan__toml": PLAN + PARTS, "parts__sql": "SELECT p.id, p.size FROM shop.part p"}
    with world(dsn, plan_name, log_address, tmp_path, CASCADES, **files) as rig:
        assert "shop.part may lose them" in findings(rig)["warn target-cascade"]
        stream(rig)
        rig.conn.execute("INSERT INTO shop.part SELECT id, id, id FROM shop.stock")
        rig.drain()
        assert counted(rig, "SELECT count(*) FROM shop.parts") == 45
        rig.conn.execute("DELETE FROM shop.legacy WHERE id < 10")
        rig.drain()
        rig.drain()
        assert counted(rig, "SELECT count(*) FROM shop.part") == 36
        assert rig.differences() == {}


@NEWEST
def test_a_cascade_into_the_target_is_told_and_a_touch_mends_it(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    ddl = (
        "CREATE TABLE shop.kind (id int PRIMARY KEY); INSERT INTO shop.kind SELECT generate_series(1, 200);"
        "CREATE TABLE shop.stock (id int PRIMARY KEY, qty int REFERENCES shop.kind ON DELETE CASCADE, label text);"
    )
    with world(dsn, plan_name, log_address, tmp_path, ddl) as rig:
        assert "DELETE or UPDATE on shop.kind" in findings(rig)["warn target-cascade"]
        stream(rig)
        rig.conn.execute("DELETE FROM shop.kind WHERE id = 11")
        rig.drain()
        assert rig.difference("stock") == [("11",)]
        rig.backfill()
        rig.drain()
        assert letters(rig) == [("11", "23503")]
        rig.conn.execute("INSERT INTO shop.kind VALUES (11)")
        rig.backfill()
        rig.drain()
        assert rig.differences() == {}
