"""A small shop with three moves, prepared on a fresh database, and the stream running over it.

`item`: three tables into one of them, rows = existing. `ledger`: rows = add. `price`: composite text keys and quoted
names, rows = all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cdc.capture import Capture
from cdc.log import Log, Record, open_log
from consumers.backfill import backfill
from consumers.converge import Result
from consumers.worker import Worker
from cutover.plan import load_plan
from cutover.prepare import prepare
from sql.compare import any_differs
from sql.compile import compile_plan
from sql.connection import Connection, connect
from sql.errors import Unreachable
from sql.model import Move, Plan
from sql.names import quote

SCHEMA = """
CREATE SCHEMA shop;
CREATE TABLE shop.item (id uuid PRIMARY KEY, name text NOT NULL, cost numeric(10,2), currency text, state text,
                        held int, note text);
CREATE TABLE shop.item_cost (item_id uuid PRIMARY KEY, cost numeric(10,2), currency text, secret text);
ALTER TABLE shop.item_cost REPLICA IDENTITY FULL;
CREATE TABLE shop.item_state (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                              item_id uuid NOT NULL UNIQUE, state text, note text);
CREATE TABLE shop.item_hold (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, item_id uuid NOT NULL, qty int NOT NULL);
CREATE INDEX ON shop.item_hold (item_id);

CREATE TABLE shop.payment (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ref text, amount numeric(10,2), seen boolean);
CREATE INDEX ON shop.payment (ref);
CREATE TABLE shop."order" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ref text UNIQUE, total numeric(10,2),
                           origin text DEFAULT 'shop');

CREATE SCHEMA "Lager";
CREATE TABLE "Lager"."Preis" ("Land" text, "Nummer" text, "Währung" text, betrag numeric, PRIMARY KEY ("Land", "Nummer"));
CREATE TABLE "Lager"."Rabatt" ("Land" text, "Nummer" text, prozent float8, PRIMARY KEY ("Land", "Nummer"));
CREATE TABLE "Lager"."select" ("Land" text, "Nummer" text, "Währung" text, betrag numeric, prozent float8,
                               PRIMARY KEY ("Land", "Nummer"));
"""

PLAN = """
name = "{name}"

[moves.item]
target  = "shop.item"
mapping = "item.sql"
key     = ["id"]
rows    = "existing"
facade  = "shop.item_current"

[moves.item.waive]
"shop.item_cost.secret" = "not ours to keep"
"shop.item_state.id" = "surrogate"
"shop.item_hold.id" = "surrogate"

[moves.ledger]
target   = 'shop."order"'
mapping  = "ledger.sql"
key      = ["ref"]
rows     = "add"
existing = "keep"
annotate = "mark.sql"
facade   = "shop.order_current"

[moves.ledger.waive]
"shop.payment.id" = "surrogate"
"shop.payment.seen" = "kept current by the annotation"

[moves.price]
target  = '"Lager"."select"'
mapping = "price.sql"
key     = ['"Land"', '"Nummer"']
rows    = "all"
"""

ITEM = """
SELECT i.id, i.name, c.cost, c.currency, s.state, h.held, s.note
  FROM shop.item i
  LEFT JOIN shop.item_cost c ON c.item_id = i.id
  LEFT JOIN shop.item_state s ON s.item_id = i.id
  LEFT JOIN LATERAL (SELECT sum(qty)::int AS held FROM shop.item_hold WHERE item_id = i.id) h ON true
"""

LEDGER = """
SELECT p.ref, p.amount AS total
  FROM shop.payment p
 WHERE p.ref IS NOT NULL
   AND NOT EXISTS (SELECT FROM shop.payment d WHERE d.ref = p.ref AND d.id <> p.id)
"""

MARK = """
UPDATE shop.payment p SET seen = (o.ref IS NOT NULL)
  FROM unnest(:keys) k(ref) LEFT JOIN shop."order" o ON o.ref = k.ref
 WHERE p.ref = k.ref AND p.seen IS DISTINCT FROM (o.ref IS NOT NULL)
"""

PRICE = """
SELECT p."Land", p."Nummer", p."Währung", p.betrag, r.prozent
  FROM "Lager"."Preis" p
  LEFT JOIN "Lager"."Rabatt" r ON r."Land" = p."Land" AND r."Nummer" = p."Nummer"
"""


FILES = {"plan.toml": PLAN, "item.sql": ITEM, "ledger.sql": LEDGER, "mark.sql": MARK, "price.sql": PRICE}


def write_plan(folder: Path, name: str, files: Mapping[str, str] = FILES) -> Path:
    """A plan as a folder, the shop's unless other files are given; `{name}` in plan.toml becomes its name."""
    folder.mkdir(exist_ok=True)
    for file, text in files.items():
        named = text.replace("{name}", name) if file == "plan.toml" else text
        (folder / file).write_text(named, encoding="utf-8")
    return folder


class Rig:
    """A plan's world, the shop unless another is given, on one database and one log."""

    def __init__(
        self,
        dsn: str,
        name: str,
        address: str,
        folder: Path,
        schema: str = SCHEMA,
        files: Mapping[str, str] = FILES,
    ) -> None:
        self.dsn, self.name, self.address = dsn, name, address
        self.folder = write_plan(folder / "plan", name, files)
        self.conn: Connection = connect(dsn, "test")
        self.conn.execute(schema.encode(), prepare=False)
        self._logs: list[Log] = []
        self.log = self.open_log()
        self._running: list[tuple[threading.Thread, threading.Event, list[BaseException]]] = []

    def open_log(self) -> Log:
        """Another way into the log, closed with the rig: a run has its own, as a process of its own would."""
        self._logs.append(open_log(self.address))
        return self._logs[-1]

    def compile(self) -> Plan:
        with connect(self.dsn, "test") as conn:
            return compile_plan(conn, load_plan(str(self.folder)))

    def prepare(self) -> Plan:
        """Prepare all moves; the plan as it is then."""
        prepare(self.dsn, self.compile(), self.log, self.compile, set_identity=True)
        self.plan = self.compile()
        return self.plan

    def reconnect(self) -> None:
        """A new session for the test itself, after its server was gone."""
        self.conn.close()
        self.conn = connect(self.dsn, "test")

    def move(self, name: str) -> Move:
        return self.plan.move(name)

    def start(self, run: Callable[[threading.Event], None]) -> threading.Event:
        """Run something in a thread until the returned event is set or the rig closes."""
        stop = threading.Event()
        errors: list[BaseException] = []

        def body() -> None:
            try:
                run(stop)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        self._running.append((thread, stop, errors))
        return stop

    def capture(self) -> threading.Event:
        return self.start(Capture(self.dsn, self.plan, self.open_log(), self.compile).run)

    def consume(
        self, on_batch: Callable[[Move, Result, float], None] | None = None, sessions: int = 1
    ) -> threading.Event:
        return self.start(Worker(self.dsn, self.plan, self.open_log(), self.compile, on_batch, sessions).run)

    def stop(self, *events: threading.Event) -> list[BaseException]:
        """Stop these runs (all without arguments) and wait for their end; the errors that they ended with."""
        found: list[BaseException] = []
        for entry in list(self._running):
            thread, stop, errors = entry
            if not events or stop in events:
                stop.set()
                thread.join(30)
                assert not thread.is_alive(), "a run does not stop"
                found += errors
                self._running.remove(entry)
        return found

    def ended(self, event: threading.Event, timeout: float = 30) -> list[BaseException]:
        """Wait for a run to end by itself; its errors."""
        for thread, stop, errors in self._running:
            if stop is event:
                thread.join(timeout)
                assert not thread.is_alive(), "the run goes on"
                return errors
        raise AssertionError("no such run")

    def backfill(self, *moves: str) -> None:
        for move in self.plan.moves:
            if not moves or move.name in moves:
                backfill(self.dsn, self.plan, move, self.log, threading.Event())

    def drain(self, timeout: int = 60) -> None:
        """Wait until every move has applied everything committed before now, by LSN, and every record there was."""
        row = self.conn.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
        assert row is not None
        ends = {move.name: self._end_offsets(move, timeout) for move in self.plan.moves}
        self.conn.execute("SELECT cutover.wait_for(%s, %s, NULL, %s)", (row[0], self.name, f"{timeout} seconds"))
        for name, offsets in ends.items():
            self.wait_until(
                'SELECT bool_and(p."offset" >= n.e) FROM cutover.position p'
                " JOIN unnest(%s::bigint[]) WITH ORDINALITY n (e, i) ON n.i = p.partition + 1"
                " WHERE p.plan = %s AND p.move = %s",
                (offsets, self.name, name),
                timeout,
            )

    def _end_offsets(self, move: Move, timeout: float) -> list[int]:
        """Asked again for a while: a broker that was started again is not well at once."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self.log.end_offsets(move.topic)
            except Unreachable:
                if time.monotonic() > deadline:
                    raise

    def records(self, move: str) -> list[bytes]:
        """The value of every record that a move's topic holds now."""
        return [record.value for record in self.placed(move)]

    def placed(self, move: str) -> list[Record]:
        """Every record that a move's topic holds now, in the order of its partition."""
        topic = self.move(move).topic
        ends = self.log.end_offsets(topic)
        reader = self.log.reader()
        reader.assign({(topic, partition): 0 for partition in range(len(ends))})
        found: list[Record] = []
        open_ends = {partition for partition, end in enumerate(ends) if end}
        while open_ends:
            for record in reader.poll(5):
                if record.offset < ends[record.partition]:
                    found.append(record)
                if record.offset >= ends[record.partition] - 1:
                    open_ends.discard(record.partition)
        reader.close()
        return found

    def wait_until(self, query: str, parameters: tuple[object, ...] = (), timeout: float = 30) -> None:
        """Wait until a query of one boolean says true."""
        deadline = time.monotonic() + timeout
        while True:
            row = self.conn.execute(query.encode(), parameters).fetchone()
            if row and row[0]:
                return
            assert time.monotonic() < deadline, f"not within {timeout} s: {query}"
            self.conn.execute("SELECT pg_sleep(0.01)")

    def difference(self, name: str) -> list[tuple[object, ...]]:
        """The keys of a move for which the target is not what the mapping says, as its policy understands it."""
        move = self.move(name)
        names = [quote(k.name) for k in move.key]
        using, written = ", ".join(names), move.written
        keys = ", ".join(f"{n}::text" for n in names)
        if move.rows == "existing":
            where = any_differs(written, "v", "t")
            join = f"{move.view} v JOIN {move.target} t USING ({using})"
        elif move.rows == "all":
            where = f"v.{names[0]} IS NULL OR t.{names[0]} IS NULL OR {any_differs(written, 'v', 't')}"
            join = f"{move.view} v FULL JOIN {move.target} t USING ({using})"
        else:
            where = f"t.{names[0]} IS NULL OR (o.{names[0]} IS NOT NULL AND (v.{names[0]} IS NULL OR {any_differs(written, 'v', 't')}))"
            join = f"{move.view} v FULL JOIN {move.owned} o USING ({using}) LEFT JOIN {move.target} t USING ({using})"
        return self.conn.execute(f"SELECT {keys} FROM {join} WHERE {where}".encode()).fetchall()

    def differences(self) -> dict[str, list[tuple[object, ...]]]:
        """The moves whose sides differ."""
        found = {move.name: self.difference(move.name) for move in self.plan.moves}
        return {name: keys for name, keys in found.items() if keys}

    def close(self) -> None:
        self.stop()
        self.conn.close()
        for log in self._logs:
            log.close()


@contextmanager
def shop(dsn: str, name: str, address: str, folder: Path) -> Iterator[Rig]:
    """A prepared shop; nothing runs yet."""
    with prepared(Rig(dsn, name, address, folder)) as rig:
        yield rig


@contextmanager
def prepared(rig: Rig) -> Iterator[Rig]:
    """A rig once it is prepared; it is closed at the end."""
    try:
        rig.prepare()
        yield rig
    finally:
        rig.close()
