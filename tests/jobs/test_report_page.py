"""The page of ``thalweg report``: whole, safe whatever the topics hold, and the same for the same records.

How it looks is checked by a browser in ``python -m tests.bench report``.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_sample import BASE_MS, HOSTILE, sample_records
from thalweg.jobs.report_charts import Line, Mark, bar_chart, line_chart, square_chart
from thalweg.jobs.report_data import ReportData
from thalweg.jobs.report_page import report_page
from thalweg.jobs.report_sections import SECTIONS

VOID = {"meta"}
KNOWN = {
    "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "p", "nav", "ul", "li", "a", "section",
    "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "span", "details",
    "summary", "svg", "desc", "line", "polyline", "polygon", "circle", "rect", "text",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "class", "scope", "href", "id", "aria-label", "viewBox", "role",
    "style", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "points", "width", "height", "text-anchor",
}  # fmt: skip


class Page(HTMLParser):
    """Reads a page strictly: each element is closed in its turn, and only what a report needs is in it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.headings: list[tuple[str, str]] = []
        self.svgs: list[dict[str, str | None]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in KNOWN, tag
        for name, value in attrs:
            assert name in {known.lower() for known in ATTRIBUTES}, name
            assert name != "style" or re.fullmatch(r"max-width:\d+px", value or "")
            if name == "href":
                self.links.append(value or "")
            if name == "id":
                self.ids.append(value or "")
        if tag == "svg":
            self.svgs.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.open and self.open[-1] in ("h1", "h2", "h3", "caption"):
            self.headings.append((self.open[-1], data))


@pytest.fixture(scope="module")
def data() -> ReportData:
    found = ReportData()
    for kind, record in sample_records():
        found.add(kind, record)
    return found


@pytest.fixture(scope="module")
def text(data: ReportData) -> str:
    return report_page(data, "A week & more", BASE_MS)


def test_the_page_is_whole_and_loads_nothing(text: str) -> None:
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>\n<html lang=")
    assert len(set(page.ids)) == len(page.ids)
    assert page.links == [f"#{name}" for name in page.ids]
    assert "http" not in text.replace("http-equiv", "")
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_every_section_has_something_to_say_of_the_sample(text: str) -> None:
    page = Page(text)
    titles = [title for level, title in page.headings if level == "h3"]
    assert titles == [title for title, _ in SECTIONS] * 2


def test_charts_tell_those_who_do_not_see_them(text: str) -> None:
    page = Page(text)
    assert len(page.svgs) > 10
    for svg in page.svgs:
        assert svg["role"] == "img"
        assert svg["aria-label"]
    assert text.count("<svg") == text.count("<desc>") == text.count('role="img"')
    assert text.count("<table") == text.count("<caption>") == text.count("<thead>")


def test_what_topics_hold_stays_text(text: str) -> None:
    assert "<script" not in text
    assert "<b>DL" not in text
    assert "<i>" not in text
    assert text.count("</style>") == 1
    page = Page(text)
    shown = HOSTILE.replace("\x00", "\ufffd")
    assert ("h2", shown) in page.headings
    assert "carrier=<b>DL" in page.texts
    assert text.count("\x00") == 0


NAMES = st.text(st.characters(codec=None), min_size=1, max_size=12)


@given(NAMES, NAMES, NAMES, NAMES, st.floats(allow_nan=False, allow_infinity=False), st.integers(-(1 << 62), 1 << 62))
def test_any_record_makes_a_whole_page(
    model: str, metric: str, part: str, reason: str, value: float, at_ms: int
) -> None:
    data = ReportData()
    for window in ("rolling", "cumulative", "reference", part):
        for slice_ in ("", part):
            figure = {"model": model, "model_version": part, "metric": metric, "window": window, "value": value}
            data.add("metric", {**figure, "count": 1, "window_start_ms": 0, "event_time_ms": at_ms, "slice": slice_})
    alert = {"model": model, "alert": metric, "severity": part, "state": "raised", "value": value, "threshold": value}
    data.add("alert", {**alert, "count": 1, "event_time_ms": at_ms, "reason": reason})
    prediction = {"model": model, "model_version": part, "event_id": part, "event_time_ms": at_ms, "score": value}
    data.add("prediction", {**prediction, "label": "true", "status": "ok"})
    data.add("label", {"event_id": part, "label_time_ms": at_ms, "label": reason})
    Page(report_page(data, reason, 0))


def test_the_same_records_give_the_same_page(text: str) -> None:
    again = ReportData()
    for kind, record in sample_records():
        again.add(kind, record)
    assert report_page(again, "A week & more", BASE_MS) == text


def test_empty_topics_make_a_page_that_says_so() -> None:
    assert "nothing in the topics yet" in report_page(ReportData(), "t", 0)


def test_calibration_and_delays_are_those_of_the_labels(data: ReportData) -> None:
    model = data.models["fraud"]
    answered = 71 * 8
    assert len(model.judged) == 2 * answered
    assert model.labels == len(model.delays_ms) == 72 * 8
    assert model.statuses == {"not_ready": 8, "ok": answered}
    assert model.versions == [(BASE_MS, "1"), (BASE_MS + 30 * 3_600_000, "2</title>")]
    error = sum(true - said for said, true in zip(model.judged[::2], model.judged[1::2], strict=True)) / answered
    assert abs(error) < 0.06  # the sample is calibrated


def test_long_series_and_many_scores_stay_small() -> None:
    data = ReportData()
    figure = {"model": "m", "model_version": "", "metric": "MAE", "window": "rolling", "count": 1, "slice": ""}
    for at in range(20_000):
        data.add("metric", {**figure, "value": float(at), "window_start_ms": 0, "event_time_ms": at})
    points = data.models["m"].series["MAE", "rolling", ""]
    assert 2000 <= len(points) <= 4000
    assert points[0].at_ms == 0
    assert [point.at_ms for point in points] == sorted(point.at_ms for point in points)
    assert points[-1].at_ms > 19_980


@given(
    st.lists(st.tuples(st.integers(-(1 << 62), 1 << 62), st.floats(-1e300, 1e300)), min_size=1, max_size=30),
    st.lists(st.floats(0, 1e6), min_size=1, max_size=30),
)
def test_charts_stay_within_their_frame(points: list[tuple[float, float]], heights: list[float]) -> None:
    charts = [
        (line_chart("t", "d", [Line("a", points)], [Mark(0, "m", "alert")]), 720, 240),
        (bar_chart("t", "d", [(str(height), height) for height in heights]), 720, 240),
        (square_chart("t", "d", [(0.1, 0.9, 1.0), (0.5, 0.0, 0.0)]), 320, 320),
    ]
    for chart, width, height in charts:
        ElementTree.tostring(chart)
        for node in chart.iter():
            for name, limit in (
                ("x", width),
                ("cx", width),
                ("x1", width),
                ("y", height),
                ("cy", height),
                ("y1", height),
            ):
                assert -0.5 <= float(node.get(name, "0")) <= limit + 0.5, ElementTree.tostring(node)
            for pair in node.get("points", "").split():
                x, y = map(float, pair.split(","))
                assert -0.5 <= x <= width + 0.5
                assert -0.5 <= y <= height + 0.5


def test_a_mark_is_where_its_time_is() -> None:
    chart = line_chart(
        "t", "d", [Line("a", [(0, 0.0), (100, 1.0)])], [Mark(50, "half", "alert"), Mark(500, "far", "alert")]
    )
    marks: list[Any] = [node for node in chart if "mark" in node.get("class", "")]
    assert [mark.find("title").text for mark in marks] == ["1970-01-01 00:00: half"]
    assert float(marks[0].get("x1")) == pytest.approx((58 + 708) / 2)
