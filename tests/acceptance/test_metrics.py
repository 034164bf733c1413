"""`--metrics-port`: what a scrape gets from running processes, and a /readyz that does not stay green."""

from __future__ import annotations

import json
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cutover.embedded import free_port
from tests.acceptance.command import Cli

DEPLOY = Path(__file__).parents[2] / "deploy"
ONE = pytest.mark.parametrize(("server", "log_address"), [("pg18", "sqlite")], indirect=True, ids=["pg18-sqlite"])


def get(port: int, path: str) -> tuple[int, str]:
    """The status and the body of a page."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def series(port: int) -> dict[tuple[str, str], float]:
    """Every sample by its name and its move or partition; the plan is the same for all."""
    found = {}
    for family in text_string_to_metric_families(get(port, "/metrics")[1]):
        for sample in family.samples:
            at = [sample.labels[name] for name in ("move", "partition") if name in sample.labels]
            found[sample.name, "/".join(at)] = sample.value
    return found


def names(port: int) -> set[str]:
    """The names of all series; of those without a value now, too."""
    families = list(text_string_to_metric_families(get(port, "/metrics")[1]))
    return {family.name for family in families} | {each.name for family in families for each in family.samples}


def until(reached: Callable[[], Any], seconds: float = 60) -> Any:
    """What it returns once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := _ask(reached)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def _ask(reached: Callable[[], Any]) -> Any:
    try:
        return reached()
    except urllib.error.URLError:  # not listening yet
        return None


def said(port: int, code: int, text: str = "") -> Callable[[], bool]:
    def reached() -> bool:
        found, body = get(port, "/readyz")
        return found == code and text in body

    return reached


@ONE
def test_a_scrape_shows_what_status_shows(tour: Cli) -> None:
    tour.run("prepare", "--set-identity")
    ports = {part: free_port() for part in ("capture", "consume", "prove")}
    with (
        tour.start("capture", "--metrics-port", str(ports["capture"])),
        tour.start("prove", "--metrics-port", str(ports["prove"])),
        tour.start("consume", CUTOVER_METRICS_PORT=f"127.0.0.1:{ports['consume']}"),
    ):
        for port in ports.values():
            until(said(port, 200))
            assert get(port, "/healthz") == (200, "ok\n")
            assert get(port, "/")[0] == 404
        tour.run("backfill")
        with psycopg.connect(tour.variables["CUTOVER_DSN"], autocommit=True) as conn:
            written = conn.execute('UPDATE "Lager"."Preis" SET "Betrag" = 3').rowcount
            assert written > 100
        tour.eventually("reconcile")
        until(lambda: series(ports["capture"])["cutover_capture_changes_total", ""] >= written)
        until(lambda: series(ports["consume"])["cutover_consume_rows_changed_total", ""] >= written)
        shown = until(
            lambda: (found := series(ports["consume"])).get(("cutover_backfill_finished", "product")) and found
        )
        status = tour.run("status", "--json").document
        (move,) = status["moves"]
        assert shown["cutover_backfill_done_keys", "product"] == move["backfill"]["done"] == 1000
        assert shown["cutover_dead_letters", "product"] == 0
        assert shown["cutover_slot_active", ""] == 1
        for each in move["partitions"]:
            at = f"product/{each['partition']}"
            assert 0 < shown["cutover_partition_offset", at] <= each["offset"]
            assert shown["cutover_partition_leased", at] == 1
        assert 'cutover_ready{part="prove",plan=' in get(ports["prove"], "/metrics")[1]
        # What the dashboard and the alerts ask for is shown by these processes, not only by the code that could.
        asked = {
            name
            for file in ("grafana/cutover.json", "prometheus/cutover.rules.yml")
            for name in re.findall(r"\bcutover_\w+", (DEPLOY / file).read_text())
        }
        assert len(asked) > 25
        assert asked <= set().union(*map(names, ports.values()))


@ONE
def test_ready_turns_red_when_a_sink_halts_behind_a_running_process(tour: Cli) -> None:
    """A6: the process lives on, is alive by /healthz, and /readyz says what is wrong; healed, it is green again."""
    tour.run("prepare", "--set-identity")
    port = free_port()
    with tour.start("run", "--metrics-port", str(port)) as service:
        until(said(port, 200))
        with psycopg.connect(tour.variables["CUTOVER_DSN"], autocommit=True) as conn:
            conn.execute('TRUNCATE "Lager"."Bestand"')
            until(said(port, 503, "product is halted"))
            assert get(port, "/healthz")[0] == 200
            assert series(port)["cutover_halted", "product"] == 1
            assert series(port)["cutover_ready", ""] == 0
            tour.run("heal", "product")
            until(said(port, 200))
            conn.execute("UPDATE cutover.plan SET gap = 'somebody dropped the slot'")
            until(said(port, 503, "there is a gap: somebody dropped the slot"))
            assert series(port)["cutover_gap", ""] == 1
        lines = [json.loads(line) for line in service.log.read_text().splitlines()]
        halt = next(line for line in lines if line.get("move") and "truncated" in line["message"])
        assert (halt["move"], halt["level"], halt["process"]) == ("product", "error", "capture")
        assert re.fullmatch(r"[0-9A-F]+/[0-9A-F]+", halt["lsn"])
        assert {"product": [0, 1, 2, 3]} in [line.get("partitions") for line in lines]
        service.stop()


@ONE
def test_where_it_cannot_listen_it_says_so(tour: Cli) -> None:
    tour.run("prepare", "--set-identity")
    assert "--metrics-port 9464" in tour.run("capture", "--metrics-port", "nonsense", code=2).said
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in tour.run("capture", "--metrics-port", str(port), code=2).said
