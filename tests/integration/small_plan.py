"""A small plan of its own, built by hand: two moves, every name in need of quotes where PostgreSQL allows one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sql.connection import Connection
from sql.model import Existing, Move, Plan, Source, TargetColumn
from sql.names import Name

PART = Name("Lager", "Teil")  # the target, and a source of it
PRICE = Name("Lager", "Teil Preis")  # 1:1, own primary key, the target key beside it
SALE = Name("Lager", "Verkauf")  # legacy ledger
ORDER = Name("Lager", "order")  # target of an `add` move
FACADE = Name("Lager", "Teil jetzt")
ORDERS = Name("Lager", "orders_now")

_SCHEMA = """
CREATE SCHEMA "Lager";
CREATE TABLE "Lager"."Teil" (
    id text PRIMARY KEY, name text NOT NULL, version int NOT NULL DEFAULT 1, price numeric(10,2), note varchar(40));
CREATE TABLE "Lager"."Teil Preis" (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "Teil" text NOT NULL, "Währung" numeric, note varchar(40),
    card_token text);
CREATE INDEX ON "Lager"."Teil Preis" ("Teil");
CREATE TABLE "Lager"."Verkauf" (id int PRIMARY KEY, ext text, gross numeric(12,2) NOT NULL, buyer_email text);
CREATE TABLE "Lager"."order" (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ext text UNIQUE NOT NULL, gross numeric(12,2));
"""
_ROWS = """
INSERT INTO "Lager"."Teil" (id, name) SELECT 'p' || lpad(n::text, 6, '0'), 'part ' || n FROM generate_series(1, %s) n;
INSERT INTO "Lager"."Teil Preis" ("Teil", "Währung", note, card_token)
SELECT id, 1 + row_number() OVER (ORDER BY id), 'n', 'secret-token' FROM "Lager"."Teil";
"""
PART_MAPPING = """
SELECT t.id, t.name, t.version, p."Währung" AS price, p.note
  FROM "Lager"."Teil" t LEFT JOIN "Lager"."Teil Preis" p ON p."Teil" = t.id
"""
ORDER_MAPPING = (
    'SELECT v.ext, sum(v.gross)::numeric(12,2) AS gross FROM "Lager"."Verkauf" v WHERE v.ext IS NOT NULL GROUP BY v.ext'
)


@dataclass(frozen=True, slots=True)
class SmallPlan:
    """The plan of this module under one name."""

    name: str

    def create(self, conn: Connection, rows: int = 100) -> Plan:
        """Make the tables, with so many parts and prices, and compile."""
        conn.execute(_SCHEMA.encode(), prepare=False)
        for statement in _ROWS.strip().split(";\n")[:2]:
            conn.execute(statement.encode(), (rows,) if "%s" in statement else None)
        conn.execute("ANALYZE")
        return self.compile(conn)

    def compile(self, conn: Connection, digest: str = "d1", existing: Existing = "report") -> Plan:
        """The plan as it would be compiled."""
        return Plan(self.name, digest, (self.part(conn), self.order(conn, existing)))

    def part(self, conn: Connection) -> Move:
        sources = (
            _source(conn, PART, ("id",), ("id", "name", "version"), is_target=True),
            _source(conn, PRICE, ("Teil",), ("id", "Teil", "Währung", "note")),
        )
        return Move(
            plan=self.name,
            name="part",
            target=PART,
            target_oid=_oid(conn, PART),
            rows="existing",
            existing="report",
            key=_columns(conn, PART, "id"),
            columns=(
                *(replace(column, own=True) for column in _columns(conn, PART, "name", "version")),
                *_columns(conn, PART, "price", "note"),
            ),
            sources=sources,
            mapping_sql=PART_MAPPING,
            unique=True,
            facade=FACADE,
            partitions=2,
        )

    def order(self, conn: Connection, existing: Existing = "report") -> Move:
        return Move(
            plan=self.name,
            name="order",
            target=ORDER,
            target_oid=_oid(conn, ORDER),
            rows="add",
            existing=existing,
            key=_columns(conn, ORDER, "ext"),
            columns=_columns(conn, ORDER, "gross"),
            sources=(_source(conn, SALE, ("ext",), ("id", "ext", "gross")),),
            mapping_sql=ORDER_MAPPING,
            unique=True,
            facade=ORDERS,
            partitions=2,
        )


def _columns(conn: Connection, table: Name, *names: str) -> tuple[TargetColumn, ...]:
    rows = conn.execute(
        "SELECT attname::text, format_type(atttypid, atttypmod), atttypid::int FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attname = ANY (%s) ORDER BY array_position(%s, attname::text)",
        (table.sql, list(names), list(names)),
    ).fetchall()
    assert [row[0] for row in rows] == list(names)
    return tuple(TargetColumn(name, type_, oid, False, frozenset(), False) for name, type_, oid in rows)


def _source(
    conn: Connection, table: Name, key: tuple[str, ...], columns: tuple[str, ...], *, is_target: bool = False
) -> Source:
    return Source(table, _oid(conn, table), (key,), columns, "default", is_target)


def _oid(conn: Connection, table: Name) -> int:
    row = conn.execute("SELECT to_regclass(%s)::oid::int", (table.sql,)).fetchone()
    assert row is not None
    return int(row[0])
