"""The control schema's migrations are numbered without a hole: one that came later to fill it would never run."""

from __future__ import annotations

from sql.files import migrations


def test_migrations_are_numbered_without_a_hole() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))
