"""Every number of `status`, and a process's own counts, as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from cdc.replication import lsn_number
from cutover.health import Part, Seen, dead, unready
from cutover.status import MoveStatus, PartitionStatus, Status

_Number = float | int | bool | None
_Rows = Iterator[tuple[tuple[str, ...], _Number]]

# name -> (help, how to read it); a number that is not known now is left out, never 0.
_SLOT: Mapping[str, tuple[str, Callable[[Status], _Number]]] = {
    "slot_active": ("1: capture reads the slot", lambda it: it.slot.active),
    "slot_there": ("1: the slot exists", lambda it: it.slot.there),
    "slot_confirmed_lsn_bytes": ("Confirmed LSN of the slot, in bytes", lambda it: _lsn(it.slot.confirmed_lsn)),
    "slot_lag_bytes": ("WAL between the confirmed LSN and the end, kept for the slot", lambda it: it.slot.lag_bytes),
    "slot_safe_wal_bytes": ("WAL that may be written before the slot is lost", lambda it: it.slot.safe_wal_size),
    "gap": ("1: changes may be missing; cutover heal", lambda it: it.slot.gap is not None),
    "log_reachable": ("1: the log answers", lambda it: not it.problems),
}
_MOVE: Mapping[str, tuple[str, Callable[[MoveStatus], _Number]]] = {
    "consolidated_percent": ("Sessions that read the consolidated side, in percent", lambda it: it.percent),
    "halted": ("1: the move stands still until an operator decides", lambda it: it.halted is not None),
    "applied_lsn_bytes": ("LSN up to which the target is current, in bytes", lambda it: _lsn(it.applied_lsn)),
    "lag_seconds": ("How old the target is", lambda it: None if it.lag_ms is None else it.lag_ms / 1000),
    "lag_bytes": ("WAL that is not applied", lambda it: it.lag_bytes),
    "dead_letters": ("Keys that could not be applied", lambda it: it.dead_letters),
    "reconcile_match": (
        "1: the latest reconciliation of every key said match",
        lambda it: None if it.proof.verdict is None else it.proof.verdict == "match",
    ),
    "reconcile_finished_timestamp_seconds": (
        "When the latest reconciliation of every key ended",
        lambda it: it.proof.finished_at.timestamp() if it.proof.finished_at else None,
    ),
    "reconcile_compared_keys": ("Keys that it compared", lambda it: it.proof.compared),
    "reconcile_drift_keys": ("Keys that differ, by proof, and stand", lambda it: it.proof.drift),
    "reconcile_unproven_keys": ("Keys that differ and are not proven yet", lambda it: it.proof.unproven),
    "reconcile_pass_keys": (
        "Keys that the continuous pass has compared so far",
        lambda it: it.proof.running.keys if it.proof.running else None,
    ),
    "reconcile_pass_expected_keys": (
        "Keys that the continuous pass expects",
        lambda it: it.proof.running.total if it.proof.running else None,
    ),
    "backfill_done_keys": ("Keys touched by the backfill", lambda it: it.backfill.done),
    "backfill_expected_keys": ("Keys that the backfill expects", lambda it: it.backfill.total),
    "backfill_finished": ("1: every key has been touched", lambda it: it.backfill.finished),
}
_PARTITION: Mapping[str, tuple[str, Callable[[PartitionStatus], _Number]]] = {
    "partition_offset": ("The next log offset to apply", lambda it: it.offset),
    "partition_end_offset": ("The offset that the log's next record will get", lambda it: it.end_offset),
    "partition_applied_lsn_bytes": ("LSN up to which the partition is applied", lambda it: _lsn(it.applied_lsn)),
    "partition_applied_timestamp_seconds": (
        "Commit time of the newest change or watermark applied",
        lambda it: it.applied_time.timestamp() if it.applied_time else None,
    ),
    "partition_latency_seconds": (
        "From commit to applied, of the newest batch with changes",
        lambda it: None if it.latency_ms is None else it.latency_ms / 1000,
    ),
    "partition_leased": ("1: a consumer has the partition", lambda it: it.worker is not None),
}


class ServiceCollector(Collector):
    """Yields what `look` last saw; `counts` are the process's own, by name, each with its help."""

    def __init__(
        self, plan: str, part: Part, look: Callable[[], Seen], counts: Callable[[], Mapping[str, tuple[str, int]]]
    ) -> None:
        self._plan, self._part, self._look, self._counts = plan, part, look, counts

    def collect(self) -> Iterator[Metric]:
        seen = self._look()
        own = {"plan": self._plan, "part": self._part}
        yield _gauge("database_reachable", "1: PostgreSQL answers", own, seen.status is not None)
        yield _gauge("alive", "1: the process's loop turns", own, not dead(seen))
        yield _gauge("ready", "1: as /readyz says", own, not unready(self._part, seen))
        yield _gauge("idle_seconds", "Since the process's loop turned last", own, seen.idle)
        for name, (text, value) in self._counts().items():
            counter = CounterMetricFamily(f"cutover_{name}", text, labels=list(own))
            counter.add_metric(list(own.values()), value)
            yield counter
        if seen.status is not None:
            yield from _status(seen.status)


def registry(collector: ServiceCollector) -> CollectorRegistry:
    """A registry with these metrics alone."""
    found = CollectorRegistry(auto_describe=False)
    found.register(collector)
    return found


def _status(status: Status) -> Iterator[Metric]:
    for name, (text, of_plan) in _SLOT.items():
        yield _gauge(name, text, {"plan": status.plan}, of_plan(status))
    yield _family("move_info", "State and side of a move", ("plan", "move", "state", "side"), (
        ((status.plan, move.move, move.state, move.side), 1) for move in status.moves
    ))  # fmt: skip
    for name, (text, of_move) in _MOVE.items():
        yield _family(name, text, ("plan", "move"), (
            ((status.plan, move.move), of_move(move)) for move in status.moves
        ))  # fmt: skip
    for name, (text, of_partition) in _PARTITION.items():
        yield _family(name, text, ("plan", "move", "partition"), (
            ((status.plan, move.move, str(each.partition)), of_partition(each))
            for move in status.moves for each in move.partitions
        ))  # fmt: skip


def _gauge(name: str, text: str, labels: Mapping[str, str], value: _Number) -> Metric:
    return _family(name, text, tuple(labels), iter([(tuple(labels.values()), value)]))


def _family(name: str, text: str, labels: tuple[str, ...], rows: _Rows) -> Metric:
    family = GaugeMetricFamily(f"cutover_{name}", text, labels=list(labels))
    for values, number in rows:
        if number is not None:
            family.add_metric(list(values), float(number))
    return family


def _lsn(text: str | None) -> int | None:
    return None if text is None else lsn_number(text)
