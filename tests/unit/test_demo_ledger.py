"""The demo's ledger and figures: what counts as acknowledged, and what the numbers mean."""

from __future__ import annotations

import random

import orjson
import pytest

from cutover.demo.ledger import Effect, Ledger
from cutover.demo.report import longest_ms, percentile
from cutover.demo.writer import Keys, Timeline


def test_the_last_acknowledged_image_of_a_row_counts() -> None:
    ledger = Ledger()
    ledger.open([Effect("price", "1", '{"amount": 1.50}')])
    ledger.acknowledge(
        {"item": {"a"}}, [Effect("price", "1", '{"amount": 2.50}'), Effect("price", "1", '{"amount": 3.50}')], 2
    )
    assert ledger.rows == {("price", "1"): '{"amount": 3.50}'}
    assert ledger.former == [("price", "1", '{"amount": 1.50}'), ("price", "1", '{"amount": 2.50}')]
    assert (ledger.transactions, ledger.writes, ledger.touched) == (1, 2, {"item": {"a"}})


def test_a_deleted_row_is_only_remembered_as_a_former_one() -> None:
    ledger = Ledger()
    ledger.acknowledge({}, [Effect("price", "1", "{}"), Effect("price", "1", "{}", gone=True)], 2)
    assert ledger.rows == {}
    assert ledger.former == [("price", "1", "{}")]


def test_digits_reach_the_verifying_statement_as_postgresql_printed_them() -> None:
    ledger = Ledger()
    image = '{"amount": 12345678901234567890.10, "text": "ä\\u0001"}'
    ledger.acknowledge({"item": {"a"}}, [Effect("price", "1", image), Effect("other", "2", "{}")], 2)
    moved = Ledger.of(orjson.loads(orjson.dumps(ledger.document())))
    assert moved == ledger
    assert moved.present(["price"]) == f'[{{"kind":"price","id":"1","row":{image}}}]'
    assert moved.formerly(["price"]) == "[]"


def test_ledgers_of_two_writers_add_up() -> None:
    one, two = Ledger(), Ledger()
    one.acknowledge({"item": {"a"}}, [Effect("price", "1", "{}")], 1)
    two.acknowledge({"item": {"b"}, "sale": {"c"}}, [Effect("price", "2", "{}")], 3)
    one.merge(two)
    assert sorted(one.rows) == [("price", "1"), ("price", "2")]
    assert one.touched == {"item": {"a", "b"}, "sale": {"c"}}
    assert (one.transactions, one.writes) == (2, 4)


def test_keys_come_and_go_and_two_are_never_the_same() -> None:
    keys = Keys(["a", "b", "c"], random.Random(1))
    keys.remove("a")
    keys.remove("a")
    keys.add("d")
    keys.add("d")
    assert sorted(keys.all()) == ["b", "c", "d"]
    drawn = [keys.two() for _ in range(300)]
    assert {first for first, _ in drawn} == {second for _, second in drawn} == {"b", "c", "d"}
    assert all(first != second for first, second in drawn)
    keys.remove("d")
    keys.remove("c")
    assert keys.all() == ["b"]


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 2.0), (0.99, 4.0), (0.25, 1.0), (1.0, 4.0)], ids=["p50", "p99", "p25", "all"]
)
def test_a_percentile_is_a_measured_value(share: float, expected: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == expected


def test_no_percentile_of_nothing() -> None:
    assert percentile([], 0.5) is None


def test_the_longest_wait_is_of_what_was_in_flight_around_the_flip() -> None:
    timeline = Timeline(begun=[0.0, 9.0, 10.1, 12.0], took=[5.0, 0.8, 0.3, 4.0])
    assert longest_ms(timeline, 10.0, 10.2) == 800.0
    assert longest_ms(timeline, 12.1, 12.2) == 4000.0
    assert longest_ms(timeline, 20.0, 20.1) == 0.0
