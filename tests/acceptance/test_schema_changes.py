"""C10: the sources' schema changes in mid-stream, each kind, while the application writes.

Either the stream goes on right, or one move stands still, doctor says what, where and how to mend it, and doing that ends
with the target equal to the mapping and every acknowledged write in it. The other move never stands still.
"""

from __future__ import annotations

import re
import secrets
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
import pytest

from cutover.doctor import examine
from cutover.problem import Problem
from cutover.settings import Settings
from tests.chaos.crew import Crew
from tests.chaos.doctor import ELSEWHERE
from tests.conftest import VERSIONS
from tests.integration.rig import Rig, prepared
from tests.services.choose import Services
from tests.services.databases import fresh_database

SCHEMA = """
CREATE SCHEMA fleet;
CREATE TYPE fleet.mood AS ENUM ('calm', 'wild');
CREATE TABLE fleet.car (id bigint PRIMARY KEY, n int, pieces bigint, price numeric, label text, seen numeric,
                        built numeric, mood fleet.mood, said text, weight int, size int,
                        doors int);
CREATE TABLE fleet.fact (car_id bigint PRIMARY KEY, n int, mood fleet.mood, spare text NOT NULL DEFAULT '');
CREATE TABLE fleet.data (car_id bigint PRIMARY KEY, pieces int, price numeric(10,2), label varchar(20), seen timestamptz,
                         built timestamp, size int);
ALTER TABLE fleet.data REPLICA IDENTITY FULL;
CREATE TABLE fleet.side (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, car_id bigint NOT NULL UNIQUE, weight int);
CREATE TABLE fleet.body (car_id bigint PRIMARY KEY, doors int);
CREATE TABLE fleet.trip (id bigint PRIMARY KEY, km int);
CREATE TABLE fleet.ride (id bigint PRIMARY KEY, km int);
INSERT INTO fleet.car (id) SELECT generate_series(1, 40);
INSERT INTO fleet.fact SELECT id, 0, 'wild' FROM fleet.car;
INSERT INTO fleet.data SELECT id, id, id + 0.25, 'car', '2024-07-01 12:00Z', '2024-07-01 12:00', 3 FROM fleet.car;
INSERT INTO fleet.side (car_id, weight) SELECT id, 0 FROM fleet.car;
INSERT INTO fleet.body SELECT id, 4 FROM fleet.car;
INSERT INTO fleet.ride SELECT id, 0 FROM fleet.car;
"""
FILES = {
    "plan.toml": """
name = "{name}"

[moves.car]
target = "fleet.car"
mapping = "car.sql"
key = ["id"]
rows = "existing"

[moves.car.waive]
"fleet.fact.spare" = "not needed"
"fleet.side.id" = "surrogate"

[moves.trip]
target = "fleet.trip"
mapping = "trip.sql"
key = ["id"]
rows = "all"
""",
    "car.sql": """
SELECT c.id, f.n::int AS n, d.pieces::bigint AS pieces, d.price::numeric AS price, d.label::text AS label,
       extract(epoch FROM d.seen) AS seen, extract(epoch FROM d.built) AS built, f.mood, f.mood::text AS said, s.weight, d.size,
       b.doors
  FROM fleet.car c
  LEFT JOIN fleet.fact f ON f.car_id = c.id
  LEFT JOIN fleet.data d ON d.car_id = c.id
  LEFT JOIN fleet.body b ON b.car_id = c.id
  LEFT JOIN fleet.side s ON s.car_id = c.id
""",
    "trip.sql": "SELECT r.id, r.km FROM fleet.ride r",
}
RETYPED = "cutover prepare\ncutover heal car"
AGAIN = "CREATE TABLE fleet.fact (spare text NOT NULL DEFAULT '', mood fleet.mood, n int, car_id bigint PRIMARY KEY)"
BY_HAND = """DO $$DECLARE made text := pg_get_viewdef('VIEW'); mark text := obj_description('VIEW'::regclass, 'pg_class');
BEGIN
    DROP VIEW VIEW; ALTER TABLE fleet.data ALTER price TYPE numeric(10,0);
    EXECUTE 'CREATE VIEW VIEW AS ' || made; EXECUTE format('COMMENT ON VIEW VIEW IS %L', mark);
END$$"""


@dataclass(frozen=True, slots=True)
class Change:
    """What somebody does to a source, in one transaction; VIEW stands for the mapping's view.

    `says`: what doctor says of it, in any of its words; empty: nothing is wrong. `mend`: what a person does first as
    the cure says, where it is not a command: statements, or an edit of car.sql. `undo`: brings the old schema back.
    """

    statements: tuple[str, ...]
    halts: bool | None = False  # the move; None: once a process begins anew, and not before
    gap: bool = False  # all moves: what the publication hid, nobody knows
    says: str = ""
    mend: tuple[str, ...] = ()
    edit: tuple[str, str] | None = None
    cured: bool = True  # False: by the undoing alone
    undo: tuple[str, ...] = ()


CHANGES = {
    "column added": Change(
        ("ALTER TABLE fleet.fact ADD colour text DEFAULT 'red'",),
        says="fleet.fact.colour is neither mapped nor waived",
        cured=False,
        undo=("ALTER TABLE fleet.fact DROP colour",),
    ),
    "unmapped column dropped": Change(
        ("ALTER TABLE fleet.fact DROP spare",),
        says="fleet.fact.spare is no legacy column.*dropped",
        cured=False,
        undo=("ALTER TABLE fleet.fact ADD spare text NOT NULL DEFAULT ''",),
    ),
    "mapped column dropped with all that needs it": Change(
        ("ALTER TABLE fleet.side DROP weight CASCADE",),
        gap=True,  # it takes the whole table out of the publication
        says="no column s.weight.*bring back what is missing",
        mend=("ALTER TABLE fleet.side ADD weight int", "UPDATE fleet.side SET weight = 7"),
    ),
    "column renamed": Change(
        ("ALTER TABLE fleet.side RENAME weight TO mass",),
        halts=None,  # the view follows
        says="no column s.weight.*its old name",
        mend=("ALTER TABLE fleet.side RENAME mass TO weight",),
    ),
    "column renamed, and the plan with it": Change(
        ("ALTER TABLE fleet.data RENAME size TO length",),
        halts=None,
        says="no column d.size.*change the plan",
        edit=("d.size", "d.length AS size"),
    ),
    "key column renamed": Change(
        ("ALTER TABLE fleet.side RENAME car_id TO vehicle", "UPDATE fleet.side SET weight = weight + 1"),
        halts=True,
        says="'car_id' of fleet.side is gone or renamed.*bring back",
        mend=("ALTER TABLE fleet.side RENAME vehicle TO car_id",),
    ),
    "table renamed, and renamed back": Change(
        ("ALTER TABLE fleet.side RENAME TO flank",),
        halts=True,
        says="no table fleet.side.*its old name",
        mend=("ALTER TABLE fleet.flank RENAME TO side",),
    ),
    "table renamed, and the plan with it": Change(
        ("ALTER TABLE fleet.body RENAME TO chassis",),
        halts=True,
        says="no table fleet.body.*change the plan",
        edit=("fleet.body", "fleet.chassis"),
    ),
    "table dropped and made again, its columns in another order": Change(
        (
            "ALTER TABLE fleet.fact RENAME TO old",
            AGAIN,
            "INSERT INTO fleet.fact (car_id, n, mood) SELECT car_id, n, mood FROM fleet.old",
            "DROP TABLE fleet.old CASCADE",
            "ALTER INDEX fleet.fact_pkey1 RENAME TO fact_pkey",
        ),
        halts=True,
        says="cutover prepare\ncutover heal",
    ),
    "schema renamed": Change(
        ("ALTER SCHEMA fleet RENAME TO park",),
        halts=True,
        says="no table fleet",
        mend=("ALTER SCHEMA park RENAME TO fleet",),
    ),
    # PostgreSQL refuses it under the mapping's view, so whoever wants it drops the view. Nothing of it is in WAL.
    "retyped: int to bigint, varchar to text, numeric's scale, timestamptz to timestamp and back": Change(
        (
            "SET LOCAL timezone = 'Asia/Tokyo'",
            "DROP VIEW VIEW",
            "ALTER TABLE fleet.data ALTER pieces TYPE bigint, ALTER label TYPE text, ALTER price TYPE numeric(10,1),"
            " ALTER seen TYPE timestamp, ALTER built TYPE timestamptz",
        ),
        halts=True,
        says=RETYPED,
    ),
    "retyped, and the view made again by hand": Change(
        (BY_HAND,),
        halts=True,
        says=RETYPED,
    ),
    "retyped where a column list is in the way too": Change(
        (
            "ALTER PUBLICATION PUBLICATION DROP TABLE fleet.fact",
            "DROP VIEW VIEW",
            "ALTER TABLE fleet.fact ALTER n TYPE bigint",
        ),
        gap=True,
        says="was altered by somebody else.*cutover prepare\ncutover heal",
    ),
    "default, not null and check": Change(
        (
            "ALTER TABLE fleet.fact ALTER n SET DEFAULT 5, ALTER n SET NOT NULL, ALTER spare DROP NOT NULL",
            "ALTER TABLE fleet.fact ADD CONSTRAINT sane CHECK (n >= 0)",
        ),
        undo=(
            "ALTER TABLE fleet.fact ALTER n DROP DEFAULT, ALTER n DROP NOT NULL, ALTER spare SET NOT NULL",
            "ALTER TABLE fleet.fact DROP CONSTRAINT sane",
        ),
    ),
    "replica identity full": Change(
        ("ALTER TABLE fleet.fact REPLICA IDENTITY FULL",),
        says="UPDATE and DELETE may fail.*cutover prepare$",
        undo=("ALTER TABLE fleet.fact REPLICA IDENTITY DEFAULT",),
    ),
    "replica identity nothing": Change(
        ("ALTER TABLE fleet.side REPLICA IDENTITY NOTHING",),
        says="fleet.side has no replica identity.*cutover prepare --set-identity",
    ),
    "replica identity that loses the key": Change(
        ("ALTER TABLE fleet.side REPLICA IDENTITY DEFAULT",),
        says="cutover prepare --set-identity",
    ),
    "primary key with another column": Change(
        (
            "ALTER TABLE fleet.fact DROP CONSTRAINT fact_pkey, ADD UNIQUE (car_id), ADD PRIMARY KEY (car_id, spare)",
        ),
        says="UPDATE and DELETE may fail.*cutover prepare$",
        undo=("ALTER TABLE fleet.fact DROP CONSTRAINT fact_pkey, DROP CONSTRAINT fact_car_id_key, ADD PRIMARY KEY (car_id)",),
    ),
    "enum value added": Change(("ALTER TYPE fleet.mood ADD VALUE IF NOT EXISTS 'sleepy' BEFORE 'wild'",)),
    "enum value renamed": Change(
        ("ALTER TYPE fleet.mood RENAME VALUE 'wild' TO 'feral'",), undo=("ALTER TYPE fleet.mood RENAME VALUE 'feral' TO 'wild'",)
    ),
}  # fmt: skip
UNTOLD = ("enum value renamed",)  # no change of any row: nothing is in WAL, and no view is in the way
REFUSED = {
    "mapped column dropped": "ALTER TABLE fleet.data DROP price",
    "mapped column retyped": "ALTER TABLE fleet.data ALTER price TYPE numeric(12,4)",
}


@dataclass(slots=True)
class Application:
    """Writes both moves' sources all the time, and remembers what was acknowledged. What fails it leaves out."""

    dsn: str
    cars: dict[int, int] = field(default_factory=dict)
    rides: dict[int, int] = field(default_factory=dict)
    written: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)
    turn: threading.Lock = field(default_factory=threading.Lock)
    died: list[BaseException] = field(default_factory=list)

    def run(self) -> None:
        """Until it is stopped; whoever waits for more of it hears why there is none."""
        try:
            self._write_on()
        except BaseException as error:
            self.died.append(error)

    def _write_on(self) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            while not self.stopped.is_set():
                with self.turn:
                    self.written += 1
                    key, value = self.written % 38 + 1, self.written
                    self._write(conn, "UPDATE fleet.fact SET n = %s WHERE car_id = %s", value, key, self.cars)
                    self._write(conn, "UPDATE fleet.ride SET km = %s WHERE id = %s", value, key, self.rides)
                self.stopped.wait(0.003)

    def _write(self, conn: psycopg.Connection, statement: str, value: int, key: int, ledger: dict[int, int]) -> None:
        try:
            if conn.execute(statement.encode(), (value, key)).rowcount == 1:
                ledger[key] = value
        except psycopg.Error:
            assert not conn.closed

    def go_on(self, writes: int = 40) -> None:
        """Wait until it has tried this often again: every key once."""
        until = self.written + writes
        while self.written < until:
            assert not self.died, f"the application has ended: {self.died}"
            time.sleep(0.01)


@dataclass(frozen=True, slots=True)
class World:
    rig: Rig
    crew: Crew
    application: Application
    under: list[str] = field(default_factory=list)  # the change that was not taken back

    @contextmanager
    def changing(self, kind: str) -> Iterator[None]:
        """One change, whole. What fails within it leaves the schema as it is: no other then fails in its own name."""
        assert not self.under, f"nothing can be said after {self.under[0]!r}, which failed"
        self.under.append(kind)
        yield
        self.under.clear()

    def change(self, statements: tuple[str, ...]) -> None:
        """All of them in one transaction, again until it gets its locks."""
        names = {
            "VIEW VIEW": f"VIEW {self.view}",
            "'VIEW'": f"'{self.view}'",
            "PUBLICATION PUBLICATION": self.publication,
        }
        for _ in range(200):
            try:
                with self.rig.conn.transaction():
                    self.rig.conn.execute("SET LOCAL lock_timeout = '500ms'")
                    for statement in statements:
                        for name, real in names.items():
                            statement = statement.replace(name, real)
                        self.rig.conn.execute(statement.encode(), prepare=False)
                return
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                continue
        raise AssertionError(f"never got the locks for {statements}")

    @property
    def view(self) -> str:
        return self.rig.move("car").view.sql

    @property
    def publication(self) -> str:
        return f"PUBLICATION {self.rig.plan.publication}"

    def stands(self, change: Change) -> bool:
        """Wait for what the change must bring about: the move halts, or there is a gap."""
        if change.halts:
            self.rig.wait_until("SELECT halted IS NOT NULL FROM cutover.move WHERE move = 'car'")
        if change.gap:
            self.rig.wait_until("SELECT gap IS NOT NULL FROM cutover.plan")
        return change.halts or change.gap

    def halted(self) -> set[str]:
        return {row[0] for row in self.rig.conn.execute("SELECT move FROM cutover.move WHERE halted IS NOT NULL")}

    def broken(self) -> list[Problem]:
        """What is broken, but for processes that start again by themselves, and partitions that they will take."""
        found = examine(Settings(dsn=self.rig.dsn, log=self.rig.address, plan=str(self.rig.folder)))
        return [each for each in found if each.severity == "broken" and not each.cure.startswith(ELSEWHERE)]

    def follow(self) -> None:
        """Do what doctor prints until nothing is broken any more."""
        for _ in range(6):
            problems = self.broken()
            if not problems:
                return
            *first, last = problems[0].cure.splitlines()
            for command in first:
                self.command(command)
            code, said = self.command(last)
            assert code == 0 or "cutover heal" in said, (problems, said)
        raise AssertionError(problems)

    def command(self, command: str) -> tuple[int, str]:
        program, *arguments = shlex.split(command)
        assert program == "cutover", command
        return self.crew.run(*arguments)

    def edit(self, old: str, new: str) -> None:
        """Change the plan as the cure says."""
        for file in (self.rig.folder / "car.sql", self.rig.folder / "plan.toml"):
            file.write_text(file.read_text().replace(old, new))

    def prove(self) -> None:
        """Both sides equal, and every acknowledged write in the target."""
        with self.application.turn:
            self.rig.plan = self.rig.compile()
            self.rig.drain()
            assert self.rig.differences() == {}
            for table, column, ledger in (("car", "n", self.application.cars), ("trip", "km", self.application.rides)):
                rows = self.rig.conn.execute(f"SELECT id, {column} FROM fleet.{table}".encode()).fetchall()
                assert {key: value for key, value in rows if key in ledger} == ledger, table


@pytest.fixture(scope="module", params=["pg18"])
def world(
    request: pytest.FixtureRequest, services: Services, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """One service and one application for all changes, which come and go under it."""
    folder = tmp_path_factory.mktemp("schema")
    address = f"sqlite:///{folder / 'log.db'}"
    with (
        fresh_database(services.postgres(VERSIONS[request.param])) as dsn,
        prepared(Rig(dsn, f"t{secrets.token_hex(5)}", address, folder, SCHEMA, FILES)) as rig,
    ):
        settings = {"CUTOVER_DSN": dsn, "CUTOVER_LOG": address, "CUTOVER_PLAN": str(rig.folder)}
        crew = Crew(settings, {"capture": ["capture"], "consume": ["consume"]})
        application = Application(dsn)
        rig.backfill()
        writing = threading.Thread(target=application.run)
        writing.start()
        try:
            yield World(rig, crew, application)
        finally:
            application.stopped.set()
            writing.join()
            crew.close()


@pytest.mark.parametrize("kind", CHANGES)
def test_c10_a_schema_change_in_mid_stream(world: World, kind: str) -> None:
    with world.changing(kind):
        in_mid_stream(world, kind, CHANGES[kind])


def in_mid_stream(world: World, kind: str, change: Change) -> None:
    world.change(change.statements)
    world.application.go_on()
    world.stands(change)
    if change.halts is False and not change.gap:
        assert world.halted() == set()
    elif not change.gap and kind != "schema renamed":
        assert world.halted() <= {"car"}
    told = "\n".join(f"{each.what} | {each.why} | {each.hint} | {each.cure}" for each in world.broken())
    assert bool(told) == bool(change.says), told
    assert re.search(change.says, told, re.MULTILINE | re.DOTALL), told
    if kind in UNTOLD:
        assert world.command("cutover reconcile car")[0] == 4
        world.command("cutover reconcile car --repair")
    if change.mend:
        world.change(change.mend)
    if change.edit:
        world.edit(*change.edit)
    if change.cured:
        world.follow()
    if change.undo:
        world.application.go_on()
        if change.cured:
            world.prove()
        world.change(change.undo)
        world.stands(change)
        world.follow()
    if kind in UNTOLD:
        world.command("cutover reconcile car --repair")
    world.application.go_on()
    world.prove()
    assert world.broken() == []
    assert world.halted() == set()


@pytest.mark.parametrize("kind", REFUSED)
def test_c10_postgresql_refuses_what_would_break_the_mapping(world: World, kind: str) -> None:
    with world.changing(kind):
        with pytest.raises((psycopg.errors.DependentObjectsStillExist, psycopg.errors.FeatureNotSupported)):
            world.change((REFUSED[kind],))
        world.application.go_on()
        world.prove()


def test_c10_after_all_of_them_it_is_proven(world: World) -> None:
    with world.changing("all of them"):
        proven(world)


def proven(world: World) -> None:
    world.application.go_on()
    deadline = time.monotonic() + 60
    while (ran := world.command("cutover reconcile"))[0]:
        assert ran[0] == 3, ran
        assert time.monotonic() < deadline, ran
