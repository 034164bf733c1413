"""Mappings with a rule of their own, in the stream: the clock, a value that must not be lost, keys with many rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc import frame
from consumers.refresh import Refresher
from tests.integration.rig import Rig, prepared

SCHEMA = """
CREATE SCHEMA m;
CREATE TABLE m.lease (live boolean, host inet, until timestamptz, PRIMARY KEY (live, host));
CREATE TABLE m.lease_now (live boolean, host inet, held boolean, PRIMARY KEY (live, host));
CREATE TABLE m.item (id int PRIMARY KEY, colour text, size text);
CREATE TABLE m.doc (item_id int PRIMARY KEY, doc jsonb);
CREATE TABLE m.price (id int PRIMARY KEY, item_ref text, amount int);
CREATE TABLE m.price_now (item_ref text PRIMARY KEY, amount int);
"""

FILES = {
    "plan.toml": """
name = "{name}"

[moves.lease]
target  = "m.lease_now"
mapping = "lease.sql"
key     = ["live", "host"]
rows    = "all"

[moves.lease.refresh]
every = "200ms"
keys  = "lease_due.sql"

[moves.item]
target  = "m.item"
mapping = "item.sql"
key     = ["id"]
rows    = "existing"

[moves.price]
target  = "m.price_now"
mapping = "price.sql"
key     = ["item_ref"]
rows    = "all"

[moves.price.waive]
"m.price.id" = "surrogate"
""",
    "lease.sql": "SELECT live, host, until > now() AS held FROM m.lease",
    "lease_due.sql": "SELECT live, host FROM m.lease WHERE until > :since AND until <= :until",
    "item.sql": """
SELECT i.id, coalesce(d.doc->>'colour', i.colour) AS colour, d.doc->>'size' AS size
  FROM m.item i LEFT JOIN m.doc d ON d.item_id = i.id
""",
    "price.sql": "SELECT item_ref, amount FROM m.price WHERE item_ref IS NOT NULL",
}


@pytest.fixture
def rig(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> Iterator[Rig]:
    with prepared(Rig(dsn, plan_name, log_address, tmp_path, SCHEMA, FILES)) as rig:
        rig.capture()
        rig.consume()
        yield rig


def test_a10_what_only_the_clock_changes_is_refreshed(rig: Rig) -> None:
    """Leases run out and nothing is written; their keys are touched in the notation of changes."""
    rig.start(Refresher(rig.dsn, rig.plan, rig.open_log()).run)
    rig.conn.execute(
        "INSERT INTO m.lease SELECT n % 2 = 0, '10.0.0.0'::inet + n, now() + interval '5 s' FROM generate_series(1, 20) n"
    )
    rig.conn.execute("INSERT INTO m.lease VALUES (true, '10.0.0.0/24', 'infinity')")
    rig.drain()
    assert held(rig) == [(True, 21)]
    rig.wait_until("SELECT count(*) FILTER (WHERE held) = 1 AND count(*) = 21 FROM m.lease_now")
    frames = [frame.decode(value) for value in rig.records("lease")]
    changed = {key for each in frames if each.kind == frame.CHANGES for key in each.keys}
    touched = {key for each in frames if each.kind == frame.TOUCH for key in each.keys}
    assert len(touched) == 20
    assert touched < changed
    assert rig.stop() == []


@pytest.mark.parametrize(("server", "log_address"), [("pg15", "sqlite")], indirect=True)
def test_a10_a_clock_that_was_set_back_is_followed(rig: Rig) -> None:
    """What a clock that was an hour ahead has made due is not due again, and becomes so when its time comes."""
    rig.conn.execute(
        "INSERT INTO m.lease SELECT true, '10.0.0.0'::inet + n, now() + (CASE n WHEN 1 THEN interval '3 s'"
        " WHEN 2 THEN interval '30 min' ELSE interval '2 h' END) FROM generate_series(1, 3) n"
    )
    rig.drain()
    # As it stood an hour ahead: two leases have run out, and everything up to then is refreshed.
    rig.conn.execute("UPDATE m.lease_now SET held = false WHERE host <= '10.0.0.2'")
    rig.conn.execute("UPDATE cutover.move SET refreshed_until = now() + interval '1 hour' WHERE move = 'lease'")
    rig.start(Refresher(rig.dsn, rig.plan, rig.open_log()).run)
    rig.wait_until("SELECT bool_and(held) FROM m.lease_now")
    rig.wait_until("SELECT NOT held FROM m.lease_now WHERE host = '10.0.0.1'")
    assert rig.differences() == {}
    assert rig.stop() == []


@pytest.mark.parametrize(("server", "log_address"), [("pg15", "sqlite")], indirect=True)
def test_a10_a_clock_that_jumped_between_two_refreshes_is_followed(rig: Rig) -> None:
    """A change was converged while the clock was an hour behind or ahead, and no refresh ran in that time."""
    rig.conn.execute(
        "INSERT INTO m.lease SELECT true, '10.0.0.0'::inet + n, now() + (CASE n WHEN 1 THEN interval '-30 min'"
        " WHEN 2 THEN interval '30 min' ELSE interval '2 h' END) FROM generate_series(1, 3) n"
    )
    rig.drain()
    rig.conn.execute("UPDATE cutover.move SET refreshed_until = now() WHERE move = 'lease'")
    # What those two converges left: a lease that had run out, alive; one that has not, run out; and when they were.
    rig.conn.execute("UPDATE m.lease_now SET held = NOT held WHERE host <= '10.0.0.2'")
    rig.conn.execute(
        "UPDATE cutover.position SET clock_low = now() - interval '1 hour', clock_high = now() + interval '1 hour'"
        " WHERE move = 'lease' AND partition = 0"
    )
    rig.start(Refresher(rig.dsn, rig.plan, rig.open_log()).run)
    rig.wait_until("SELECT array_agg(held ORDER BY host) = '{f,t,t}' FROM m.lease_now")
    assert rig.differences() == {}
    rig.wait_until("SELECT clock_low IS NULL AND clock_high IS NULL FROM cutover.move WHERE move = 'lease'")
    assert rig.stop() == []


@pytest.mark.parametrize(("server", "log_address"), [("pg15", "sqlite")], indirect=True)
def test_a10_converge_leaves_the_moment_at_which_it_read(rig: Rig) -> None:
    """Without a refresh, positions hold the earliest and the latest; a first one takes them over."""
    rig.conn.execute("INSERT INTO m.lease VALUES (true, '10.0.0.1', now())")
    rig.drain()
    rig.conn.execute("INSERT INTO m.lease VALUES (true, '10.0.0.2', now())")
    rig.drain()
    rig.wait_until("SELECT min(clock_low) < max(clock_high) FROM cutover.position WHERE move = 'lease'")
    rig.wait_until(
        "SELECT bool_and(clock_low <= updated_at AND clock_high = updated_at) FROM cutover.position WHERE move = 'lease'"
    )


def held(rig: Rig) -> list[tuple[object, ...]]:
    return rig.conn.execute("SELECT held, count(*) FROM m.lease_now GROUP BY held").fetchall()


def test_a9_a_value_stays_where_the_mapping_says_so(rig: Rig) -> None:
    """JSON without the key: the column with coalesce keeps its value, the one without is NULL, as the mapping says."""
    rig.conn.execute("INSERT INTO m.item VALUES (1, 'red', 'L'), (2, 'blue', 'M')")
    rig.conn.execute("""INSERT INTO m.doc VALUES (1, '{"size": "XL"}'), (2, '{"colour": "green", "size": null}')""")
    rig.drain()
    assert rig.conn.execute("SELECT * FROM m.item ORDER BY id").fetchall() == [(1, "red", "XL"), (2, "green", None)]
    rig.conn.execute("UPDATE m.doc SET doc = '{}'")
    rig.drain()
    assert rig.conn.execute("SELECT * FROM m.item ORDER BY id").fetchall() == [(1, "red", None), (2, "green", None)]


def test_a8_a_key_with_many_rows_is_a_dead_letter_until_it_has_one(rig: Rig) -> None:
    """No row wins by chance, a row that is there stays as it is, and the keys beside it go on."""
    rig.conn.execute("INSERT INTO m.price VALUES (1, 'a', 1), (2, 'b', 2)")
    rig.drain()
    rig.conn.execute("INSERT INTO m.price VALUES (3, 'a', 3), (4, 'c', 4), (5, 'c', 5)")
    rig.conn.execute("UPDATE m.price SET amount = 20 WHERE id = 2")
    rig.drain()
    assert rig.conn.execute("SELECT * FROM m.price_now ORDER BY 1").fetchall() == [("a", 1), ("b", 20)]
    assert letters(rig) == [(["a"], "21000"), (["c"], "21000")]
    rig.conn.execute("DELETE FROM m.price WHERE id IN (1, 4)")
    rig.drain()
    assert rig.conn.execute("SELECT * FROM m.price_now ORDER BY 1").fetchall() == [("a", 3), ("b", 20), ("c", 5)]
    assert letters(rig) == []


def letters(rig: Rig) -> list[tuple[object, ...]]:
    return rig.conn.execute(
        "SELECT key, sqlstate FROM cutover.dead_letter WHERE plan = %s AND state = 'open' ORDER BY key", (rig.name,)
    ).fetchall()
