"""Hold the ledger against the consolidated tables."""

from __future__ import annotations

from dataclasses import dataclass

from cutover.demo.ledger import Ledger
from cutover.demo.workload import Workload
from sql.connection import connect


@dataclass(frozen=True, slots=True)
class Wrong:
    """One cell of the consolidated table that is not what its only writer was told is committed. None is NULL."""

    move: str
    key: str
    column: str
    expected: str | None
    found: str | None


def check_ledger(dsn: str, workload: Workload, ledger: Ledger) -> list[Wrong]:
    """Every cell that contradicts the ledger, over all keys that were written.

    The statements are the workload's, not the plan's: neither the mapping nor converge has a part in it.
    """
    wrong: list[Wrong] = []
    with connect(dsn, "demo check") as conn:
        for pool in workload.pools.values():
            values = {
                "keys": sorted(ledger.touched.get(pool.name, ())),
                "rows": ledger.present(pool.kinds),
                "former": ledger.formerly(pool.kinds),
            }
            for key, column, expected, found in conn.execute(pool.verify.encode(), values).fetchall():
                wrong.append(Wrong(pool.move, str(key), column, expected, found))
    return wrong
