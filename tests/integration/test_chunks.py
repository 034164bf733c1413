"""How a comparison of much is cut (R7)."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconcile.run import reconcile
from tests.integration.rig import shop


@pytest.mark.parametrize("server", ["pg18"], indirect=True)
@pytest.mark.parametrize("log_address", ["sqlite"], indirect=True)
def test_r7_rows_of_others_do_not_shrink_the_chunks(dsn: str, plan_name: str, log_address: str, tmp_path: Path) -> None:
    """A target of which one row in a hundred is the move's own: chunks are as large as their time allows."""
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        rig.conn.execute(
            'INSERT INTO shop."order" (ref, total)'
            " SELECT 'o' || lpad(n::text, 6, '0'), 1 FROM generate_series(1, 30000) n"
        )
        rig.conn.execute(
            "INSERT INTO shop.payment (ref, amount)"
            " SELECT 'o' || lpad((n * 100)::text, 6, '0') || 'x', 1 FROM generate_series(1, 300) n"
        )
        rig.conn.execute("ANALYZE")
        rig.capture()
        rig.consume()
        rig.backfill("ledger")
        rig.drain()
        (move,) = reconcile(dsn, rig.plan, ["ledger"], side_by_side=1).moves
        assert move.verdict == "match"
        assert move.chunks.done < 50
