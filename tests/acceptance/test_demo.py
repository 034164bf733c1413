"""`cutover demo`: it proves what it claims, on both logs and under fire, and it fails when there is something to find."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.acceptance.command import Cli
from tests.services.kafka import KafkaServer
from tests.services.postgres import PostgresServer
from tests.services.topics import topics_of

SECONDS = 240.0  # for one demo, on a busy machine
ON_15 = pytest.mark.parametrize("server", ["pg15"], indirect=True)


def told(cli: Cli, *arguments: str, rows: int = 2_000, code: int = 0) -> Any:
    """The document of a demo, which ended with this exit code."""
    return cli.run(
        "demo", "--rows", str(rows), "--seconds", "2", *arguments, "--json", code=code, seconds=SECONDS
    ).document


def check_proven(document: Any) -> None:
    assert document["exit_code"] == 0
    assert all(claim["holds"] for claim in document["claims"])
    assert document["writes"]["transactions"] > 1_000
    assert document["writes"]["lost"] == 0
    assert document["writes"]["failed"] == {}
    assert document["lag_ms"]["samples"] > 0
    assert [(flip["move"], flip["percent"]) for flip in document["flips"]] == [
        (move, percent) for percent in (50, 100, 0, 100) for move in ("stock", "order")
    ]
    assert {(each["when"], each["verdict"]) for each in document["reconciled"]} == {
        ("under load", "match"),
        ("in the end", "match"),
    }
    assert all(each["compared"] > 0 for each in document["reconciled"])
    assert document["keys"] == []


def test_it_proves_its_claims_on_a_throwaway_postgresql(bare: Cli) -> None:
    document = told(bare)
    check_proven(document)
    assert document["server"].startswith("throwaway PostgreSQL")
    assert document["log"].startswith("sqlite:")
    assert not any(bare.folder.iterdir()), "it left something in the current folder"


@ON_15
def test_it_proves_them_on_kafka_while_consumers_are_killed(
    bare: Cli, server: PostgresServer, kafka: KafkaServer
) -> None:
    """And leaves neither a database nor a slot nor a role nor a topic where it was a guest."""
    document = told(bare, "--chaos", "--dsn", server.dsn, "--log", kafka.address)
    check_proven(document)
    assert document["kills"] > 0
    with psycopg.connect(server.dsn) as conn:
        left = "SELECT datname FROM pg_database WHERE datname ~ %(plan)s UNION ALL"
        left += " SELECT slot_name FROM pg_replication_slots WHERE slot_name ~ %(plan)s UNION ALL"
        left += " SELECT rolname FROM pg_roles WHERE rolname ~ %(plan)s"
        assert conn.execute(left, {"plan": document["plan"]}).fetchall() == []
    assert topics_of(kafka, document["plan"]) == []


def test_a_write_that_the_stream_loses_is_found_and_named(bare: Cli) -> None:
    document = told(bare, "--plant", "loss", rows=1_000, code=4)
    key = document["planted"]["key"]
    assert document["planted"]["fault"] == "loss"
    (number,) = set(document["keys"]) - {key}  # the ledger knows the sale by its id, the proof by its order's number
    assert {cell["key"] for cell in document["wrong"]} == {key}
    assert document["writes"]["lost"] == 1
    verdicts = {(each["when"], each["move"]): each["verdict"] for each in document["reconciled"]}
    assert verdicts["under load", "order"] == "match"
    assert verdicts["in the end", "order"] == "drift"
    assert [each["keys"] for each in document["reconciled"] if each["verdict"] == "drift"] == [[number]]
    assert {claim["claim"]: claim["holds"] for claim in document["claims"]}["the planted loss is found"]


def test_a_value_that_drifts_is_found_and_named_to_people(bare: Cli) -> None:
    ran = bare.run("demo", "--rows", "500", "--seconds", "1", "--plant", "drift", code=4, seconds=SECONDS)
    lines = ran.out.splitlines()
    planted = next(line for line in lines if "the planted drift is found" in line)
    assert planted.startswith("proven")
    key = planted.split()[-1]
    assert any(line.startswith(f"stock {key}: ") for line in lines)
    assert any(line.startswith("FAILED") and "both sides are equal in the end" in line for line in lines)


def test_a_plan_without_a_workload_is_a_usage_error(bare: Cli) -> None:
    folder = bare.folder / "plan"
    folder.mkdir()
    (folder / "plan.toml").write_text("")
    ran = bare.run("demo", "--plan", str(folder), code=2)
    assert "no workload" in ran.said
