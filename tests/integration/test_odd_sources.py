"""Sources as PostgreSQL lets them be: COPY FREEZE, generated columns, prepared transactions that stay open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from cdc.identity import build_index, remedies
from cdc.slot import recreate_slot
from cutover.flip import flip
from sql.connection import connect
from sql.errors import Busy, Refused
from sql.lock import build_patiently
from tests.integration.prepared import Prepared, small_world
from tests.integration.small_plan import FACADE, PRICE
from tests.integration.test_gaps import heal
from tests.integration.test_odd_targets import BOTH, NEWEST, PLAIN, PLAN, findings, letters, stream, world

WAIVED = {"plan__toml": PLAN + '[moves.stock.waive]\n"shop.legacy.twice" = "computed"\n'}
IDENTITIES = {
    "stored, FULL": "ALTER TABLE shop.legacy ADD twice int GENERATED ALWAYS AS (qty * 2) STORED;"
    "ALTER TABLE shop.legacy REPLICA IDENTITY FULL;",
    "stored, in the identity": "ALTER TABLE shop.legacy ADD twice int NOT NULL GENERATED ALWAYS AS (id * 2) STORED;"
    "CREATE UNIQUE INDEX whole ON shop.legacy (id, twice);"
    "ALTER TABLE shop.legacy REPLICA IDENTITY USING INDEX whole;",
    "stored, in the primary key": "ALTER TABLE shop.legacy ADD twice int NOT NULL GENERATED ALWAYS AS (id * 2) STORED,"
    " DROP CONSTRAINT legacy_pkey, ADD PRIMARY KEY (id, twice);",
}
VIRTUAL = "ALTER TABLE shop.legacy ADD twice int GENERATED ALWAYS AS (qty * 2) VIRTUAL;"
FULL = "ALTER TABLE shop.legacy REPLICA IDENTITY FULL;"


@BOTH
@pytest.mark.parametrize("ddl", IDENTITIES.values(), ids=IDENTITIES)
def test_c4_generated_columns_do_not_make_the_application_fail(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path, ddl: str
) -> None:
    """PostgreSQL 18 refuses UPDATE and DELETE where FULL has a generated column that is not published; every version
    does where the identity's index has one. `stream` updates and deletes as the application does."""
    with world(dsn, plan_name, log_address, tmp_path, PLAIN + ddl, **WAIVED) as rig:
        blocking = [said for code, said in findings(rig).items() if code.startswith("block")]
        assert ("FULL" in ddl) == (not blocking)
        stream(rig)  # it prepares with --set-identity
        assert rig.differences() == {}
        assert letters(rig) == []


@NEWEST
def test_c4_a_virtual_column_within_full_is_refused_with_a_cure(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    """The published UPDATE would fail. With a primary key there is another identity, without one there is none."""
    with world(dsn, plan_name, log_address, tmp_path, PLAIN + VIRTUAL + FULL, **WAIVED) as rig:
        assert "REPLICA IDENTITY USING INDEX legacy_pkey" in findings(rig)["block replica-identity"]
        rig.conn.execute("ALTER TABLE shop.legacy DROP CONSTRAINT legacy_pkey, ALTER id DROP NOT NULL")
        assert "make its virtual columns STORED" in findings(rig)["block no-replica-identity"]
        with pytest.raises(Refused, match="virtual and generated"):
            rig.prepare()
        rig.conn.execute("ALTER TABLE shop.legacy DROP COLUMN twice, ADD twice int")
        stream(rig)
        assert rig.differences() == {}


@NEWEST
def test_c4_a_publication_of_an_older_version_is_mended_by_prepare(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    """It was made before generated columns were thought of; prepare's own change of it is no gap."""
    with world(dsn, plan_name, log_address, tmp_path, PLAIN + FULL) as rig:
        stream(rig)
        rig.stop()
        rig.conn.execute(f"ALTER PUBLICATION cutover_{rig.name} SET (publish_generated_columns = none)".encode())
        rig.conn.execute(
            "UPDATE cutover.plan SET publication_mark = cutover.publication_mark(slot) WHERE plan = %s", (rig.name,)
        )
        rig.conn.execute("ALTER TABLE shop.legacy ADD twice int GENERATED ALWAYS AS (qty * 2) STORED")
        with pytest.raises(psycopg.errors.InvalidColumnReference):
            rig.conn.execute("UPDATE shop.legacy SET qty = 1")
        (rig.folder / "plan.toml").write_text(WAIVED["plan__toml"].replace("{name}", rig.name))
        rig.prepare()
        rig.conn.execute("UPDATE shop.legacy SET qty = 1")
        rig.capture()
        rig.consume()
        rig.drain()
        assert rig.differences() == {}
        assert rig.stop() == []


@BOTH
def test_c8_truncate_and_copy_freeze_in_one_transaction(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    """Frozen rows are visible to every snapshot, older ones too; the TRUNCATE before them halts the move."""
    with world(dsn, plan_name, log_address, tmp_path, PLAIN) as rig:
        stream(rig)
        with rig.conn.transaction():
            rig.conn.execute("TRUNCATE shop.legacy")
            with rig.conn.cursor().copy("COPY shop.legacy FROM STDIN (FREEZE)") as copy:
                copy.write("".join(f"{n}\t{n * 7}\tfrozen\n" for n in range(20, 90)))
        rig.wait_until("SELECT halted IS NOT NULL FROM cutover.move WHERE plan = %s", (rig.name,))
        rig.conn.execute("UPDATE shop.legacy SET qty = qty + 1 WHERE id % 2 = 0")
        heal(rig)
        rig.drain()
        assert rig.differences() == {}


PARTED = """
ALTER TABLE shop.legacy RENAME TO gone;
CREATE TABLE shop.legacy (id int PRIMARY KEY, qty int, label text) PARTITION BY RANGE (id);
CREATE TABLE shop.low PARTITION OF shop.legacy FOR VALUES FROM (0) TO (1000);
INSERT INTO shop.legacy SELECT * FROM shop.gone;
"""


@BOTH
def test_a_partition_that_is_made_and_filled_with_copy_freeze_in_one_transaction(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    with world(dsn, plan_name, log_address, tmp_path, PLAIN + PARTED) as rig:
        stream(rig)
        with rig.conn.transaction():
            rig.conn.execute("CREATE TABLE shop.high PARTITION OF shop.legacy FOR VALUES FROM (1000) TO (2000)")
            with rig.conn.cursor().copy("COPY shop.high FROM STDIN (FREEZE)") as copy:
                copy.write("".join(f"{n}\t{n}\tfrozen\n" for n in range(1000, 1100)))
        rig.conn.execute("UPDATE shop.legacy SET qty = 0 WHERE id = 1001")
        rig.drain()
        assert rig.differences() == {}
        assert rig.conn.execute("SELECT count(*) FROM shop.stock WHERE id >= 1000").fetchone() == (100,)


@contextmanager
def held(rig_dsn: str, gid: str, *statements: str) -> Iterator[None]:
    """A prepared transaction with these statements, which is committed at the end."""
    with connect(rig_dsn, "coordinator") as conn:
        conn.execute("BEGIN")
        for statement in statements:
            conn.execute(statement.encode())
        conn.execute(f"PREPARE TRANSACTION '{gid}'".encode())
        try:
            yield
        finally:
            conn.execute(f"COMMIT PREPARED '{gid}'".encode())


@BOTH
def test_c15_a_prepared_transaction_open_while_all_is_set_up_and_backfilled(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    """The slot waits for it and says for which; one that was prepared later comes with its commit, restarts or not."""
    with world(dsn, plan_name, log_address, tmp_path, PLAIN) as rig:
        with held(dsn, f"{rig.name}_a", "UPDATE shop.legacy SET qty = -1 WHERE id = 1"):
            pass
        rig.prepare()
        with (
            held(
                dsn,
                f"{rig.name}_b",
                "UPDATE shop.legacy SET qty = -2 WHERE id = 2",
                "DELETE FROM shop.legacy WHERE id = 3",
            ),
            pytest.raises(Busy, match=rf"(?s)prepared transaction {rig.name}_b in .*COMMIT or ROLLBACK PREPARED"),
        ):
            recreate_slot(rig.conn, rig.plan, 0.5)
        recreate_slot(rig.conn, rig.plan)
        with held(
            dsn,
            f"{rig.name}_c",
            "UPDATE shop.legacy SET qty = -4 WHERE id = 4",
            "INSERT INTO shop.legacy VALUES (99, 9, 'late')",
        ):
            rig.capture()
            rig.consume()
            rig.backfill()
            rig.drain()
            assert rig.differences() == {}
            assert rig.stop() == []
            rig.capture()
            rig.consume()
        rig.drain()
        assert rig.differences() == {}
        assert rig.conn.execute("SELECT qty FROM shop.stock WHERE id IN (4, 99) ORDER BY 1").fetchall() == [(-4,), (9,)]


@pytest.fixture
def small(dsn: str, plan_name: str, tmp_path: Path) -> Iterator[Prepared]:
    with small_world(dsn, plan_name, tmp_path) as it:
        yield it


def test_s1_a_prepared_transaction_that_read_the_facade_is_named_by_the_flip(small: Prepared) -> None:
    small.prepare()
    small.open_gate()
    gid = f"{small.plan.name}_reader"
    with held(small.dsn, gid, f"SELECT FROM {FACADE.sql}", f"UPDATE {PRICE.sql} SET note = 'x'"):
        with pytest.raises(Busy, match=f"prepared transaction {gid} holds AccessShareLock"):
            flip(small.dsn, small.plan, "part", "consolidated", total_timeout=0.3)
        assert small.value("SELECT side FROM cutover.move WHERE move = 'part'") == "legacy"
    assert flip(small.dsn, small.plan, "part", "consolidated").percent == 100


def test_s1_an_index_build_names_the_prepared_transaction_that_it_waits_for(small: Prepared) -> None:
    (remedy,) = [each for each in remedies(small.conn, small.plan.moves) if each.table == PRICE]
    assert remedy.build is not None
    gid = f"{small.plan.name}_writer"
    with (
        held(small.dsn, gid, f"UPDATE {PRICE.sql} SET note = 'x'"),
        pytest.raises(Busy, match=f"prepared transaction {gid} holds RowExclusiveLock"),
    ):
        build_patiently(small.conn, [PRICE], remedy.build, 0.2)
    build_index(small.conn, remedy)  # what was left behind is built anew
    small.prepare()
