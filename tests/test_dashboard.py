"""The Grafana dashboard asks Prometheus for what the code tells it, and for all of it; the reporter is in the wheel."""

from __future__ import annotations

import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyflink
from thalweg.udfs.logic.telemetry import METRICS, prometheus_name

FILE = Path(__file__).parents[1] / "docker" / "grafana" / "thalweg.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ASKED = [target["expr"] for panel in PANELS for target in panel["targets"]]
ASKED += [variable["query"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]


def test_the_dashboard_asks_for_all_metrics_of_the_code_and_for_no_other() -> None:
    asked = set(re.findall(r"\bflink_\w+", " ".join(ASKED)))
    assert asked == {prometheus_name(name) for name in METRICS}


def test_labels_that_are_asked_for_exist() -> None:
    for expression in ASKED:
        names = [name for name in METRICS if re.search(rf"\b{prometheus_name(name)}\b", expression)]
        assert names, expression
        by = {label for part in re.findall(r"by \(([\w, ]+)\)", expression) for label in part.split(", ")}
        by |= set(re.findall(r"(\w+)=~", expression))
        assert all(by <= set(METRICS[name].labels) for name in names), expression


def test_counters_are_asked_for_as_rates_and_gauges_of_now_are_not() -> None:
    for expression in ASKED[:-1]:
        for name, metric in METRICS.items():
            inside = re.search(rf"(rate|increase)\({prometheus_name(name)}\b", expression)
            total = name.startswith("thalweg_labels_") and name != "thalweg_labels_pending"
            if inside:
                assert metric.kind == "counter" or total, expression


def test_panels_do_not_lie_over_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_wheel_of_flink_brings_the_reporter_of_its_version() -> None:
    (jar,) = Path(pyflink.__file__).parent.glob("plugins/metrics-prometheus/flink-metrics-prometheus-*.jar")
    assert jar.name == f"flink-metrics-prometheus-{version('apache-flink')}.jar"
