"""Restore: rows of a source as of a moment, from the log alone, against copies that were taken then."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cdc.beginning import Beginning, beginning
from cdc.frame import CHANGES, WATERMARK, decode, encode
from cdc.replication import lsn_number
from consumers.backfill import backfill
from cutover.arguments import read_moment
from cutover.plan import load_plan
from cutover.restore.moment import Moment
from cutover.restore.report import Restored
from cutover.restore.run import restore
from sql.errors import Refused, UsageError
from sql.names import Name
from tests.integration.rig import FILES, PLAN, SCHEMA, Rig, prepared, write_plan

BOTH = pytest.mark.parametrize(
    ("server", "log_address"), [("pg18", "sqlite"), ("pg15", "kafka")], indirect=True, ids=["pg18-sqlite", "pg15-kafka"]
)
ONE = pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])
WITH_ROWS = {**FILES, "plan.toml": PLAN.replace("\nkey ", '\nbackfill = "rows"\nkey ')}
# What enters the log of each source: mapped columns and the replica identity.
COLUMNS = {
    "shop.item_cost": ("item_id", "cost", "currency"),  # REPLICA IDENTITY FULL
    "shop.item_state": ("item_id", "state", "note"),
    "shop.item_hold": ("id", "item_id", "qty"),  # several rows of a key, which move between keys
    "shop.payment": ("id", "ref", "amount"),  # rows that the mapping leaves out
    '"Lager"."Preis"': ("Land", "Nummer", "Währung", "betrag"),
}
ROWS = 300
LONG = "(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 300))"  # too long to be stored in line


@pytest.fixture
def rig(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> Iterator[Rig]:
    """A shop that had its rows before it was prepared."""
    rig = Rig(dsn, plan_name, log_address, tmp_path, SCHEMA, WITH_ROWS)
    rig.conn.execute("ALTER TABLE shop.item_state ALTER note SET STORAGE EXTERNAL")
    fill(rig)
    with prepared(rig):
        yield rig


@dataclass(slots=True)
class Copies:
    """Copies of every source, each with the moment that it was taken at."""

    rig: Rig
    taken: list[tuple[str, str]]  # LSN, time

    def take(self) -> None:
        for at, (source, columns) in enumerate(COLUMNS.items()):
            listed = ", ".join(f'"{column}"' for column in columns)
            self.rig.conn.execute(f"CREATE TABLE copy_{len(self.taken)}_{at} AS SELECT {listed} FROM {source}".encode())
        row = self.rig.conn.execute("SELECT pg_current_wal_insert_lsn()::text, clock_timestamp()::text").fetchone()
        assert row is not None
        self.taken.append((row[0], row[1]))

    def compare(self, number: int, moment: Moment) -> list[Restored]:
        """Restore every source as of a copy; the rows must be those of the copy."""
        found = []
        for at, source in enumerate(COLUMNS):
            into = f"public.back_{number}_{at}"
            self.rig.conn.execute(f"DROP TABLE IF EXISTS {into}".encode())
            found.append(rebuild(self.rig, source, moment, into))
            assert same(self.rig, into, f"copy_{number}_{at}") == (0, 0), (source, moment, found[-1])
        return found


def rebuild(rig: Rig, source: str, moment: Moment, into: str, move: str | None = None) -> Restored:
    folder = load_plan(str(rig.folder))
    return restore(rig.conn, rig.log, folder, Name.parse(source), moment, Name.parse(into), move)


def same(rig: Rig, left: str, right: str) -> tuple[Any, ...]:
    """How many rows only the one, and only the other has."""
    query = (
        f"SELECT (SELECT count(*) FROM (TABLE {left} EXCEPT ALL TABLE {right}) l),"
        f" (SELECT count(*) FROM (TABLE {right} EXCEPT ALL TABLE {left}) r)"
    )
    row = rig.conn.execute(query.encode()).fetchone()
    assert row is not None
    return row


def fill(rig: Rig, count: int = ROWS) -> None:
    for statement in (
        "INSERT INTO shop.item (id, name) SELECT md5(n::text)::uuid, 'thing ' || n FROM generate_series(1, %s) n",
        "INSERT INTO shop.item_cost SELECT id, 1.5, 'EUR', 'secret' FROM shop.item LIMIT %s",
        f"INSERT INTO shop.item_state (item_id, state, note) SELECT id, 'new', {LONG} FROM shop.item LIMIT %s",
        "INSERT INTO shop.item_hold (item_id, qty) SELECT id, 1 FROM shop.item, generate_series(1, 2) LIMIT %s",
        "INSERT INTO shop.payment (ref, amount) SELECT 'R' || n %% 250, n FROM generate_series(1, %s) n",
        """INSERT INTO "Lager"."Preis" SELECT 'DE', n::text, 'EUR', n FROM generate_series(1, %s) n""",
    ):
        rig.conn.execute(statement.encode(), (count,))


ONE_ITEM = "(SELECT id FROM shop.item ORDER BY md5(id::text || %(dice)s) LIMIT 1)"
WRITES = (
    f"UPDATE shop.item_cost SET cost = %(n)s WHERE item_id = {ONE_ITEM}",
    f"DELETE FROM shop.item_cost WHERE item_id = {ONE_ITEM}",
    f"INSERT INTO shop.item_cost SELECT {ONE_ITEM}, %(n)s, 'CHF' ON CONFLICT DO NOTHING",
    f"UPDATE shop.item_cost SET secret = %(dice)s WHERE item_id = {ONE_ITEM}",
    f"UPDATE shop.item_state SET state = %(dice)s WHERE item_id = {ONE_ITEM}",  # leaves the long value alone (C7)
    f"UPDATE shop.item_state SET note = {LONG} WHERE item_id = {ONE_ITEM}",
    f"DELETE FROM shop.item_state WHERE item_id = {ONE_ITEM}",
    f"UPDATE shop.item_hold SET item_id = {ONE_ITEM} WHERE id %% 50 = %(n)s %% 50",
    f"INSERT INTO shop.item_hold (item_id, qty) VALUES ({ONE_ITEM}, %(n)s)",
    "DELETE FROM shop.item_hold WHERE id %% 97 = %(n)s %% 97",
    "UPDATE shop.payment SET ref = 'R' || %(n)s %% 260, amount = amount + 1 WHERE id %% 40 = %(n)s %% 40",
    "DELETE FROM shop.payment WHERE id %% 101 = %(n)s %% 101",
    """UPDATE "Lager"."Preis" SET betrag = betrag + 1, "Nummer" = 'x' || "Nummer" WHERE betrag::int %% 60 = %(n)s %% 60""",
    """DELETE FROM "Lager"."Preis" WHERE betrag::int %% 103 = %(n)s %% 103""",
)


def write(rig: Rig, chance: random.Random, transactions: int) -> None:
    for _ in range(transactions):
        with rig.conn.transaction():
            for _ in range(chance.randint(1, 4)):
                values = {"n": chance.randint(1, 10_000), "dice": str(chance.random())}
                rig.conn.execute(chance.choice(WRITES).encode(), values)


def again(rig: Rig, chance: random.Random) -> None:
    """Append the newest records of each partition once more, as a capture does that was killed before it confirmed."""
    writer = rig.log.writer()
    query = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s"
    (confirmed,) = rig.conn.execute(query, (rig.plan.slot,)).fetchone() or ("",)
    for move in rig.plan.moves:
        frames: dict[int, list[bytes]] = {at: [] for at in range(move.partitions)}
        marks: dict[int, Beginning] = {}
        for record in rig.placed(move.name):
            found = decode(record.value)
            marks[record.partition] = beginning(found) or marks[record.partition]
            if found.kind == CHANGES:
                frames[record.partition].append(record.value)
        for partition, listed in frames.items():
            if not listed:
                continue
            since = max(0, len(listed) - chance.randint(1, 12))
            while since and xids(listed[since]) & xids(listed[since - 1]):
                since -= 1  # whole transactions
            first = decode(listed[since])
            line = replace(marks[partition], lsn=first.transactions()[0].commit_lsn, again=True).line()
            sources = [source.name.sql for source in move.sources]
            mark = encode(WATERMARK, lsn=0, time=first.time, sources=sources, relations=[line])
            # No slot is told more than every partition's newest record reaches.
            reached = encode(WATERMARK, lsn=lsn_number(confirmed), time=first.time)
            for value in (mark, *listed[since:], reached):
                writer.append(move.topic, partition, value)
    assert writer.wait(writer.queued(), 30)
    writer.close()


@BOTH
def test_a_source_is_rebuilt_as_of_moments_between_transactions(rig: Rig) -> None:
    """While rows are read, changed and moved between keys; then capture is killed before it could confirm."""
    chance, copies = random.Random(5), Copies(rig, [])
    capture = rig.capture()
    rig.consume()
    filling = [
        threading.Thread(target=backfill, args=(rig.dsn, rig.plan, move, rig.open_log(), threading.Event()))
        for move in rig.plan.moves
    ]
    for thread in filling:
        thread.start()
    while any(thread.is_alive() for thread in filling):
        write(rig, chance, 1)  # in between, so that rows and changes stand in the log in any order
    copies.take()
    write(rig, chance, 40)
    copies.take()
    rig.stop(capture)
    again(rig, chance)
    rig.capture()
    write(rig, chance, 40)
    copies.take()
    write(rig, chance, 20)
    for source in COLUMNS:
        rig.conn.execute(f"DELETE FROM {source}".encode())
    rig.drain()
    for number, (lsn, at) in enumerate(copies.taken):
        if number != 1 and rig.address.startswith("kafka"):
            continue  # every restore opens the topic eight times, which takes a second there
        found = copies.compare(number, Moment(lsn=lsn_number(lsn)))
        assert all(each.certain for each in found), found
        assert all(each.certain for each in copies.compare(number, read_moment("--at", at)))
    assert {each.source: each.not_in_log for each in found}["shop.item_cost"] == ["secret"]


@ONE
def test_what_the_log_cannot_know_is_said(rig: Rig) -> None:
    """Rows that no backfill read, long values, NULL keys, rows too large for the log (C7, L4)."""
    rig.capture()
    rig.consume()
    rig.conn.execute("UPDATE shop.item_state SET state = 'changed' WHERE id <= 3")
    rig.conn.execute("UPDATE shop.payment SET ref = NULL WHERE id = 7")
    rig.drain()
    row = rig.conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None
    before = Moment(lsn=lsn_number(row[0]))
    states = rebuild(rig, "shop.item_state", before, "public.states")
    assert (states.rows, states.complete, states.reached, states.certain) == (3, False, True, False)
    assert dict(states.long_values) == {"note": 3}
    assert rebuild(rig, "shop.payment", before, "public.payments").without_key == 1
    said = " ".join(states.unknown())
    assert "no backfill of item" in said
    assert "long values of note" in said

    move = rig.move("item")
    backfill(rig.dsn, rig.plan, move, rig.log, threading.Event())
    rig.conn.execute("UPDATE shop.item_state SET note = repeat(md5(id::text), 40000) WHERE id = 9")
    rig.drain()
    found = rig.conn.execute(
        "SELECT pg_current_wal_insert_lsn()::text, item_id::text FROM shop.item_state WHERE id = 9"
    )
    lsn, key = found.fetchone() or ("", "")
    large = rebuild(rig, "shop.item_state", Moment(lsn=lsn_number(lsn)), "public.large")
    assert (large.rows, large.complete, large.too_large, large.certain) == (ROWS, True, [key], False)


@ONE
def test_a_truncated_source_is_known_to_be_empty(rig: Rig) -> None:
    """C8: what came before is still in the log, and what comes after is all there is."""
    rig.capture()
    rig.consume()
    backfill(rig.dsn, rig.plan, rig.move("item"), rig.log, threading.Event())
    copies = Copies(rig, [])
    copies.take()
    rig.conn.execute("TRUNCATE shop.item_hold")
    rig.conn.execute("INSERT INTO shop.item_hold (item_id, qty) SELECT id, 5 FROM shop.item LIMIT 3")
    row = rig.conn.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row is not None
    after = rebuild(rig, "shop.item_hold", Moment(lsn=lsn_number(row[0])), "public.after")
    assert (after.rows, after.certain) == (3, True)
    at = list(COLUMNS).index("shop.item_hold")
    assert rebuild(rig, "shop.item_hold", Moment(lsn=lsn_number(copies.taken[0][0])), "public.before").certain
    assert same(rig, "public.before", f"copy_0_{at}") == (0, 0)


@ONE
def test_what_is_asked_for_wrongly_is_refused(rig: Rig) -> None:
    rig.capture()
    now = Moment(lsn=1)
    for source, into, error, said in (
        ("shop.nothing", "public.x", UsageError, "no source of plan"),
        ("shop.item_cost", "shop.item", Refused, "has rows"),
        ("shop.item_cost", "shpo.x", Refused, "there is no schema shpo for the table shpo.x\n.*did you mean shop?"),
    ):
        with pytest.raises(error, match=said):
            rebuild(rig, source, now, into)
    with pytest.raises(UsageError, match="no source of move ledger"):
        rebuild(rig, "shop.item_cost", now, "public.x", "ledger")
    with pytest.raises(UsageError, match="--at 10000000/0 is yet to come\n  hint: the server is at "):
        rebuild(rig, "shop.item_cost", read_moment("--at", "10000000/0"), "public.x")


def xids(value: bytes) -> set[int]:
    """The transactions of a frame."""
    return {each.xid for each in decode(value).transactions()}


def test_the_plan_says_what_a_backfill_puts_into_the_log(tmp_path: Path) -> None:
    folder = write_plan(tmp_path / "plan", "shop", WITH_ROWS)
    assert {move.backfill for move in load_plan(str(folder)).moves} == {"rows"}
    assert {move.backfill for move in load_plan(str(write_plan(tmp_path / "p2", "shop"))).moves} == {"keys"}
