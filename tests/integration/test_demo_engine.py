"""The demo's writers and its judge, without the service: what is acknowledged is entered, what is wrong is found."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import conninfo

from cutover.demo.check import check_ledger
from cutover.demo.ledger import Ledger
from cutover.demo.perform import open_session
from cutover.demo.stage import drop_reader, make_reader
from cutover.demo.workload import Transaction, Workload, load_workload
from cutover.demo.writer import Writer
from cutover.plan import plan_folder
from sql.connection import Connection, connect
from tests.integration.soleflipper import planned, statement
from tests.services.databases import fresh_database
from tests.services.postgres import PostgresServer

WRITERS = 3
_COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
_OWN = {
    "id", "product_id", "size_id", "supplier_id", "quantity", "status", "purchase_date", "listed_stockx", "location",
    "notes", "version", "created_at", "updated_at",
}  # fmt: skip


@pytest.fixture(scope="module")
def workload() -> Workload:
    return load_workload(plan_folder("soleflipper"))


@pytest.fixture
def conn(dsn: str) -> Iterator[Connection]:
    with planned(dsn, rows=1_000, at=datetime.now(UTC)) as conn:
        yield conn


def consolidate(conn: Connection) -> None:
    """Make the targets equal to the mappings, all at once: what the service does key by key."""
    columns = [name for (name,) in conn.execute(_COLUMNS, ["cutover.map_soleflipper_stock"])]
    written = ", ".join(f"{name} = m.{name}" for name in columns if name not in _OWN)
    update = f"UPDATE inventory.stock s SET {written} FROM cutover.map_soleflipper_stock m WHERE m.id = s.id"
    conn.execute(update.encode())
    columns = [name for (name,) in conn.execute(_COLUMNS, ["cutover.map_soleflipper_order"])]
    names = ", ".join(columns)
    insert = (
        f'INSERT INTO sales."order" ({names}) SELECT {names} FROM cutover.map_soleflipper_order ON CONFLICT DO NOTHING'
    )
    conn.execute(insert.encode())
    keys = [key for (key,) in conn.execute("SELECT external_id FROM cutover.map_soleflipper_order")]
    conn.execute(statement("order_annotate.sql").encode(), {"keys": keys})


@contextmanager
def writing(dsn: str, workload: Workload, number: int = 0) -> Iterator[Writer]:
    """One writer of three, ready to write."""
    writer = Writer(dsn, workload, number, WRITERS, 50.0)
    writer.prepare()
    try:
        yield writer
    finally:
        writer.conn.close()


def named(workload: Workload, name: str) -> Transaction:
    return next(each for each in workload.transactions if each.name == name)


def test_the_judge_agrees_with_a_correct_consolidation_and_finds_each_wrong_cell(
    conn: Connection, dsn: str, workload: Workload
) -> None:
    ledger = Ledger()
    with ExitStack() as stack:
        writers = [stack.enter_context(writing(dsn, workload, number)) for number in range(WRITERS)]
        for transaction in workload.transactions * 8:
            for writer in writers:
                writer.write(transaction)
        for writer in writers:
            assert writer.failures == {}
            ledger.merge(writer.ledger)
    assert set(ledger.touched) == set(workload.pools)
    time.sleep(workload.settle)  # the briefest reservations run out
    assert len(check_ledger(dsn, workload, ledger)) > 1_000, "nothing is consolidated yet"
    consolidate(conn)
    assert check_ledger(dsn, workload, ledger) == []

    key = next(key for key in sorted(ledger.touched["stock"]) if ("stock", key) in ledger.rows)
    conn.execute("UPDATE inventory.stock SET roi = 1234.56 WHERE id = %s", [key])
    (wrong,) = check_ledger(dsn, workload, ledger)
    assert (wrong.move, wrong.key, wrong.column, wrong.found) == ("stock", key, "roi", "1234.56")
    consolidate(conn)

    lost = conn.execute(
        """DELETE FROM sales."order" o USING financial.transaction t
            WHERE o.external_id = t.external_id AND t.id = ANY (%s::uuid[]) RETURNING t.id::text""",
        [sorted(ledger.touched["sale"])[:20]],
    ).fetchall()
    assert lost
    assert {(wrong.move, wrong.key) for wrong in check_ledger(dsn, workload, ledger)} == {
        ("order", key) for (key,) in lost
    }


@pytest.mark.parametrize(
    ("name", "kinds"), [("second_thoughts", {"lifecycle", "stock"}), ("abandon", set())], ids=["savepoint", "rollback"]
)
def test_what_is_rolled_back_is_not_entered(
    conn: Connection, dsn: str, workload: Workload, name: str, kinds: set[str]
) -> None:
    with writing(dsn, workload) as writer:
        before = dict(writer.ledger.rows)
        for _ in range(20):
            writer.write(named(workload, name))
    changed = {at[0] for at, image in writer.ledger.rows.items() if before.get(at) != image}
    assert changed == kinds
    assert writer.ledger.rows.keys() == before.keys()


def test_a_statement_that_fails_is_counted_and_undone(conn: Connection, dsn: str, workload: Workload) -> None:
    conn.execute("ALTER TABLE financial.transaction ADD CHECK (external_id NOT LIKE 'SOLD-%') NOT VALID")
    with writing(dsn, workload) as writer:
        before = dict(writer.ledger.rows)
        assert writer.write(named(workload, "sell")) is None
        assert writer.failures == {"23514": 1}
        assert writer.ledger.rows == before
        assert writer.write(named(workload, "reserve")) is not None, "the session goes on"


def cut(conn: Connection, name: str) -> None:
    """Break the session of this name once its commit waits for a standby."""
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name ~ %s"
    deadline = time.monotonic() + 30
    while (waiter := conn.execute(waiting, (name,)).fetchone()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    conn.execute("SELECT pg_terminate_backend(%s)", waiter)


@contextmanager
def commits_wait(conn: Connection, dsn: str) -> Iterator[None]:
    """From now on commits wait for a standby that does not exist; a probe's commit has been seen to do so."""
    conn.execute("SET synchronous_commit = local")
    conn.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    conn.execute("SELECT pg_reload_conf()")

    def probe() -> None:  # the server reads its configuration when it gets to it
        with suppress(psycopg.OperationalError), connect(dsn, "probe") as probing:
            while True:
                probing.execute("SELECT pg_logical_emit_message(true, 'test', 'probe')")

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        cut(conn, "probe")
        thread.join(30)
        yield
    finally:
        conn.execute("ALTER SYSTEM RESET synchronous_standby_names")
        conn.execute("SELECT pg_reload_conf()")


def test_a_commit_whose_answer_is_lost_is_resolved_by_asking(own_server: PostgresServer, workload: Workload) -> None:
    """The server has committed, waits for a standby that does not exist, and the connection breaks meanwhile."""
    with (
        fresh_database(own_server) as dsn,
        planned(dsn, rows=1_000, at=datetime.now(UTC)) as conn,
        writing(dsn, workload) as writer,
    ):
        before = set(writer.ledger.rows)
        with commits_wait(conn, dsn):
            thread = threading.Thread(target=writer.write, args=(named(workload, "reserve"),))
            thread.start()
            cut(conn, "demo writer")
            thread.join(30)
            assert not thread.is_alive()
        assert (writer.unknown, writer.ledger.transactions, dict(writer.failures)) == (1, 1, {})
        ((kind, key),) = set(writer.ledger.rows) - before
        assert kind == "reservation"
        assert conn.execute("SELECT FROM inventory.stock_reservation WHERE id = %s", [key]).fetchone() == ()


def test_readers_have_a_role_of_their_own_where_one_may_be_made(dsn: str, plan_name: str) -> None:
    poor, made = f"poor_{plan_name}", f"reader_{plan_name}"
    with connect(dsn, "test") as admin:
        admin.execute(f"CREATE ROLE {poor} LOGIN PASSWORD 'poor'".encode())
        try:
            assert make_reader(conninfo.make_conninfo(dsn, user=poor, password="poor"), made) is None
            assert make_reader(dsn, made) == made
            with open_session(dsn, "reader", made) as reader:
                assert reader.execute("SELECT current_user::text, NOT rolsuper AND NOT rolcanlogin FROM pg_roles WHERE rolname = current_user").fetchone() == (made, True)  # fmt: skip
        finally:
            drop_reader(dsn, made)
            admin.execute(f"DROP ROLE {poor}".encode())
        assert admin.execute("SELECT FROM pg_roles WHERE rolname IN (%s, %s)", (poor, made)).fetchone() is None
