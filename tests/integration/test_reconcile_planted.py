"""R1, R3: planted edits are found, all of them and nothing else, while the application writes and consumers come and go."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.planting import Field, Ground, exactly_what_was_planted_is_drift
from tests.integration.rig import FILES, SCHEMA, Rig, prepared

ROWS = 160  # of each move: those with even numbers are written all the time, edits are planted in the others
ITEMS = [str(uuid.UUID(int=n + 1)) for n in range(ROWS)]
BOTH = pytest.mark.parametrize(
    ("server", "log_address"), [("pg15", "sqlite"), ("pg18", "kafka")], indirect=True, ids=["pg15-sqlite", "pg18-kafka"]
)

# A fourth move: composite text keys, and every type whose look deceives.
CABINET = """
CREATE SCHEMA "Akte";
CREATE TABLE "Akte"."Blatt" ("Mappe" text, "Nr." text, sender text, receiver text, note text, weight numeric,
                             price numeric(10,2), sent timestamptz, at timestamp, PRIMARY KEY ("Mappe", "Nr."));
CREATE TABLE "Akte"."Inhalt" ("Mappe" text, "Nr." text, doc jsonb, raw json, tags text[], PRIMARY KEY ("Mappe", "Nr."));
CREATE TABLE "Akte"."order" ("Mappe" text, "Nr." text, sender text, receiver text, note text, weight numeric,
                             price numeric(10,2), sent timestamptz, at timestamp, doc jsonb, raw json, tags text[],
                             PRIMARY KEY ("Mappe", "Nr."));
"""
CABINET_PLAN = """
[moves.cabinet]
target  = '"Akte"."order"'
mapping = "cabinet.sql"
key     = ['"Mappe"', '"Nr."']
rows    = "all"
"""
CABINET_MAPPING = """
SELECT b."Mappe", b."Nr.", b.sender, b.receiver, b.note, b.weight, b.price, b.sent, b.at, i.doc, i.raw, i.tags
  FROM "Akte"."Blatt" b
  LEFT JOIN "Akte"."Inhalt" i ON i."Mappe" = b."Mappe" AND i."Nr." = b."Nr."
"""
CABINET_FILL = (
    """INSERT INTO "Akte"."Blatt" VALUES ('ä "1"', %(nr)s, 'here', 'there', NULL, 7.5, 10, '2025-06-01 12:00+00',
                                          '2025-06-01 12:00')""",
    """INSERT INTO "Akte"."Inhalt" VALUES ('ä "1"', %(nr)s, '{"a": 1.0, "b": [1, 2]}', '{"a": 1,  "a": 2}',
                                           '{a,NULL,"b,c"}')""",
)


def _update(table: str, keys: str, *sets: str) -> list[str]:
    where = " AND ".join(f"{name} = %(k{at + 1})s" for at, name in enumerate(keys.split(", ")))
    return [f"UPDATE {table} SET {each} WHERE {where} RETURNING {_texts(keys)}" for each in sets]


def _delete(table: str, keys: str) -> str:
    return _update(table, keys, "")[0].replace("UPDATE", "DELETE FROM").replace(" SET ", "")


def _texts(keys: str) -> str:
    return ", ".join(f"{name}::text" for name in keys.split(", "))


ITEM = _update(
    "shop.item", "id",
    "cost = cost + 0.01",
    "cost = NULL",
    "note = ''",  # it is NULL
    "state = state || ' '",
    "state = currency, currency = left(state, 3)",
    "held = 0",  # it is NULL
)  # fmt: skip
ITEM_SAME = _update("shop.item", "id", "cost = 10.0000", "state = 'new'::char(10)", "held = NULL")
LEDGER = [
    *_update('shop."order"', "ref", "total = -total", "total = NULL", "total = total + 0.01"),
    _delete('shop."order"', "ref"),
    # A row of the move's own whose legacy row is gone.
    """WITH new AS (INSERT INTO shop."order" (ref, total) VALUES (%(k1)s || ' ', 5) RETURNING ref),
            owned AS (INSERT INTO {owned} SELECT ref FROM new)
       SELECT ref FROM new""",
]
LEDGER_SAME = [
    *_update('shop."order"', "ref", "total = 5.000", "origin = 'elsewhere'"),
    """INSERT INTO shop."order" (ref, total) VALUES (%(k1)s || '-of others', 5) RETURNING ref""",
]
PRICE_KEYS = '"Land", "Nummer"'
PRICE = [
    *_update('"Lager"."select"', PRICE_KEYS, "betrag = betrag * 10", "\"Währung\" = ''", "prozent = 'NaN'"),
    _delete('"Lager"."select"', PRICE_KEYS),
    f"""INSERT INTO "Lager"."select" SELECT %(k1)s, %(k2)s || ' ' RETURNING {_texts(PRICE_KEYS)}""",
]
PRICE_SAME = _update('"Lager"."select"', PRICE_KEYS, "betrag = 7", "prozent = NULL")
CABINET_KEYS = '"Mappe", "Nr."'
CABINET_EDITS = [
    *_update(
        '"Akte"."order"', CABINET_KEYS,
        "note = ''",  # it is NULL
        "sender = sender || ' '",
        "sender = receiver, receiver = sender",
        "weight = 7.50",  # numeric without a scale: it is part of the value
        "price = 10.01",
        "sent = sent + interval '1 hour'",
        "sent = at AT TIME ZONE 'Asia/Tokyo'",  # the zone forgotten
        "at = sent AT TIME ZONE 'Europe/Berlin'",
        """doc = '{"a": 1.00, "b": [1, 2]}'""",
        """doc = '{"a": 1.0, "b": [2, 1]}'""",
        "doc = 'null'",
        "doc = NULL",
        """raw = '{"a": 2}'""",
        """raw = '{"a": 1, "a": 2}'""",  # one blank less: json is its text
        """tags = '{a,"NULL","b,c"}'""",
        """tags = '{a,NULL,b,c}'""",
        """tags = '{{a,NULL,"b,c"}}'""",
    ),
    _delete('"Akte"."order"', CABINET_KEYS),
    f"""INSERT INTO "Akte"."order" SELECT %(k1)s, %(k2)s || ' ' RETURNING {_texts(CABINET_KEYS)}""",
    f"""INSERT INTO "Akte"."order" SELECT '', %(k2)s RETURNING {_texts(CABINET_KEYS)}""",
]  # fmt: skip
CABINET_SAME = _update(
    '"Akte"."order"', CABINET_KEYS,
    "sent = '2025-06-01 21:00+09'",
    "sent = '2025-06-01 14:00 Europe/Berlin'",
    """doc = '{"b": [1, 2], "a": 1.0}'""",
    """doc = '{"a": 3, "b": [1, 2], "a": 1.0}'""",
    "price = 10.0000",
    "weight = '7.5e0'",
    """tags = ARRAY['a', NULL, 'b,c']""",
)  # fmt: skip

WRITES = (
    "UPDATE shop.item_cost SET cost = %(n)s WHERE item_id = %(item)s",
    "UPDATE shop.item_state SET state = 's' || %(n)s, note = nullif(%(n)s::text, '3') WHERE item_id = %(item)s",
    "INSERT INTO shop.item_hold (item_id, qty) VALUES (%(item)s, %(n)s)",
    "DELETE FROM shop.item_hold WHERE item_id = %(item)s",
    "UPDATE shop.item SET name = 'thing ' || %(n)s WHERE id = %(item)s",
    "DELETE FROM shop.payment WHERE ref = %(ref)s",
    "INSERT INTO shop.payment (ref, amount) SELECT %(ref)s, %(n)s WHERE NOT EXISTS (SELECT FROM shop.payment WHERE ref = %(ref)s)",
    "UPDATE shop.payment SET amount = %(n)s WHERE ref = %(ref)s",
    """UPDATE "Lager"."Preis" SET betrag = %(n)s WHERE "Nummer" = %(nr)s""",
    """DELETE FROM "Lager"."Preis" WHERE "Nummer" = %(nr)s""",
    """INSERT INTO "Lager"."Preis" VALUES ('DE', %(nr)s, 'EUR', %(n)s) ON CONFLICT DO NOTHING""",
    """INSERT INTO "Lager"."Rabatt" VALUES ('DE', %(nr)s, %(n)s) ON CONFLICT DO NOTHING""",
    """DELETE FROM "Akte"."Blatt" WHERE "Nr." = %(nr)s""",
    """UPDATE "Akte"."Blatt" SET sent = now(), weight = %(n)s WHERE "Nr." = %(nr)s""",
    """UPDATE "Akte"."Inhalt" SET doc = doc || jsonb_build_object('n', %(n)s::int), tags = tags || NULL WHERE "Nr." = %(nr)s""",
    CABINET_FILL[0] + " ON CONFLICT DO NOTHING",
)


def busy(dice: random.Random) -> dict[str, object]:
    """A row of each move that is written."""
    at = 2 * dice.randrange(ROWS // 2)
    return {"n": dice.randrange(1000), "item": ITEMS[at], "ref": f"R{at}", "nr": f"N,{at}"}


@pytest.fixture
def ground(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> Iterator[Ground]:
    files = {**FILES, "plan.toml": FILES["plan.toml"] + CABINET_PLAN, "cabinet.sql": CABINET_MAPPING}
    with prepared(Rig(dsn, plan_name, log_address, tmp_path, SCHEMA + CABINET, files)) as rig:
        fill(rig)
        rig.capture()
        quiet = range(1, ROWS, 2)
        ledger = [each.replace("{owned}", str(rig.move("ledger").owned)) for each in LEDGER]
        fields = {
            "item": Field(ITEM, ITEM_SAME, [(ITEMS[at],) for at in quiet]),
            "ledger": Field(ledger, LEDGER_SAME, [(f"R{at}",) for at in quiet]),
            "price": Field(PRICE, PRICE_SAME, [("DE", f"N,{at}") for at in quiet]),
            "cabinet": Field(CABINET_EDITS, CABINET_SAME, [('ä "1"', f"N,{at}") for at in quiet]),
        }
        yield Ground(rig, fields, WRITES, busy)


def fill(rig: Rig) -> None:
    with rig.conn.cursor() as cursor:
        for at, item in enumerate(ITEMS):
            cursor.execute("INSERT INTO shop.item (id, name) VALUES (%s, 'thing')", (item,))
            cursor.execute("INSERT INTO shop.item_cost VALUES (%s, 10, 'EUR')", (item,))
            cursor.execute("INSERT INTO shop.item_state (item_id, state) VALUES (%s, 'new')", (item,))
            cursor.execute("INSERT INTO shop.payment (ref, amount) VALUES (%s, 5)", (f"R{at}",))
            cursor.execute("""INSERT INTO "Lager"."Preis" VALUES ('DE', %s, 'EUR', 7)""", (f"N,{at}",))
            for statement in CABINET_FILL:
                cursor.execute(statement.encode(), {"nr": f"N,{at}"})


@BOTH
def test_r1_r3_exactly_what_was_planted_is_drift(ground: Ground) -> None:
    exactly_what_was_planted_is_drift(ground)
