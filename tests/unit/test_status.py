"""Status: what counts as lag."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cutover.show_status import _proof_line, bytes_text
from cutover.status import BackfillStatus, MoveStatus, PartitionStatus, ProofStatus, lag_ms

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def partition(offset: int, end: int | None, seconds_old: float | None) -> PartitionStatus:
    return PartitionStatus(
        partition=0,
        offset=offset,
        end_offset=end,
        applied_lsn="0/0",
        applied_time=None if seconds_old is None else NOW - timedelta(seconds=seconds_old),
        latency_ms=None,
        worker=None,
    )


@pytest.mark.parametrize(
    ("partitions", "captured", "expected"),
    [
        ([partition(5, 5, 1.0), partition(9, 9, 0.5)], True, 0.0),
        ([partition(5, 5, 1.0), partition(8, 9, 2.5)], True, 2500.0),  # the slowest partition decides (R2)
        ([partition(5, 5, 60.0)], True, 60_000.0),  # no watermark for a minute: capture has stalled
        ([partition(5, 5, 1.0)], False, 1000.0),  # nobody captures: the end of the log is not the end of the WAL
        ([partition(5, None, 1.0)], True, 1000.0),  # the log does not answer
        ([partition(0, 0, None)], True, None),
        ([], True, None),
    ],
)
def test_lag(partitions: list[PartitionStatus], captured: bool, expected: float | None) -> None:
    assert lag_ms(partitions, NOW, captured=captured) == expected


@pytest.mark.parametrize(("count", "text"), [(None, "?"), (999, "999 B"), (1500, "1.5 kB"), (2.5e12, "2.5 TB")])
def test_bytes_for_people(count: int | None, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("done", "total", "said"),
    [
        (20_000, 60_000, "20,000 of about 60,000"),
        (60_000, 60_000, "60,000, and more to come"),
        (0, 0, "0, and more to come"),
    ],
)
def test_a_backfill_that_goes_on_does_not_say_that_it_has_touched_all(done: int, total: int, said: str) -> None:
    assert BackfillStatus(done=done, total=total, started=True, finished=False, again=None).so_far == said


@pytest.mark.parametrize(("unproven", "said"), [(1, "; 1 is not proven"), (2000, "; 2,000 are not proven")])
def test_keys_that_are_not_proven_are_counted_in_the_singular_where_there_is_one(unproven: int, said: str) -> None:
    proof = ProofStatus(
        verdict="lag", started_at=NOW, finished_at=NOW, compared=3000, drift=0, unproven=unproven, running=None
    )
    assert _proof_line(MoveStatus.model_construct(move="m", proof=proof), NOW).plain.endswith(said)
