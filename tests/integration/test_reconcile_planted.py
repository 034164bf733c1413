"""R1, R3: planted edits are found, all of them and nothing else, while the application writes and consumers come and go."""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from reconcile.document import ReconcileDocument
from reconcile.run import reconcile
from sql.connection import connect, own
from tests.integration.rig import Rig, shop

ROWS = 240  # of each move: the first half is written to all the time, edits are planted in the second
LIVE = ROWS // 2
ITEMS = [str(uuid.UUID(int=n + 1)) for n in range(ROWS)]
BOTH = pytest.mark.parametrize(
    ("server", "log_address"), [("pg15", "sqlite"), ("pg18", "kafka")], indirect=True, ids=["pg15-sqlite", "pg18-kafka"]
)

# How a row of the target is falsified, by move and kind. %s is the row's key.
Edit = tuple[str, Callable[[int], tuple[str, ...]]]
ITEM: list[Edit] = [
    (sql, lambda n: (ITEMS[n],))
    for sql in (
        "UPDATE shop.item SET cost = cost + 0.01 WHERE id = %s",
        "UPDATE shop.item SET cost = NULL WHERE id = %s",
        "UPDATE shop.item SET note = '' WHERE id = %s",  # it is NULL
        "UPDATE shop.item SET state = state || ' ' WHERE id = %s",
        "UPDATE shop.item SET state = currency, currency = left(state, 3) WHERE id = %s",
        "UPDATE shop.item SET held = 0 WHERE id = %s",  # it is NULL
    )
]
LEDGER: list[Edit] = [
    ('UPDATE shop."order" SET total = -total WHERE ref = %s', lambda n: (f"R{n}",)),
    ('UPDATE shop."order" SET total = NULL WHERE ref = %s', lambda n: (f"R{n}",)),
    ('DELETE FROM shop."order" WHERE ref = %s', lambda n: (f"R{n}",)),
]
PRICE: list[Edit] = [
    (sql, lambda n: ("DE", f"N,{n}"))
    for sql in (
        """UPDATE "Lager"."select" SET betrag = betrag * 10 WHERE ("Land", "Nummer") = (%s, %s)""",
        """UPDATE "Lager"."select" SET "Währung" = '' WHERE ("Land", "Nummer") = (%s, %s)""",
        """UPDATE "Lager"."select" SET prozent = 'NaN' WHERE ("Land", "Nummer") = (%s, %s)""",
        """DELETE FROM "Lager"."select" WHERE ("Land", "Nummer") = (%s, %s)""",
        """INSERT INTO "Lager"."select" SELECT %s, %s || ' '""",
    )
]
KINDS = {"item": ITEM, "ledger": LEDGER, "price": PRICE}
WRITES = (
    "UPDATE shop.item_cost SET cost = %(n)s WHERE item_id = %(item)s",
    "UPDATE shop.item_state SET state = 's%(n)s', note = nullif('%(n)s', '3') WHERE item_id = %(item)s",
    "INSERT INTO shop.item_hold (item_id, qty) VALUES (%(item)s, %(n)s)",
    "DELETE FROM shop.item_hold WHERE item_id = %(item)s",
    "DELETE FROM shop.payment WHERE ref = %(ref)s",
    "INSERT INTO shop.payment (ref, amount) SELECT %(ref)s, %(n)s WHERE NOT EXISTS (SELECT FROM shop.payment WHERE ref = %(ref)s)",
    "UPDATE shop.payment SET amount = %(n)s WHERE ref = %(ref)s",
    """UPDATE "Lager"."Preis" SET betrag = %(n)s WHERE "Nummer" = %(nummer)s""",
    """DELETE FROM "Lager"."Preis" WHERE "Nummer" = %(nummer)s""",
    """INSERT INTO "Lager"."Preis" VALUES ('DE', %(nummer)s, 'EUR', %(n)s) ON CONFLICT DO NOTHING""",
    """INSERT INTO "Lager"."Rabatt" VALUES ('DE', %(nummer)s, %(n)s) ON CONFLICT DO NOTHING""",
)


@pytest.fixture
def rig(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> Iterator[Rig]:
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        fill(rig)
        rig.capture()
        yield rig


def fill(rig: Rig) -> None:
    with rig.conn.cursor() as cursor:
        for at, item in enumerate(ITEMS):
            cursor.execute("INSERT INTO shop.item (id, name) VALUES (%s, 'thing')", (item,))
            cursor.execute("INSERT INTO shop.item_cost VALUES (%s, 10, 'EUR')", (item,))
            cursor.execute("INSERT INTO shop.item_state (item_id, state) VALUES (%s, 'new')", (item,))
            cursor.execute("INSERT INTO shop.payment (ref, amount) VALUES (%s, 5)", (f"R{at}",))
            cursor.execute("""INSERT INTO "Lager"."Preis" VALUES ('DE', %s, 'EUR', 7)""", (f"N,{at}",))


def write(dsn: str, seed: int, stop: threading.Event) -> None:
    """An application that changes the first half of every move's rows."""
    dice = random.Random(seed)
    with connect(dsn, "writer") as conn:
        while not stop.is_set():
            at = dice.randrange(LIVE)
            row = {"n": dice.randrange(1000), "item": ITEMS[at], "ref": f"R{at}", "nummer": f"N,{at}"}
            with conn.transaction():
                for statement in dice.sample(WRITES, 2):
                    try:
                        with conn.transaction():
                            conn.execute(statement.encode(), row)
                    except psycopg.errors.IntegrityError:
                        continue


def come_and_go(rig: Rig, stop: threading.Event) -> None:
    """Consumers: always one or two, each for a moment."""
    running = rig.consume()
    while not stop.wait(0.3):
        again = rig.consume()
        assert rig.stop(running) == []
        running = again


def plant(rig: Rig, dice: random.Random, rows: dict[str, list[int]], count: int) -> dict[str, set[tuple[str, ...]]]:
    """Falsify rows of the targets behind the service's back: it takes the transaction for its own and skips it."""
    planted: dict[str, set[tuple[str, ...]]] = {name: set() for name in KINDS}
    for name, edits in KINDS.items():
        for at in (rows[name].pop(dice.randrange(len(rows[name]))) for _ in range(count)):
            statement, key = dice.choice(edits)
            with own(rig.conn):
                rig.conn.execute(statement.encode(), key(at))
            found = key(at)
            planted[name].add((found[0], found[1] + " ") if "INSERT" in statement else found)
    return planted


def drifted(document: ReconcileDocument) -> dict[str, set[tuple[str, ...]]]:
    return {
        report.move: {tuple(each.key) for each in report.differences if each.verdict == "drift"}
        for report in document.moves
    }


@BOTH
def test_exactly_what_was_planted_is_drift(rig: Rig) -> None:
    dice = random.Random(rig.name)
    stop = threading.Event()
    writers = [rig.start(lambda stop, seed=seed: write(rig.dsn, seed, stop)) for seed in (1, 2)]  # type: ignore[misc]
    consumers = threading.Thread(target=come_and_go, args=(rig, stop))
    consumers.start()
    try:
        rig.backfill()
        rig.drain()
        planted: dict[str, set[tuple[str, ...]]] = {name: set() for name in KINDS}
        rows = {name: list(range(LIVE, ROWS)) for name in KINDS}  # each falsified once: twice may be right again
        for count in (0, 1, 7, 20):
            for name, keys in plant(rig, dice, rows, count).items():
                planted[name] |= keys
            document = reconcile(rig.dsn, rig.plan, None, rig.log, chunk_rows=dice.choice((10, 100, 1000)))
            assert drifted(document) == planted, [(r.verdict, r.rows, r.findings) for r in document.moves]
            assert {report.move: report.rows.unresolved for report in document.moves} == dict.fromkeys(KINDS, 0)
            assert all(report.rows.compared >= ROWS - LIVE for report in document.moves)
    finally:
        stop.set()
        consumers.join(60)
    assert rig.stop(*writers) == []
    assert rig.stop() == []
