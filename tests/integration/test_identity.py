"""The application's UPDATE and DELETE never fail because a table is published, and the old key is always there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from cdc.identity import build_index, needed_keys, read_identities, remedies
from cdc.publication import ensure_publication, read_publication
from sql.connection import connect
from sql.errors import Refused
from sql.model import Source
from sql.names import Name
from tests.integration.background import Background
from tests.integration.prepared import Prepared, small_world
from tests.integration.small_plan import PRICE

EVENTS = Name("Lager", "Ereignis")


@pytest.fixture
def world(dsn: str, plan_name: str, tmp_path: Path) -> Iterator[Prepared]:
    with small_world(dsn, plan_name, tmp_path) as world:
        yield world


def test_c4_no_update_of_the_application_fails_while_everything_is_prepared(world: Prepared) -> None:
    stop = False
    written = 0

    def write() -> None:
        nonlocal written
        with connect(world.dsn, "application") as conn:
            while not stop:
                conn.execute(f'UPDATE {PRICE.sql} SET note = %s, "Teil" = "Teil" WHERE id = 1', (str(written),))
                conn.execute(f"INSERT INTO {PRICE.sql} (\"Teil\") VALUES ('gone')")
                conn.execute(f"DELETE FROM {PRICE.sql} WHERE \"Teil\" = 'gone'")
                written += 1

    writing = Background(write)
    try:
        world.prepare()
        after = written
        deadline = time.monotonic() + 10
        while written < after + 10 and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        stop = True
    assert writing.join() is None
    assert written >= after + 10


def test_c4_a_table_without_identity_is_never_published(world: Prepared) -> None:
    world.conn.execute(f"ALTER TABLE {PRICE.sql} REPLICA IDENTITY NOTHING")
    with pytest.raises(Refused):
        ensure_publication(world.conn, world.plan.publication, world.plan.moves)
    assert world.value("SELECT count(*) FROM pg_publication") == 0


def test_c5_the_old_key_is_in_the_stream_of_a_delete_and_of_a_key_change(world: Prepared) -> None:
    world.prepare()
    slot = f"{world.plan.slot}_seen"
    world.conn.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
    world.conn.execute(f"UPDATE {PRICE.sql} SET \"Teil\" = 'moved' WHERE \"Teil\" = 'p000004'")
    world.conn.execute(f"DELETE FROM {PRICE.sql} WHERE \"Teil\" = 'p000005'")
    rows = world.conn.execute(
        "SELECT data FROM pg_logical_slot_get_binary_changes("
        "%s, NULL, NULL, 'proto_version', '1', 'publication_names', %s)",
        (slot, world.plan.publication),
    ).fetchall()
    updates = [bytes(row[0]) for row in rows if bytes(row[0])[:1] == b"U"]
    deletes = [bytes(row[0]) for row in rows if bytes(row[0])[:1] == b"D"]
    assert len(updates) == len(deletes) == 1
    assert b"p000004" in updates[0]
    assert b"moved" in updates[0]
    assert b"p000005" in deletes[0]
    assert not any(b"secret-token" in bytes(row[0]) for row in rows)  # C11


def test_an_interrupted_index_build_is_dropped_and_built_again(world: Prepared) -> None:
    (remedy,) = [each for each in remedies(world.conn, world.plan.moves) if each.table == PRICE]
    assert remedy.build is not None
    with connect(world.dsn, "old") as old, old.transaction():
        old.execute(f"UPDATE {PRICE.sql} SET note = note WHERE id = 1")
        with connect(world.dsn, "killed") as conn:
            conn.execute("SET statement_timeout = '300ms'")
            with pytest.raises(psycopg.errors.QueryCanceled):
                conn.execute(remedy.build.encode())
    index = Name(PRICE.schema, str(remedy.index)).sql
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
    assert world.value(valid, (index,)) is False
    build_index(world.conn, remedy)
    assert world.value(valid, (index,)) is True
    oid = world.value("SELECT to_regclass(%s)::oid", (index,))
    build_index(world.conn, remedy)
    assert world.value("SELECT to_regclass(%s)::oid", (index,)) == oid


def test_a_new_identity_and_the_column_list_change_together(world: Prepared) -> None:
    """Published with its primary key, then keyed by another column: no UPDATE in between may fail."""
    part = world.plan.move("part")
    sources = tuple(replace(source, keys=(("id",),)) if source.name == PRICE else source for source in part.sources)
    world.prepare("part")
    world.conn.execute(f"ALTER TABLE {PRICE.sql} REPLICA IDENTITY DEFAULT")
    ensure_publication(world.conn, world.plan.publication, [replace(part, sources=sources)])
    assert read_publication(world.conn, world.plan.publication)[PRICE] is not None
    world.prepare("part")
    assert read_publication(world.conn, world.plan.publication)[PRICE] == ("id", "Teil", "Währung", "note")
    world.conn.execute(f"UPDATE {PRICE.sql} SET note = 'x'")


def test_c4_partitions_are_looked_at_one_by_one(world: Prepared) -> None:
    conn = world.conn
    for statement in (
        f"CREATE TABLE {EVENTS.sql} (id int, at date, part text NOT NULL, PRIMARY KEY (id, at))"
        " PARTITION BY RANGE (at)",
        f"CREATE TABLE \"Lager\".\"e 1\" PARTITION OF {EVENTS.sql} FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
        f"CREATE TABLE \"Lager\".\"e 2\" PARTITION OF {EVENTS.sql} FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        f"INSERT INTO {EVENTS.sql} VALUES (1, '2025-05-05', 'a'), (2, '2026-05-05', 'b')",
    ):
        conn.execute(statement.encode())
    part = world.plan.move("part")
    source = Source(EVENTS, 0, (("part",),), ("id", "at", "part"), "default")
    move = replace(part, sources=(source,))
    assert needed_keys([move]) == {EVENTS: ("part",)}
    needed = remedies(conn, [move])
    assert [remedy.kind for remedy in needed] == ["full", "full", "full"]
    with pytest.raises(Refused):
        ensure_publication(conn, world.plan.publication, [move])
    for remedy in needed:
        conn.execute(remedy.apply.encode())
    ensure_publication(conn, world.plan.publication, [move])
    assert read_publication(conn, world.plan.publication) == {EVENTS: None}
    conn.execute(f"UPDATE {EVENTS.sql} SET part = part || 'x'")
    conn.execute(f"DELETE FROM {EVENTS.sql} WHERE id = 2")
    # A new partition does not inherit the identity: it is told apart, and refused.
    conn.execute(f'CREATE TABLE "Lager"."e 3" PARTITION OF {EVENTS.sql} DEFAULT')
    assert [each.table.relation for each in read_identities(conn, [EVENTS]) if not each.serves(("part",))] == ["e 3"]
