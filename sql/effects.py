"""What happens by itself when a move's target is written: its triggers, its foreign keys' cascades, its rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sql.connection import Connection
from sql.files import load
from sql.model import Finding, Severity

if TYPE_CHECKING:
    from sql.understood import Understood


@dataclass(frozen=True, slots=True)
class Effect:
    """A trigger that fires `before` or `after`, a cascade `from` the target or `into` it, a `rule`.

    `table`: where it is defined; of a cascade the other table. The rest: upon which writes.
    """

    kind: Literal["before", "after", "from", "into", "rule"]
    name: str
    table: str
    function: str
    insert: bool
    update: bool
    delete: bool

    def upon(self, rows: str) -> bool:
        """Does a move with this policy make such writes?"""
        return self.update or (rows != "existing" and (self.insert or self.delete))


def read_effects(conn: Connection, table: int) -> tuple[Effect, ...]:
    """Of a table, by oid, and its partitions. Triggers that ask in WHEN whether it is the service that writes are
    left out."""
    return tuple(Effect(*row) for row in conn.execute(load("catalog/effects"), {"table": table}).fetchall())


def check_effects(it: Understood) -> Iterator[Finding]:
    """Nothing of it is wrong in itself, but for rules; that it happens has to be known."""
    told: dict[str, Callable[[Understood, Effect], tuple[Severity, str, str, str]]] = {
        "before": _before, "after": _after, "from": _from, "into": _into, "rule": _rule,
    }  # fmt: skip
    for effect in it.effects:
        # What is cascaded into a source of the move comes in the stream: it is the truth of `existing`.
        if effect.upon(it.spec.rows) if effect.kind != "into" else it.spec.rows != "existing":
            severity, code, message, cure = told[effect.kind](it, effect)
            yield Finding(severity, code, message, file=it.file, line=it.spec.line("target"), cure=cure)


_WHEN = "or exempt the service: CREATE TRIGGER … WHEN (current_setting('application_name') NOT LIKE 'cutover %')"


def _before(it: Understood, effect: Effect) -> tuple[Severity, str, str, str]:
    message = (
        f"the trigger {effect.name} of {effect.table} runs before the service's writes: a value that {effect.function}"
        " changes stays another than the mapping's, and reconcile calls that drift"
    )
    return "warn", "target-trigger", message, f"let the mapping say what the trigger does, {_WHEN}"


def _after(it: Understood, effect: Effect) -> tuple[Severity, str, str, str]:
    message = (
        f"the trigger {effect.name} of {effect.table} runs after the service's writes: what {effect.function} writes to"
        f" sources is streamed, what it writes to {it.spec.target} is not. One that gives a mapped column another value"
        " each time would be answered for ever: after twenty times its keys become dead letters"
    )
    return "warn", "target-trigger", message, f"make sure of {effect.function}, {_WHEN}"


def _from(it: Understood, effect: Effect) -> tuple[Severity, str, str, str]:
    message = (
        f"when the service deletes a row of {it.spec.target}, {effect.name} deletes or changes rows of {effect.table}"
    )
    return "warn", "target-cascade", message, f"see that {effect.table} may lose them, or drop ON DELETE"


def _into(it: Understood, effect: Effect) -> tuple[Severity, str, str, str]:
    message = (
        f"a DELETE or UPDATE on {effect.table} deletes or changes rows of {it.spec.target} ({effect.name}), whatever"
        " the mapping says of them: drift, until their keys are touched"
    )
    cure = f"let the mapping read {effect.table}, or leave ON DELETE and ON UPDATE out until the move is completed"
    return "warn", "target-cascade", message, cure


def _rule(it: Understood, effect: Effect) -> tuple[Severity, str, str, str]:
    message = f"{effect.table} has the rewrite rule {effect.name}: PostgreSQL would not do what the service writes"
    return "block", "target-rule", message, f"DROP RULE {effect.name} ON {effect.table}, or make it a trigger"
