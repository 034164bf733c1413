"""Keys whose dead letters were discarded: their rows are accepted as they are, for as long as both sides stay so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg

from reconcile.chunk import Key
from reconcile.diff import Comparison
from reconcile.session import FAILS, SESSION, of_data
from reconcile.verdicts import Observation
from sql.connection import Connection
from sql.files import load
from sql.model import Move

SETTINGS = {name: value for name, value in SESSION.items() if name != "default_transaction_read_only"}


def accept_as_is(conn: Connection, move: Move, letters: Mapping[Key, int], reason: str) -> dict[Key, str]:
    """Keep the decision about these keys, with what both sides are now; `letters`: the number of each one's letter.

    In the transaction that is open. What changes while this runs is not what was accepted, and drift again. Returns
    the keys that cannot be accepted, since `reconcile` cannot compare them, with the reason.
    """
    comparison = Comparison(conn, move)
    refused: dict[Key, str] = {}
    for key, now in _observed(comparison, list(letters), refused).items():
        if now.state == "duplicate":
            refused[key] = "one side has several rows with this key"
            continue
        decision = {
            "plan": move.plan, "move": move.name, "key": list(key), "decision": "consolidated", "legacy": now.legacy,
            "consolidated": now.consolidated, "review": None, "dead_letter": letters[key], "reason": reason,
        }  # fmt: skip
        conn.execute(load("reconcile/accept").encode(), decision)
    return refused


def _observed(comparison: Comparison, keys: Sequence[Key], refused: dict[Key, str]) -> dict[Key, Observation]:
    """Both sides of the keys; those for which the mapping fails are found by halves, and refused."""
    if not keys:
        return {}
    try:
        with comparison.conn.transaction():
            return comparison.observed(keys)
    except psycopg.Error as error:
        if not of_data(error):
            raise
    if len(keys) == 1:
        refused[keys[0]] = FAILS
        return {}
    middle = len(keys) // 2
    return _observed(comparison, keys[:middle], refused) | _observed(comparison, keys[middle:], refused)
