"""A live comparison on the report: each model in its colour with its interval, and what was decided."""

from __future__ import annotations

from typing import Any

import pytest
from experiment_sample import ARMS, experiment_records
from hypothesis import given
from hypothesis import strategies as st
from report_sample import BASE_MS, sample_records
from test_report_page import Page
from thalweg.jobs.report_charts import Line, clean, line_chart
from thalweg.jobs.report_data import ReportData
from thalweg.jobs.report_experiment import EXPERIMENT_SECTIONS
from thalweg.jobs.report_page import report_page


@pytest.fixture(scope="module")
def data() -> ReportData:
    found = ReportData()
    for kind, record in [*experiment_records(), *sample_records(6)]:
        found.add(kind, record)
    return found


@pytest.fixture(scope="module")
def text(data: ReportData) -> str:
    return report_page(data, "An experiment", BASE_MS)


def test_every_section_has_something_to_say(text: str, data: ReportData) -> None:
    titles = [title for level, title in Page(text).headings if level == "h3"]
    assert titles[: len(EXPERIMENT_SECTIONS)] != [title for title, _ in EXPERIMENT_SECTIONS], (
        "others come first by name"
    )
    assert [title for title in titles if title in dict(EXPERIMENT_SECTIONS)] == [
        title for title, _ in EXPERIMENT_SECTIONS
    ]
    assert set(data.experiments) == {"delay"}
    assert not data.models["delay"].series, "its metrics are those of its models"


def test_it_tells_what_a_person_asks_for(text: str) -> None:
    said = " ".join(Page(text).texts)
    assert "delay_v2 is the default." in said
    assert "promote delay_v2" in said
    assert "it broke <b>LogLoss</b>" in said, "and it stays text"
    assert "delay_v1 80, delay_v2 20" in said
    assert "LogLoss 0.45 (0.4062 to 0.4938), 4,700 events" in said
    assert "4 ms" in said
    assert "carrier=<b>UA" in said
    captions = [title for level, title in Page(text).headings if level == "caption"]
    for caption in (
        "LogLoss",
        "Traffic",
        "Difference",
        "Evidence",
        "latency_p99",
        "cost_p99",
        "Decisions, oldest first",
    ):
        assert caption in captions


def test_a_model_has_one_colour_in_all_charts_and_intervals_are_drawn(data: ReportData) -> None:
    made = [part for _, make in EXPERIMENT_SECTIONS for part in make("delay", data.experiments["delay"])]
    charts = [svg for part in made for svg in part.iter("svg")]
    assert len(charts) == 6
    seen: dict[str, set[str]] = {}
    for svg in charts:
        for node in svg.iter("polyline"):
            seen.setdefault(node.findtext("title") or "", set()).add(node.get("class", ""))
    assert set(seen) == set(map(clean, ARMS))
    assert all(len(classes) == 1 for classes in seen.values())
    assert len(set.union(*seen.values())) == len(ARMS)
    bands = sum(len(list(svg.iter("polygon"))) for svg in charts)
    assert bands == 3 + 2, "of the loss of three models, and the difference of two"


def test_decisions_of_a_model_about_itself_are_no_comparison() -> None:
    found = ReportData()
    record = next(record for kind, record in experiment_records() if kind == "decision")
    found.add("decision", {**record, "model": "fraud", "arm": "fraud", "decision": "retrain"})
    found.add("metric", next(record for kind, record in experiment_records(name="fraud") if kind == "metric"))
    assert not found.experiments
    assert found.models["fraud"].series


NAMES = st.text(st.characters(codec=None), min_size=1, max_size=12)
TIMES = st.integers(-(1 << 62), 1 << 62)


@given(NAMES, NAMES, NAMES, st.lists(st.tuples(TIMES, st.floats(-1e300, 1e300)), min_size=1, max_size=5))
def test_any_records_make_a_whole_page(arm: str, metric: str, action: str, points: list[tuple[int, float]]) -> None:
    found = ReportData()
    decision = {"model": "m", "decision": action, "arm": arm, "previous": "", "shares": {arm: 1.0}, "reason": metric,
                "decided_by": arm, "evidence": "{}", "event_time_ms": points[0][0]}  # fmt: skip
    found.add("decision", {**decision, "model": "m" if arm != "m" else "n"})
    for name in (metric, "share", "difference", "difference.lower", "difference.upper", "latency_p99"):
        for at_ms, value in points:
            figure: dict[str, Any] = {"model": "m", "model_version": arm, "metric": name, "window": "cumulative"}
            figure |= {"value": value, "count": 1, "window_start_ms": 0, "event_time_ms": at_ms, "slice": ""}
            found.add("metric", figure)
    Page(report_page(found, "t", 0))


@given(st.lists(st.tuples(TIMES, st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)), min_size=2, max_size=20))
def test_intervals_stay_within_their_frame(band: list[tuple[int, float, float]]) -> None:
    chart = line_chart("t", "d", [Line("a", [], band), Line("b", [(band[0][0], 0.0)])])
    for node in chart.iter("polygon"):
        for pair in (node.get("points") or "").split():
            x, y = map(float, pair.split(","))
            assert -0.5 <= x <= 720.5
            assert -0.5 <= y <= 240.5
