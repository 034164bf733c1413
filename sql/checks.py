"""The findings of a plan's check: what would break the application, lose a change, or write something wrong."""

from __future__ import annotations

from collections.abc import Iterator

from sql.identity import identity_cure, identity_problem
from sql.model import Finding
from sql.understood import Understood


def check_move(it: Understood) -> list[Finding]:
    """All findings of one move that need no look at its rows."""
    return [*it.analysis.findings, *_identity(it)]


def _identity(it: Understood) -> Iterator[Finding]:
    for source in it.streamed:
        table, keys = it.tables[source.name], it.keys(source)
        problem = identity_problem(table, keys)
        if problem is not None and keys:
            cure = identity_cure(table, keys)
            yield Finding("block", "replica-identity", problem, file=it.spec.mapping.file, line=source.line,
                          cure="; ".join(cure.statements) + f" ({cure.cost})")  # fmt: skip
