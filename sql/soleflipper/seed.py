"""Install SoleFlipper's legacy database, filled with a realistic and reproducible volume.

On the command line: python -m sql.soleflipper.seed --rows 50000 [--seed 1] [--dsn postgresql://…]
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from importlib.resources import files

from sql.connection import Connection, connect

ROWS = 50_000


def install(conn: Connection, rows: int = ROWS, seed: int = 1, at: datetime | None = None) -> None:
    """Create the legacy schemas in an empty database and fill them, in one transaction.

    `rows` is the number of stock items (at least 20), all other volumes follow from it. `at` is the moment taken as
    now (default: now), around which reservations run out; the same rows, seed and moment give the same data.
    Raises ValueError for fewer rows, psycopg.errors.DuplicateSchema when the schemas are there already.
    """
    if rows < 20:
        raise ValueError(f"at least 20 rows, got {rows}")
    moment = (at or datetime.now(UTC)).astimezone(UTC).replace(tzinfo=None)
    with conn.transaction():
        conn.execute(_text("legacy.sql"))
        conn.execute(
            "SELECT set_config('soleflipper.rows', %s, true), set_config('soleflipper.seed', %s, true),"
            " set_config('soleflipper.at', %s, true)",
            [str(rows), str(seed), moment.isoformat(sep=" ")],
        )
        conn.execute(_text("seed.sql"))
        conn.execute(_text("legacy_references.sql"))


def _text(file: str) -> bytes:
    return files("sql.soleflipper").joinpath(file).read_bytes()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m sql.soleflipper.seed", description=install.__doc__)
    parser.add_argument("--dsn", default="", help="default: libpq's PG* variables")
    parser.add_argument("--rows", type=int, default=ROWS, help="stock items (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="a number (default %(default)s)")
    given = parser.parse_args()
    with connect(given.dsn, "seed") as conn:
        install(conn, given.rows, given.seed)


if __name__ == "__main__":
    main()
