"""What is in deploy/ would be taken: by systemd, by Kubernetes' schemas, by Prometheus; and it speaks of what there is."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import kubernetes_validate
import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from setuptools import find_packages

from cdc.capture import Capture
from cdc.log import Log
from consumers.worker import Worker
from cutover.cli import GROUPS, load
from cutover.commands.stream import captured, consumed
from cutover.health import Seen
from cutover.metrics import ServiceCollector
from sql.model import Plan
from tests.unit.test_health import status

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
RULES = DEPLOY / "prometheus" / "cutover.rules.yml"
MANIFESTS = [each for each in yaml.safe_load_all((DEPLOY / "kubernetes" / "cutover.yaml").read_text()) if each]
DASHBOARD = json.loads((DEPLOY / "grafana" / "cutover.json").read_text())
NO_LOG = cast(Log, None)  # nothing runs here
_METRIC = re.compile(r"\bcutover_\w+")


def metrics() -> set[str]:
    """The names of every series that some part may show."""
    capture, consume = Capture("", Plan("p", "", ()), NO_LOG), Worker("", Plan("p", "", ()), NO_LOG)
    counts = {**captured(capture), **consumed(consume)}
    collector = ServiceCollector("p", "run", lambda: Seen(status(), None, 0, 0), lambda: dict.fromkeys(counts, ("", 1)))
    return {sample.name for family in collector.collect() for sample in family.samples}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def commands() -> Iterator[list[str]]:
    """Every call of the command line that is written there."""
    for unit in UNITS:
        yield re.search(r"^ExecStart=\S+/cutover (.*)$", unit.read_text(), re.MULTILINE)[1].split()  # type: ignore[index]
    for each in MANIFESTS:
        if each["kind"] == "Deployment":
            yield each["spec"]["template"]["spec"]["containers"][0]["args"]


def known_commands() -> dict[str, Any]:
    """Every command of the command line, by name."""
    return {name: command for group in GROUPS for name, command in load(group).items()}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_are_what_systemd_takes(unit: Path, tmp_path: Path) -> None:
    parsed = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parsed.optionxform = str  # type: ignore[assignment]
    parsed.read_string(unit.read_text())
    assert parsed.sections() == ["Unit", "Service", "Install"]
    assert parsed["Service"]["Restart"] == "always"
    if shutil.which("systemd-analyze"):
        copy = tmp_path / unit.name
        copy.write_text(unit.read_text().replace("/opt/cutover/bin/cutover", sys.executable))
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True)
        complaints = [line for line in done.stderr.splitlines() if unit.name in line]
        assert complaints == []


def test_manifests_meet_the_schemas_of_kubernetes() -> None:
    kinds = [each["kind"] for each in MANIFESTS]
    names = {each["metadata"]["name"] for each in MANIFESTS if each["kind"] == "Deployment"}
    assert kinds.count("Deployment") == 4
    assert names == {"capture", "consume", "refresh", "prove"}
    assert {unit.stem.removeprefix("cutover-").rstrip("@") for unit in UNITS} == names
    for each in MANIFESTS:
        kubernetes_validate.validate(each, "1.31", strict=True)


def test_a_wrong_manifest_is_refused() -> None:
    wrong = json.loads(json.dumps(next(each for each in MANIFESTS if each["kind"] == "Deployment")))
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.31", strict=True)


def test_probes_and_ports_are_the_ones_that_are_served() -> None:
    for each in (each for each in MANIFESTS if each["kind"] == "Deployment"):
        pod = each["spec"]["template"]
        (container,) = pod["spec"]["containers"]
        (port,) = container["ports"]
        environment = {one["name"]: one.get("value") for one in container["env"]}
        assert environment["CUTOVER_METRICS_PORT"] == f"0.0.0.0:{port['containerPort']}"
        assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(port["containerPort"])
        assert {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe")} == {"/healthz"}
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_commands_are_the_ones_that_there_are() -> None:
    known = known_commands()
    for arguments in commands():
        options = {option for parameter in known[arguments[0]].params for option in parameter.opts}
        assert {word for word in arguments if word.startswith("--")} <= options


def test_rules_parse_and_speak_of_metrics_that_there_are() -> None:
    known = metrics()
    for rule in rules():
        promql_parser.parse(rule["expr"])
        assert set(_METRIC.findall(rule["expr"])) <= known, rule["alert"]
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
    if promtool := shutil.which("promtool"):
        done = subprocess.run([promtool, "check", "rules", str(RULES)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_its_section_and_each_section_its_alert() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    sections = re.findall(r"^## (\w+)$", runbook, re.MULTILINE)
    assert sorted(rule["alert"] for rule in rules()) == sorted(sections)
    for rule in rules():
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
    for section in re.split(r"^## ", runbook, flags=re.MULTILINE)[1:]:
        assert re.search(r"^    \S", section, re.MULTILINE), f"no command in {section.splitlines()[0]}"


def test_the_runbook_names_commands_that_there_are() -> None:
    known = known_commands()
    named = re.findall(r"\bcutover ([a-z][a-z-]+)", (ROOT / "docs" / "runbook.md").read_text())
    assert set(named) <= set(known)


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    known, seen = metrics(), set()
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in panels:
        for target in panel["targets"]:
            promql_parser.parse(target["expr"].replace("$plan", ".*"))
            seen |= set(_METRIC.findall(target["expr"]))
        assert panel["datasource"]["uid"] == "${datasource}"
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    assert seen <= known
    assert {"cutover_gap", "cutover_halted", "cutover_lag_seconds", "cutover_dead_letters"} <= seen


def not_in_the_schema(given: Any, understood: Any, where: str = "") -> Iterator[str]:
    """The places of a document that Grafana's own types did not take up: they know no such field there."""
    if isinstance(given, dict) and isinstance(understood, dict):
        for name, value in given.items():
            place = f"{where}.{name}"
            yield from not_in_the_schema(value, understood[name], place) if name in understood else (place,)
    elif isinstance(given, list) and isinstance(understood, list) and len(given) == len(understood):
        for number, (value, taken) in enumerate(zip(given, understood, strict=True)):
            yield from not_in_the_schema(value, taken, f"{where}[{number}]")
    elif given != understood:
        yield where


def as_grafana_reads_it(dashboard: Any) -> Any:
    """Through the types that Grafana generates from its schemas, of panels and queries too, and back."""
    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))


def test_the_dashboard_has_only_fields_that_grafanas_schemas_know() -> None:
    assert list(not_in_the_schema(DASHBOARD, as_grafana_reads_it(DASHBOARD))) == []


@pytest.mark.parametrize("part", ["options", "fieldConfig", "targets", "gridPos"])
def test_a_misspelt_field_of_a_panel_is_noticed(part: str) -> None:
    wrong = json.loads(json.dumps(DASHBOARD))
    found = next(panel for panel in wrong["panels"] if panel["type"] == "stat")[part]
    (found[0] if isinstance(found, list) else found)["colourMood"] = 1
    assert [place.split(".")[-1] for place in not_in_the_schema(wrong, as_grafana_reads_it(wrong))] == ["colourMood"]


def test_the_package_leaves_deploy_out() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    found = find_packages(str(ROOT), include=settings["include"])
    assert "cutover" in found
    assert not any(name.split(".")[0] in ("deploy", "tests", "bench", "docs") for name in found)
