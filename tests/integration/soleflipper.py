"""SoleFlipper's legacy database for tests, and its plan's statements run as the service runs them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import pglast

from sql.connection import Connection, connect
from sql.soleflipper.seed import install

ROWS = 2_000  # and so 1,000 sales: the seed's thousandths are whole rows
NOW = datetime(2025, 11, 29, 12, tzinfo=UTC)
MAPPINGS = {"stock": "inventory.stock", "order": 'sales."order"'}
_PARAMETER = re.compile(r"(?<!:):(keys|since|until)\b")


@contextmanager
def seeded(dsn: str, *, rows: int = ROWS, seed: int = 1, at: datetime = NOW) -> Iterator[Connection]:
    """A session of a database that holds the legacy side and nothing else."""
    with connect(dsn, "test") as conn:
        install(conn, rows, seed, at)
        yield conn


@contextmanager
def planned(dsn: str, *, rows: int = ROWS, at: datetime = NOW) -> Iterator[Connection]:
    """The same with both moves' DDL, mapping views and the memory of added keys."""
    with seeded(dsn, rows=rows, at=at) as conn:
        add_columns(conn)
        conn.execute("CREATE SCHEMA cutover")
        for move in MAPPINGS:
            conn.execute(f"CREATE VIEW cutover.map_soleflipper_{move} AS {text(f'{move}.sql')}")
        conn.execute("CREATE TABLE cutover.owned_soleflipper_order (external_id varchar(100) PRIMARY KEY)")
        yield conn


def add_columns(conn: Connection) -> None:
    """Run the DDL of both moves, a statement at a time: one of them may not be in a transaction."""
    for file in ("stock.ddl.sql", "order.ddl.sql"):
        for statement in pglast.split(text(file)):
            conn.execute(statement)


def text(file: str) -> str:
    """A file of the shipped plan."""
    return files("sql.soleflipper").joinpath(file).read_text(encoding="utf-8")


def plan() -> dict[str, Any]:
    """The shipped plan.toml."""
    return tomllib.loads(text("plan.toml"))


def statement(file: str) -> str:
    """A file of the plan with :keys, :since and :until as named parameters."""
    types = {"keys": "varchar[]", "since": "timestamptz", "until": "timestamptz"}
    return _PARAMETER.sub(lambda match: f"%({match[1]})s::{types[match[1]]}", text(file).replace("%", "%%"))
