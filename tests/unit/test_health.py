"""Well, ready, stuck: judged from what a process last saw; and every number of `status` is a metric."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cutover.health import STUCK_DEAD, STUCK_READY, Part, Seen, dead, unready
from cutover.serve_metrics import Pages, parse_listen
from cutover.status import (
    BackfillStatus,
    MoveStatus,
    PartitionStatus,
    PassStatus,
    ProofStatus,
    SlotStatus,
    Status,
)
from sql.errors import UsageError

APPLIED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def status(**changes: Any) -> Status:
    """Every number in it is another one."""
    partition = PartitionStatus(
        partition=3, offset=101, end_offset=103, applied_lsn="0/1F", applied_time=APPLIED, latency_ms=107.0, worker="w:1"
    )  # fmt: skip
    slot = SlotStatus(
        name="s", active=True, confirmed_lsn="1/2B", lag_bytes=109, gap=None, there=True, holder="c",
        wal_status="reserved", safe_wal_size=113,
    )  # fmt: skip
    running = PassStatus(started_at=APPLIED, at=APPLIED, keys=163, total=167)
    proof = ProofStatus(
        verdict="match", started_at=APPLIED, finished_at=APPLIED, compared=181, drift=173, unproven=179, running=running
    )
    move = MoveStatus(
        move="m", state="streaming", side="legacy", percent=7, halted=None, facade_lost=None, applied_lsn="0/3D", lag_ms=127_000.0,
        lag_bytes=131, partitions=[partition], dead_letters=137,
        backfill=BackfillStatus(done=139, total=149, started=True, finished=False, again=None), proof=proof,
    )  # fmt: skip
    known = {"plan": "p", "log": "l", "slot": slot, "moves": [move], "problems": [], "now": APPLIED}
    return Status(**{**known, **changes})


def seen(**changes: Any) -> Seen:
    return replace(Seen(status(), None, age=1.0, idle=1.0), **changes)


def ask(path: str, part: Part, what: Seen) -> tuple[str, str]:
    """The status line and the body of a page."""
    said: list[str] = []
    pages = Pages("p", part, lambda: what, lambda: {"consume_keys": ("Keys", 151)})
    body = b"".join(pages({"PATH_INFO": path, "REQUEST_METHOD": "GET"}, lambda line, headers: said.append(line)))
    return said[0], body.decode()


def test_a_process_that_does_its_work_is_ready() -> None:
    for part in ("capture", "consume", "refresh", "prove", "run"):
        assert unready(part, seen()) == []
        assert ask("/readyz", part, seen()) == ("200 OK", "ok\n")
    assert dead(seen()) == []


def gap() -> Status:
    return status(slot=status().slot.model_copy(update={"gap": "the slot was re-created"}))


def idle_slot() -> Status:
    return status(slot=status().slot.model_copy(update={"active": False}))


def halted(**more: Any) -> Status:
    return status(moves=[status().moves[0].model_copy(update={"halted": "t was truncated", **more})])


def orphaned() -> Status:
    move = status().moves[0]
    return status(
        moves=[move.model_copy(update={"partitions": [move.partitions[0].model_copy(update={"worker": None})]})]
    )


@pytest.mark.parametrize(
    ("part", "what", "why"),
    [
        ("consume", seen(status=gap()), "there is a gap: the slot was re-created"),
        ("capture", seen(status=gap()), "there is a gap"),
        ("consume", seen(status=halted()), "m is halted: t was truncated"),
        ("refresh", seen(status=halted()), "m is halted"),
        ("capture", seen(status=idle_slot()), "nobody reads the slot s"),
        ("consume", seen(status=orphaned()), "nobody consumes partition 3 of m"),
        ("consume", seen(status=status(problems=["the log does not answer"])), "the log does not answer"),
        ("consume", seen(status=None, error="PostgreSQL does not answer"), "PostgreSQL does not answer"),
        ("consume", seen(status=None, error=None), "not asked yet"),
        ("consume", seen(age=31.0), "31 s old"),
        ("capture", seen(idle=STUCK_READY + 1), "loop has not turned for 31 s"),
        ("run", seen(fallen=("consume-1",)), "consume-1 is not running"),
    ],
)
def test_a_process_that_runs_and_does_not_work_is_not_ready(part: Part, what: Seen, why: str) -> None:
    line, body = ask("/readyz", part, what)
    assert line == "503 Service Unavailable"
    assert why in body
    assert ask("/healthz", part, what)[0] == "200 OK", "starting it again would mend nothing"
    assert ask("/metrics", part, what)[0] == "200 OK"


def test_each_part_answers_for_its_own_work() -> None:
    assert unready("consume", seen(status=idle_slot())) == []
    assert unready("capture", seen(status=orphaned())) == []
    assert unready("consume", seen(status=halted(state="completed"))) == []


def test_a_loop_that_does_not_turn_is_dead_in_the_end() -> None:
    assert ask("/healthz", "consume", seen(idle=STUCK_DEAD + 1))[0] == "503 Service Unavailable"


def test_every_number_of_status_is_a_metric() -> None:
    """A field that is added to the document and forgotten here has a value that no metric shows."""
    text = ask("/metrics", "consume", seen())[1]
    values = {sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
    labels = {
        value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        for value in sample.labels.values()
    }
    for path, number in numbers(status().model_dump()):
        scaled = number / 1000 if path.endswith("_ms") else number
        assert scaled in values or str(number) in labels, path
    for lsn in (0x1F, 0x1_0000_002B, 0x3D, APPLIED.timestamp(), 151):
        assert lsn in values
    assert {"streaming", "legacy", "m", "p"} <= labels


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from numbers(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def test_what_is_not_known_is_left_out_and_never_zero() -> None:
    move = status().moves[0].model_copy(update={"lag_ms": None, "lag_bytes": None})
    text = ask("/metrics", "consume", seen(status=status(moves=[move])))[1]
    assert "cutover_lag_seconds{" not in text
    assert 'cutover_dead_letters{move="m",plan="p"} 137.0' in text
    text = ask("/metrics", "consume", seen(status=None, error="away"))[1]
    assert 'cutover_database_reachable{part="consume",plan="p"} 0.0' in text
    assert "cutover_gap{" not in text


def test_where_to_listen() -> None:
    assert parse_listen("9464") == ("127.0.0.1", 9464)
    assert parse_listen("0.0.0.0:9464") == ("0.0.0.0", 9464)
    assert parse_listen("[::]:9464") == ("::", 9464)
    for wrong in ("", "x", "1:x", "70000"):
        with pytest.raises(UsageError):
            parse_listen(wrong)
