"""Reconciliation tells match, lag, drift and unresolved apart by proof, never by waiting (R1-R7)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from reconcile.diff import Comparison
from reconcile.document import exit_code
from reconcile.proof import Outcome, Prover
from reconcile.run import Step
from sql.connection import connect
from sql.errors import Refused, UsageError
from sql.files import load
from sql.model import Invariant, Refresh
from tests.integration.arena import MOVE, Arena, arena
from tests.services.databases import fresh_database
from tests.services.postgres import PostgresServer

LEGACY = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.a (id int PRIMARY KEY, name text, price numeric(10,2), currency text DEFAULT 'EUR');
CREATE TABLE old.b (a_id int PRIMARY KEY, note text);
CREATE TABLE new.t (id int PRIMARY KEY, name text, price numeric(10,2), currency text, note text);
INSERT INTO old.a SELECT n, 'name ' || n, n * 1.5 FROM generate_series(1, 100) n;
INSERT INTO old.b SELECT n, 'note ' || n FROM generate_series(1, 100, 2) n;
"""
MAPPING = "SELECT a.id, a.name, a.price, a.currency, b.note FROM old.a a LEFT JOIN old.b b ON b.a_id = a.id"


@pytest.fixture
def it(dsn: str) -> Iterator[Arena]:
    """A hundred rows from two tables into one, all applied."""
    with arena(dsn, LEGACY, MAPPING) as it:
        it.drain()
        yield it


def test_everything_equal_is_match(it: Arena) -> None:
    report = it.reconcile()
    assert (report.verdict, report.rows.match, report.rows.compared) == ("match", 100, 100)
    assert report.differences == []
    assert exit_code(it.document()) == 0


@pytest.mark.parametrize("chunk_rows", [1, 7, 99, 100, 101, 5000])
def test_every_kind_of_difference_is_found_whatever_the_chunks(it: Arena, chunk_rows: int) -> None:
    it.run("UPDATE new.t SET name = NULL WHERE id = 50")
    it.run("DELETE FROM new.t WHERE id IN (1, 100)")
    it.run("INSERT INTO new.t (id) VALUES (0), (-5), (101), (900)")
    report = it.reconcile(chunk_rows=chunk_rows)
    assert report.verdict == "drift"
    assert {(tuple(d.key), d.kind) for d in report.differences} == {
        (("50",), "differs"), (("1",), "missing"), (("100",), "missing"), (("0",), "extra"), (("-5",), "extra"),
        (("101",), "extra"), (("900",), "extra"),
    }  # fmt: skip
    assert report.kinds == {"missing": 2, "extra": 4, "differs": 1}
    assert report.columns == {"name": 1, "price": 0, "currency": 0, "note": 0}
    (changed,) = [d for d in report.differences if d.kind == "differs"]
    assert {name: (cell.legacy, cell.consolidated) for name, cell in changed.cells.items()} == {
        "name": ("name 50", None)
    }
    assert report.rows.match == 97
    assert report.rows.compared == 104


def test_drift_exits_4_and_is_recorded(it: Arena) -> None:
    it.run("UPDATE new.t SET price = price + 0.01 WHERE id = 7")
    document = it.document(timeout=0.3)
    assert exit_code(document) == 4
    (row,) = it.run(
        "SELECT verdict, exact, document->'rows'->>'drift', snapshot_lsn <= applied_lsn FROM cutover.reconcile_run"
    )
    assert row == ("drift", True, "1", True)


def test_the_status_counts_the_drift_that_no_list_had_place_for(it: Arena) -> None:
    it.run("UPDATE new.t SET price = price + 0.01 WHERE id <= 50")
    it.reconcile(listed=10)
    assert _drift(it) == 50
    it.run("UPDATE new.t SET price = price - 0.01 WHERE id <= 49")
    it.reconcile(listed=10)
    assert _drift(it) == 1
    it.drain()
    it.reconcile(listed=10)
    assert _drift(it) == 0


def _drift(it: Arena) -> int:
    """As doctor and status read it."""
    with it.conn.cursor(row_factory=dict_row) as cursor:
        (row,) = cursor.execute(load("status/moves").encode(), {"plan": it.plan.name}).fetchall()
    return int(row["drift"])


class TestR1LagIsNotDrift:
    """R1: a difference that is only lag is not called corruption, nor the reverse."""

    def test_r1_a_change_in_flight_is_lag_and_then_match(self, it: Arena) -> None:
        it.run("UPDATE old.a SET name = 'new' WHERE id = 5")

        def deliver(step: Step) -> None:
            if step.phase == "prove":
                it.drain()

        report = it.reconcile(progress=deliver)
        assert (report.verdict, report.rows.lag, report.rows.in_flight, report.rows.match) == ("match", 1, 0, 99)

    def test_r1_the_same_change_is_drift_once_the_log_has_passed_it(self, it: Arena) -> None:
        it.run("UPDATE old.a SET name = 'new' WHERE id = 5")

        def pass_by(step: Step) -> None:
            if step.phase == "prove":
                it.advance()

        report = it.reconcile(progress=pass_by)
        assert (report.verdict, report.rows.drift) == ("drift", 1)

    def test_r1_a_legacy_row_that_changed_in_between_is_looked_at_again(self, it: Arena) -> None:
        """The log passed the first snapshot, but not the change after it: still lag."""
        it.run("UPDATE old.a SET name = 'one' WHERE id = 5")
        rounds = []

        def stream(step: Step) -> None:
            if step.phase == "prove":
                rounds.append(step.done)
                if step.done < 3:
                    it.advance()
                    it.run("UPDATE old.a SET name = 'round ' || %s WHERE id = 5", step.done)
                else:
                    it.drain()

        report = it.reconcile(timeout=5, progress=stream)
        assert rounds == [1, 2, 3]
        assert (report.verdict, report.rows.lag) == ("match", 1)

    def test_r1_a_to_b_and_back_to_a_is_seen_by_its_versions(self, it: Arena) -> None:
        """The target is stale at 'old'; the legacy value flips A-B-A. By values nothing changed; by versions it did."""
        it.run("UPDATE old.b SET note = 'A' WHERE a_id = 5")

        def flip(step: Step) -> None:
            if step.phase == "prove" and step.done == 1:
                it.advance()
                it.run("UPDATE old.b SET note = 'B' WHERE a_id = 5")
                it.run("UPDATE old.b SET note = 'A' WHERE a_id = 5")
            elif step.phase == "prove":
                it.drain()

        report = it.reconcile(timeout=5, progress=flip)
        assert (report.verdict, report.rows.lag, report.rows.drift) == ("match", 1, 0)

    def test_r1_a_satellite_deleted_in_between_is_a_change(self, it: Arena) -> None:
        it.run("UPDATE old.b SET note = 'x' WHERE a_id = 5")

        def delete(step: Step) -> None:
            if step.phase == "prove" and step.done == 1:
                it.advance()
                it.run("DELETE FROM old.b WHERE a_id = 5")
            elif step.phase == "prove":
                it.drain()

        assert it.reconcile(timeout=5, progress=delete).verdict == "match"

    def test_r1_a_key_that_never_rests_is_proven_by_the_states_the_target_takes(self, it: Arena) -> None:
        """The target is always one state behind: equal to the mapping of the snapshot before, never to this one's."""
        it.run("UPDATE old.a SET name = 'state 0' WHERE id = 5")

        def chase(step: Step) -> None:
            if step.phase == "prove":
                it.drain()
                it.run("UPDATE old.a SET name = 'state ' || %s WHERE id = 5", step.done)

        report = it.reconcile(timeout=5, progress=chase)
        assert (report.verdict, report.rows.lag, report.rows.drift) == ("match", 1, 0)

    def test_r1_a_key_that_changes_and_is_never_right_is_not_green(self, it: Arena) -> None:
        it.run("UPDATE new.t SET name = 'wrong' WHERE id = 5")

        def change(step: Step) -> None:
            if step.phase == "prove":
                it.run("UPDATE old.a SET name = 'state ' || %s WHERE id = 5", step.done)
                it.advance()

        document = it.document(timeout=0.5, progress=change)
        assert exit_code(document) in (3, 4)
        assert document.verdict in ("lag", "drift")

    def test_r1_consumers_that_stand_still_leave_it_unresolved(self, it: Arena) -> None:
        it.run("UPDATE old.a SET name = 'new' WHERE id = 5")
        it.run("UPDATE cutover.position SET applied_lsn = '0/1'")
        document = it.document(timeout=0.3)
        (report,) = document.moves
        assert (report.verdict, report.rows.unresolved) == ("unresolved", 1)
        assert "no consumer is running (cutover consume, or cutover run): applied up to 0/1, " in report.findings[0]
        assert exit_code(document) == 3

    def test_r1_a_dead_letter_leaves_its_key_unresolved(self, it: Arena) -> None:
        it.run("UPDATE old.a SET name = 'new' WHERE id = 5")
        it.run(
            'INSERT INTO cutover.dead_letter (plan, move, key, partition, "offset", sqlstate, message)'
            " VALUES ('arena', 'm', '{5}', 0, 0, '22003', 'out of range')"
        )

        def pass_by(step: Step) -> None:
            if step.phase == "prove":
                it.advance()

        report = it.reconcile(progress=pass_by)
        assert (report.verdict, report.rows.unresolved, report.dead_letters) == ("unresolved", 1, 1)
        assert report.differences[0].reason == "dead letter (22003)"

    def test_r1_a_running_backfill_is_lag(self, it: Arena) -> None:
        it.run("DELETE FROM new.t WHERE id > 50")
        it.run("UPDATE cutover.backfill SET finished_at = NULL")
        report = it.reconcile(progress=lambda step: it.advance())
        assert (report.verdict, report.rows.in_flight) == ("lag", 50)

    @pytest.mark.parametrize("column", ["gap", "halted"])
    def test_r1_behind_a_gap_or_a_halt_nothing_is_proven(self, it: Arena, column: str) -> None:
        it.run("UPDATE old.a SET name = 'new' WHERE id = 5")
        it.run(f"UPDATE cutover.{'plan' if column == 'gap' else 'move'} SET {column} = 'why'")
        report = it.reconcile(progress=lambda step: it.advance())
        assert (report.verdict, report.rows.unresolved) == ("unresolved", 1)


def test_s4_the_marker_is_committed_and_flushed_so_that_capture_meets_it(own_server: PostgresServer) -> None:
    """S4: a marker in an open or unflushed transaction is never decoded."""
    with fresh_database(own_server) as dsn, arena(dsn, LEGACY, MAPPING) as it:
        it.drain()
        it.run("SELECT pg_create_logical_replication_slot('reader', 'test_decoding')")
        it.run("UPDATE new.t SET name = 'drift' WHERE id = 5")
        assert it.reconcile().verdict == "drift"
        changes = it.run("SELECT data FROM pg_logical_slot_get_changes('reader', NULL, NULL)")
        seen = [data for (data,) in changes]
        marks = [at for at, data in enumerate(seen) if data.startswith("message: transactional: 0 prefix: cutover")]
        assert marks
        for at in marks:  # a transaction of its own around it, whose commit flushes
            assert seen[at].endswith("content:watermark")
            assert [data.split()[0] for data in seen[at + 1 : at + 4]] == ["BEGIN", "message:", "COMMIT"]
            assert seen[at + 2].endswith("content:own")


def test_a_stream_that_stands_still_is_waited_for_once_only(it: Arena) -> None:
    """However many differences there are: the second batch knows what the first one has found out."""
    it.run("INSERT INTO old.a SELECT n, 'more', 1 FROM generate_series(1001, 17000) n")
    it.run("UPDATE cutover.position SET applied_lsn = '0/1'")
    report = it.reconcile(timeout=1.0, listed=5)
    assert report.rows.unresolved == 16000
    assert report.rounds > 1
    assert report.seconds < 30  # and not a second for each of the batches times its rounds


def test_keys_that_sort_differently_on_both_sides_are_not_missed(dsn: str) -> None:
    """A chunk's bounds mean the same on both sides, whatever their collations."""
    ddl = """CREATE SCHEMA old; CREATE SCHEMA new; CREATE TABLE old.a (id text COLLATE "C" PRIMARY KEY, v int);
             CREATE TABLE new.t (id text COLLATE "en_US" PRIMARY KEY, v int);
             INSERT INTO old.a SELECT k, n
               FROM unnest(ARRAY['a','B','c','D','e','F','-g','_h']) WITH ORDINALITY x (k, n)"""
    with connect(dsn, "test") as conn:
        found = conn.execute(
            "SELECT collname FROM pg_collation WHERE collname ~ '^en_US' ORDER BY 1 LIMIT 1"
        ).fetchone()
    ddl = ddl.replace('"en_US"', f'"{found[0]}"' if found else '"POSIX"')
    with arena(dsn, ddl, "SELECT id, v FROM old.a") as it:
        it.run("INSERT INTO new.t SELECT * FROM old.a")
        report = it.reconcile(chunk_rows=1)
        assert (report.verdict, report.rows.match) == ("match", 8)


def test_r2_one_partition_behind_proves_nothing(it: Arena) -> None:
    """R2: the applied LSN is the minimum over the partitions."""
    it.run("UPDATE old.a SET name = 'new' WHERE id = 5")
    it.run("UPDATE cutover.position SET applied_lsn = '0/1' WHERE partition = 1")
    report = it.reconcile(progress=lambda step: it.advance(0))
    assert (report.verdict, report.rows.unresolved, report.rows.drift) == ("unresolved", 1, 0)
    assert report.applied_lsn == "0/1"


def test_r2_a_missing_position_proves_nothing(it: Arena) -> None:
    it.run("UPDATE old.a SET name = 'new' WHERE id = 5")
    it.run("DELETE FROM cutover.position WHERE partition = 1")
    report = it.reconcile(progress=lambda step: it.advance(0))
    assert (report.verdict, report.rows.drift) == ("unresolved", 0)


class TestR4SkippedIsNeverGreen:
    """R4: what was skipped, failed or capped is not reported as equal."""

    def test_r4_a_row_that_fails_is_isolated_and_counted(self, dsn: str) -> None:
        mapping = (
            "SELECT a.id, a.name, (100 / a.id)::numeric(10,2) AS price, a.currency, NULL::text AS note FROM old.a a"
        )
        with arena(dsn, LEGACY, mapping) as it:
            it.drain()
            it.run("UPDATE new.t SET name = 'drift' WHERE id = 77")
            it.run("INSERT INTO old.a VALUES (0, 'poison', 1)")
            document = it.document(timeout=0.3, progress=lambda step: it.advance())
            (report,) = document.moves
            assert (report.rows.skipped, report.rows.compared, report.rows.match, report.rows.drift) == (1, 100, 99, 1)
            failed = [d for d in report.differences if d.kind == "failed"]
            assert [(d.key, d.verdict) for d in failed] == [(["0"], "unresolved")]
            assert failed[0].reason is not None
            assert failed[0].reason.startswith("22012")
            assert exit_code(document) == 4
            it.converge("77")
            assert exit_code(it.document(timeout=0.3)) == 3

    def test_r4_capped_lists_are_said_to_be_and_counted_in_full(self, it: Arena) -> None:
        it.run("UPDATE new.t SET name = 'drift'")
        report = it.reconcile(listed=3)
        assert (report.listed, report.capped, report.rows.drift, report.verdict) == (3, True, 100, "drift")

    def test_r4_more_differences_than_fit_a_chunk_are_all_counted(self, it: Arena) -> None:
        it.run("INSERT INTO old.a SELECT n, 'more', 1 FROM generate_series(1001, 13000) n")
        it.run("ANALYZE")
        report = it.reconcile(chunk_rows=100_000, listed=10)
        assert (report.rows.drift, report.kinds["missing"], report.rows.match) == (12000, 12000, 100)

    def test_r4_a_duplicate_key_in_the_mapping_is_unresolved(self, dsn: str) -> None:
        ddl = LEGACY.replace("a_id int PRIMARY KEY", "a_id int")
        with arena(dsn, ddl, MAPPING) as it:
            assert not it.move.unique
            it.drain()
            assert it.reconcile().verdict == "match"
            it.run("INSERT INTO old.b VALUES (7, 'note 7'), (8, 'x'), (8, 'x')")
            it.advance()
            report = it.reconcile()
            assert (report.verdict, report.duplicates, report.rows.drift) == ("unresolved", {"legacy": 2}, 0)
            assert {d.key[0] for d in report.differences if d.kind == "duplicate"} == {"7", "8"}

    def test_r4_a_row_without_a_key_is_unresolved(self, dsn: str) -> None:
        ddl = """CREATE SCHEMA old; CREATE SCHEMA new; CREATE TABLE old.a (n int PRIMARY KEY, id text UNIQUE, v int);
                 CREATE TABLE new.t (id text PRIMARY KEY, v int); INSERT INTO old.a VALUES (1, 'a', 1), (2, NULL, 2)"""
        with arena(dsn, ddl, "SELECT id, v FROM old.a") as it:
            it.run("INSERT INTO new.t VALUES ('a', 1)")
            report = it.reconcile()
            assert (report.verdict, report.null_keys, report.rows.match) == ("unresolved", {"legacy": 1}, 1)


def test_r5_zero_of_zero_is_no_proof(dsn: str) -> None:
    """R5: empty sources do not verify."""
    with arena(dsn, LEGACY + "TRUNCATE old.a, old.b", MAPPING) as it:
        document = it.document(timeout=0.3)
        assert exit_code(document) == 3
        assert document.moves[0].findings == ["nothing was compared: both sides are empty"]


def test_r5_an_empty_legacy_side_against_a_full_target_is_drift(it: Arena) -> None:
    it.run("DELETE FROM old.a")
    report = it.reconcile(progress=lambda step: it.advance())
    assert (report.verdict, report.kinds["extra"], report.rows.legacy) == ("drift", 100, 0)


class TestR6Invariants:
    """R6: totals are per currency, asked of both sides in one snapshot."""

    MONEY = Invariant(
        "money per currency",
        "SELECT jsonb_object_agg(currency, total) FROM (SELECT currency, sum(price) AS total FROM old.a GROUP BY 1) m",
        "SELECT jsonb_object_agg(currency, total) FROM (SELECT currency, sum(price) AS total FROM new.t GROUP BY 1) m;",
    )
    ROWS = Invariant(
        "rows per currency",
        "SELECT currency, count(*), sum(price) FROM old.a GROUP BY currency",
        "SELECT currency, count(*), sum(price) FROM new.t AS x GROUP BY currency",
    )

    def test_r6_sums_that_agree_only_over_mixed_currencies_do_not_hold(self, it: Arena) -> None:
        it.run("UPDATE old.a SET currency = 'USD' WHERE id % 2 = 0")
        it.drain()
        it.change(invariants=(self.MONEY, self.ROWS))
        assert [result.holds for result in it.reconcile().invariants] == [True, True]
        other = Invariant(self.MONEY.name, self.MONEY.legacy.replace("'EUR'", "'USD'"), self.MONEY.consolidated)
        swapped = (
            "SELECT CASE currency WHEN 'EUR' THEN 'USD' ELSE 'EUR' END, count(*), sum(price) FROM old.a GROUP BY 1"
        )
        it.change(invariants=(other, Invariant("swapped", swapped, self.ROWS.consolidated)))
        report = it.reconcile()
        assert [(result.name, result.holds) for result in report.invariants] == [(other.name, True), ("swapped", False)]
        assert report.verdict == "drift"
        assert report.rows.match == 100

    def test_r6_keys_in_flight_do_not_break_an_invariant(self, it: Arena) -> None:
        it.change(invariants=(self.MONEY, self.ROWS))
        it.run("UPDATE old.a SET price = price + 1 WHERE id = 3")
        it.run("DELETE FROM old.a WHERE id = 4")
        it.run("INSERT INTO old.a VALUES (500, 'new', 10, 'CHF')")

        def deliver(step: Step) -> None:
            if step.phase == "prove":
                it.drain()

        report = it.reconcile(progress=deliver)
        assert [(result.holds, result.reason) for result in report.invariants] == [
            (True, "with 3 keys taken as equal, in flight or accepted as they are")
        ] * 2
        assert report.verdict == "match"

    def test_r6_an_invariant_that_fails_whatever_is_in_flight_is_drift(self, it: Arena) -> None:
        lost = Invariant("nothing left behind", "SELECT count(*) FROM old.b", "SELECT count(*) FROM new.t")
        it.change(invariants=(lost,))
        it.run("UPDATE old.a SET price = price + 1 WHERE id = 3")

        def deliver(step: Step) -> None:
            if step.phase == "prove":
                it.drain()

        report = it.reconcile(progress=deliver)
        assert (report.verdict, report.rows.drift) == ("drift", 0)
        assert (report.invariants[0].legacy, report.invariants[0].consolidated) == (50, 100)

    def test_r6_keys_in_flight_of_an_add_move_arrive_with_the_memory_of_them(self, dsn: str) -> None:
        """The consolidated side reads the target and the memory, under aliases, behind text of more than ASCII."""
        ddl = """CREATE SCHEMA old; CREATE SCHEMA new; CREATE TABLE old.a (id text PRIMARY KEY, v int);
                 CREATE TABLE new."Ziel" (pk int GENERATED ALWAYS AS IDENTITY, id text UNIQUE, v int);
                 INSERT INTO old.a SELECT 'k' || n, n FROM generate_series(1, 9) n;
                 INSERT INTO new."Ziel" (id, v) VALUES ('others', 1000)"""
        invariant = Invariant(
            "Währung: Summe in %",
            "SELECT 'ü€😀 %', count(*), sum(v) FROM old.a",
            """/* ü€😀 */ SELECT 'ü€😀 %', count(*), sum("Ziel".v) FROM new."Ziel"
                WHERE EXISTS (SELECT FROM cutover.owned_arena_m w WHERE w.id = "Ziel".id)""",
        )
        with arena(dsn, ddl, "SELECT id, v FROM old.a", target='new."Ziel"', rows="add", existing="keep") as it:
            it.drain()
            it.change(invariants=(invariant,))
            assert it.reconcile().verdict == "match"
            it.run("INSERT INTO old.a VALUES ('new', 5)")
            it.run("DELETE FROM old.a WHERE id = 'k1'")
            it.run("UPDATE old.a SET v = 70 WHERE id = 'k7'")

            def deliver(step: Step) -> None:
                if step.phase == "prove":
                    it.drain()

            report = it.reconcile(progress=deliver)
            assert (report.verdict, report.invariants[0].reason) == (
                "match",
                "with 3 keys taken as equal, in flight or accepted as they are",
            )

    def test_r6_an_invariant_does_not_hold_by_keys_that_never_arrive(self, it: Arena) -> None:
        it.change(invariants=(self.MONEY,))
        it.run("UPDATE new.t SET price = price + 1 WHERE id = 3")
        (result,) = it.reconcile().invariants
        assert (result.holds, result.reason) == (False, "it would hold if all keys were equal")
        assert result.legacy != result.consolidated

    def test_r6_an_invariant_that_fails_or_takes_too_long_is_not_green(self, it: Arena) -> None:
        it.change(
            invariants=(
                Invariant("fails", "SELECT 1/count(*) FROM old.a WHERE id < 0", "SELECT 1"),
                Invariant("slow", "SELECT pg_sleep(30)::text", "SELECT ''"),
                Invariant("holds", "SELECT count(*) FROM old.a", "SELECT count(*) FROM new.t"),
            )
        )
        report = it.reconcile(timeout=1)
        assert [result.holds for result in report.invariants] == [None, None, True]
        assert report.verdict == "unresolved"


class TestR7ShortSnapshots:
    """R7: snapshots do not hold back vacuum: each chunk has its own short transaction."""

    def test_r7_no_snapshot_is_held_between_chunks(self, it: Arena) -> None:
        seen = []
        with connect(it.dsn, "watch") as watch:

            def look(step: Step) -> None:
                row = watch.execute(
                    "SELECT state, backend_xmin FROM pg_stat_activity"
                    " WHERE application_name = 'cutover reconcile' AND datname = current_database()"
                ).fetchone()
                seen.append(row)

            it.run("UPDATE new.t SET name = 'drift' WHERE id = 40")
            it.reconcile(chunk_rows=10, progress=look, side_by_side=1)  # of several, others may be in one
        assert len(seen) >= 3
        assert set(seen) == {("idle", None)}

    def test_r7_chunks_stay_below_a_second(self, it: Arena) -> None:
        it.run("INSERT INTO old.a SELECT n, 'more', 1 FROM generate_series(1001, 60000) n")
        it.run("ANALYZE")
        it.drain()
        report = it.reconcile()
        assert report.verdict == "match"
        assert report.chunks.done > 2
        assert report.chunks.longest_ms < 1000

    def test_r7_a_locked_table_is_waited_for(self, it: Arena) -> None:
        locked, release = threading.Event(), threading.Event()

        def lock() -> None:
            with connect(it.dsn, "locker") as conn, conn.transaction():
                conn.execute("LOCK TABLE new.t IN ACCESS EXCLUSIVE MODE")
                locked.set()
                release.wait(10)

        thread = threading.Thread(target=lock)
        thread.start()
        assert locked.wait(10)
        threading.Timer(0.5, release.set).start()
        try:
            assert it.reconcile(timeout=5).verdict == "match"
        finally:
            release.set()
            thread.join()

    def test_r7_a_table_that_is_locked_when_the_run_begins_is_waited_for(
        self, it: Arena, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """For longer than a session waits for a lock: whoever has it lets go once the estimate was refused."""
        refused = 0
        estimate = Comparison._estimate
        with connect(it.dsn, "locker") as locker:

            def told(self: Comparison) -> tuple[int, int]:
                nonlocal refused
                if not refused:
                    locker.execute("BEGIN; LOCK TABLE new.t IN ACCESS EXCLUSIVE MODE", prepare=False)
                    self.conn.execute("SET lock_timeout = '50ms'")
                try:
                    return estimate(self)
                except psycopg.errors.LockNotAvailable:
                    refused += 1
                    locker.execute("ROLLBACK")
                    raise

            monkeypatch.setattr(Comparison, "_estimate", told)
            assert it.reconcile(timeout=5).verdict == "match"
        assert refused == 1

    def test_r7_a_table_that_is_locked_when_the_proof_looks_is_waited_for(
        self, it: Arena, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Somebody takes ACCESS EXCLUSIVE between the comparison and the proof, until it has been refused once."""
        refused = 0
        judged = Prover._judged
        it.run("UPDATE new.t SET name = 'drift' WHERE id = 40")
        it.advance()

        with connect(it.dsn, "locker") as locker:

            def told(self: Prover, *arguments: Any) -> list[Outcome]:
                nonlocal refused
                if not refused:
                    locker.execute("BEGIN; LOCK TABLE new.t IN ACCESS EXCLUSIVE MODE", prepare=False)
                try:
                    return judged(self, *arguments)
                except psycopg.errors.LockNotAvailable:
                    refused += 1
                    locker.execute("ROLLBACK")
                    raise

            monkeypatch.setattr(Prover, "_judged", told)
            report = it.reconcile(timeout=5)
        assert refused == 1
        assert (report.verdict, report.rows.drift, report.rows.skipped) == ("drift", 1, 0)

    def test_r7_a_larger_chunk_that_takes_far_longer_is_given_up_and_cut(self, it: Arena) -> None:
        """The mapping takes five milliseconds a row beyond the first 1,500 of a snapshot: in one, 4,000 take 12 s."""
        it.run("INSERT INTO old.a SELECT n, 'more', 1 FROM generate_series(101, 4000) n")
        it.drain()
        it.run(
            "CREATE FUNCTION old.slow(value text) RETURNS text STABLE LANGUAGE plpgsql AS $$ DECLARE"
            " asked int := coalesce(nullif(current_setting('test.asked', true), ''), '0')::int + 1; BEGIN"
            " PERFORM set_config('test.asked', asked::text, true);"
            " IF asked > 1500 THEN PERFORM pg_sleep(0.005); END IF; RETURN value; END $$"
        )
        slow = MAPPING.replace("a.name", "old.slow(a.name) AS name", 1)
        it.run(f"CREATE OR REPLACE VIEW {it.move.view} AS {slow}")
        report = it.reconcile(chunk_rows=1000, side_by_side=1)
        assert (report.verdict, report.rows.compared) == ("match", 4000)
        assert report.chunks.split > 0


class TestPolicies:
    """What is compared, by the move's rows and existing."""

    DDL = """
    CREATE SCHEMA old; CREATE SCHEMA new;
    CREATE TABLE old.a (n int PRIMARY KEY, id text UNIQUE, v int);
    CREATE TABLE new.t (pk int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text UNIQUE, v int);
    INSERT INTO old.a SELECT n, 'k' || n, n FROM generate_series(1, 10) n;
    INSERT INTO new.t (id, v) VALUES ('k1', 1), ('k2', 999), ('foreign', 5), (NULL, 6);
    """

    @pytest.mark.parametrize(
        ("existing", "verdict", "kept", "conflicts"),
        [("report", "drift", 0, 1), ("keep", "match", 1, 0), ("overwrite", "drift", 0, 0)],
    )
    def test_rows_of_others_follow_the_declared_rule(
        self, dsn: str, existing: str, verdict: str, kept: int, conflicts: int
    ) -> None:
        with arena(dsn, self.DDL, "SELECT id, v FROM old.a", rows="add", existing=existing) as it:
            it.run("INSERT INTO new.t (id, v) SELECT id, v FROM old.a WHERE n > 2")
            it.run(f"INSERT INTO {it.move.owned} SELECT id FROM old.a WHERE n > 2")
            report = it.reconcile()
            assert (report.verdict, report.rows.kept, report.conflicts) == (verdict, kept, conflicts)
            assert (report.rows.compared, report.rows.others) == (10, 1)
            if verdict == "drift":
                assert [(d.key, d.kind, d.conflict) for d in report.differences] == [
                    (["k2"], "differs", bool(conflicts))
                ]

    def test_only_rows_of_ones_own_can_be_extra(self, dsn: str) -> None:
        with arena(dsn, self.DDL, "SELECT id, v FROM old.a", rows="add", existing="keep") as it:
            it.converge()
            it.run("INSERT INTO new.t (id, v) VALUES ('mine', 1)")
            it.run(f"INSERT INTO {it.move.owned} VALUES ('mine')")
            it.run("DELETE FROM new.t WHERE id = 'k9'")
            report = it.reconcile()
            assert {(d.key[0], d.kind) for d in report.differences} == {("mine", "extra"), ("k9", "missing")}

    def test_a_target_among_the_sources_is_compared_in_its_new_columns(self, dsn: str) -> None:
        ddl = """CREATE SCHEMA s; CREATE TABLE s.t (id uuid PRIMARY KEY, own text, price numeric(10,2));
                 CREATE TABLE s.p (t_id uuid PRIMARY KEY REFERENCES s.t, price numeric(10,2));
                 INSERT INTO s.t SELECT gen_random_uuid(), 'x' FROM generate_series(1, 50);
                 INSERT INTO s.p SELECT id, 3.5 FROM s.t"""
        mapping = "SELECT t.id, t.own, p.price FROM s.t t LEFT JOIN s.p p ON p.t_id = t.id"
        with arena(dsn, ddl, mapping, target="s.t", rows="existing") as it:
            it.drain()
            report = it.reconcile()
            assert (report.verdict, report.compared_columns) == ("match", ["price"])
            it.run("UPDATE s.t SET own = 'the application writes its own column'")
            it.run("UPDATE s.t SET price = NULL WHERE id = (SELECT id FROM s.t ORDER BY id LIMIT 1)")
            report = it.reconcile()
            assert (report.rows.drift, report.columns) == (1, {"price": 1})

    def test_coverage_names_every_legacy_column(self, it: Arena) -> None:
        a, b = (source.name for source in it.move.sources)
        it.change(waive={(a, "currency"): "always EUR"}, unmapped=((b, "note"),))
        found = {column.column: (column.status, column.reason) for column in it.reconcile().coverage}
        assert found == {
            "old.a.id": ("mapped", None), "old.a.name": ("mapped", None), "old.a.price": ("mapped", None),
            "old.a.currency": ("waived", "always EUR"), "old.b.a_id": ("mapped", None), "old.b.note": ("missing", None),
        }  # fmt: skip

    def test_quarantined_rows_are_counted_by_reason(self, it: Arena) -> None:
        it.change(
            quarantine_sql="SELECT id, CASE WHEN id < 3 THEN 'NULL key' ELSE '100 % wrong' END FROM old.a WHERE id < 6;"
        )
        assert [(q.reason, q.rows) for q in it.reconcile().quarantined] == [("100 % wrong", 3), ("NULL key", 2)]


class TestA10Refresh:
    """A10: what the clock changed and the refresh has not applied yet is lag, not drift."""

    DDL = """
    CREATE SCHEMA old; CREATE SCHEMA new;
    CREATE TABLE old.a (id int PRIMARY KEY, expires timestamptz);
    CREATE TABLE new.t (id int PRIMARY KEY, active boolean);
    INSERT INTO old.a SELECT n, now() + interval '1 day' FROM generate_series(1, 9) n;
    """
    DUE = "SELECT id FROM old.a WHERE expires > :since AND expires <= :until"

    @pytest.fixture
    def it(self, dsn: str) -> Iterator[Arena]:
        with arena(dsn, self.DDL, "SELECT a.id, a.expires > now() AS active FROM old.a a") as it:
            it.change(refresh=Refresh(1.0, self.DUE))
            it.run("UPDATE old.a SET expires = now() - interval '1 minute' WHERE id = 4")
            it.run("INSERT INTO new.t SELECT id, true FROM old.a")
            it.run("UPDATE cutover.move SET refreshed_until = now() - interval '1 hour', refreshed_offsets = '{0,0}'")
            it.advance()
            yield it

    def test_a10_a_due_key_is_lag_until_refreshed(self, it: Arena) -> None:
        report = it.reconcile()
        assert (report.verdict, report.rows.in_flight, report.rows.drift) == ("lag", 1, 0)

    def test_a10_a_touch_in_the_log_that_is_not_applied_is_not_drift(self, it: Arena) -> None:
        it.run("UPDATE cutover.move SET refreshed_until = now(), refreshed_offsets = '{0,5}'")
        report = it.reconcile()
        assert (report.verdict, report.rows.drift) == ("unresolved", 0)
        it.run('UPDATE cutover.position SET "offset" = 5')
        it.converge()
        assert it.reconcile().verdict == "match"

    def test_a10_a_key_whose_refresh_was_applied_and_is_wrong_is_drift(self, it: Arena) -> None:
        it.run("UPDATE cutover.move SET refreshed_until = now() + interval '1 second'")
        report = it.reconcile()
        assert (report.verdict, report.rows.drift) == ("drift", 1)


def test_an_unknown_move_is_a_usage_error(it: Arena) -> None:
    from reconcile.run import reconcile

    with pytest.raises(UsageError, match=f"one of: {MOVE}"):
        reconcile(it.dsn, it.plan, ["nope"])


def test_a_move_that_is_not_prepared_is_refused(it: Arena) -> None:
    it.run(f"DROP VIEW {it.move.view}")
    with pytest.raises(Refused, match="cutover prepare"):
        it.reconcile()
