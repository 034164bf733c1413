"""A repair is on record before it touches anything, with every key, whatever becomes of the touches."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc.log import open_log
from reconcile.repair import repair
from sql.errors import CutoverError
from tests.integration.arena import MOVE, arena

LEGACY = """
CREATE SCHEMA old; CREATE SCHEMA new;
CREATE TABLE old.a (id int PRIMARY KEY, name text);
CREATE TABLE new.t (id int PRIMARY KEY, name text);
"""


@pytest.mark.parametrize("server", ["pg18"], indirect=True)
def test_the_record_comes_before_the_touches_and_names_every_key(dsn: str, tmp_path: Path) -> None:
    keys = [(str(number),) for number in range(25_000)]
    log = open_log(f"sqlite:///{tmp_path / 'log.db'}")  # the move's topic is not in it: no touch can be taken
    try:
        with arena(dsn, LEGACY, "SELECT a.id, a.name FROM old.a") as it:
            with pytest.raises(CutoverError):
                repair(dsn, it.plan, log, {MOVE: keys})
            details = [row[0] for row in it.run("SELECT detail FROM cutover.event WHERE what = 'repair' ORDER BY id")]
    finally:
        log.close()
    assert [(it["keys"], it["part"], it["parts"]) for it in details] == [(25_000, part, 3) for part in (1, 2, 3)]
    assert [tuple(key) for it in details for key in it["named"]] == keys
