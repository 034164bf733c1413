"""A source is dropped under one of three moves: that one stands still, and the others go on without it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.acceptance.command import Cli
from tests.integration.rig import SCHEMA, Rig, shop
from tests.integration.test_gaps import write

ONE = pytest.mark.parametrize(("server", "log_address"), [("pg15", "sqlite")], indirect=True, ids=["pg15-sqlite"])
TABLE = next(line for line in SCHEMA.split(";") if '"Rabatt"' in line)


@ONE
def test_c10_a_dropped_source_halts_its_move_and_no_other(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        cli = Cli(tmp_path, {"CUTOVER_DSN": dsn, "CUTOVER_LOG": log_address, "CUTOVER_PLAN": str(rig.folder)})
        rig.conn.execute("""INSERT INTO "Lager"."Preis" SELECT 'DE', n::text, 'EUR', n FROM generate_series(1, 50) n""")
        with cli.start("run") as service:
            service.wait_for("capturing")
            write(rig, 1)
            cli.run("backfill")
            cli.eventually("reconcile")
            rig.conn.execute('DROP TABLE "Lager"."Rabatt" CASCADE')
            service.wait_for("is gone")
            go_on(rig, cli, 5)
            assert "Rabatt" in " ".join(only_broken(cli, "price"))
            assert service.stop() == 0
        with cli.start("run") as service:  # started while it is gone
            service.wait_for("capturing")
            go_on(rig, cli, 6)
            assert "price" in cli.run("reconcile", code=5).said
            assert "price" in cli.run("heal", code=5).said
            rig.conn.execute(TABLE.encode())
            cli.run("prepare", "--set-identity")
            cli.run("heal")
            cli.eventually("reconcile")
            cli.eventually("doctor")
        rig.plan = rig.compile()
        assert rig.differences() == {}


def only_broken(cli: Cli, move: str) -> list[str]:
    """What doctor says once nothing but this move is broken: consumers have taken their partitions again."""
    deadline = time.monotonic() + 60
    while True:
        problems = cli.run("doctor", "--json", code=5).document["problems"]
        if {each["move"] for each in problems if each["severity"] == "broken"} == {move}:
            return [each["what"] for each in problems]
        assert time.monotonic() < deadline, problems


def go_on(rig: Rig, cli: Cli, cost: int) -> None:
    """The other moves stream, are proven and flip."""
    write(rig, cost)
    cli.eventually("reconcile", "item", "ledger")
    assert rig.difference("item") == rig.difference("ledger") == []
    cli.eventually("flip", "item", "--to", "consolidated")
    cli.eventually("flip", "item", "--to", "legacy")


@ONE
def test_c10_a_dropped_target_halts_its_move_and_no_other(
    dsn: str, plan_name: str, log_address: str, tmp_path: Path
) -> None:
    with shop(dsn, plan_name, log_address, tmp_path) as rig:
        cli = Cli(tmp_path, {"CUTOVER_DSN": dsn, "CUTOVER_LOG": log_address, "CUTOVER_PLAN": str(rig.folder)})
        with cli.start("run") as service:
            service.wait_for("capturing")
            write(rig, 1)
            cli.run("backfill")
            cli.eventually("reconcile", "item", "ledger")
            rig.conn.execute('DROP TABLE "Lager"."select" CASCADE')
            rig.conn.execute("""INSERT INTO "Lager"."Preis" VALUES ('DE', '1', 'EUR', 1)""")
            service.wait_for("price halts")
            go_on(rig, cli, 5)
            only_broken(cli, "price")
