"""The loader of the .sql files beside this package: what we say to PostgreSQL is written there, not in Python."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def load(name: str) -> str:
    """The text of `sql/<name>.sql`."""
    return files("sql").joinpath(f"{name}.sql").read_text(encoding="utf-8")


@cache
def migrations() -> tuple[tuple[int, str], ...]:
    """The control schema's migrations as (version, text), oldest first."""
    folder = files("sql").joinpath("control")
    found = [(int(entry.name.split("_", 1)[0]), entry) for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return tuple((version, entry.read_text(encoding="utf-8")) for version, entry in sorted(found, key=lambda it: it[0]))
