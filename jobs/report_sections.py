"""What a report says of one model, section by section; a section without anything to say is left out.

To add one: a function from the model's data to elements, and a line in ``SECTIONS``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from xml.etree.ElementTree import Element

from thalweg.jobs.report_charts import Line, Mark, bar_chart, figure_number, line_chart, moment, square_chart
from thalweg.jobs.report_data import ModelData, Point
from thalweg.jobs.report_elements import figure, paragraph, table

__all__ = ["SECTIONS", "summary_row"]

_FRESH = ("rolling", "fading", "cumulative")
_OLD = ("reference", "reservoir")
_BOOKS = re.compile(r"events|not_ready|labels_\w+|label-.*|worst\..*|baseline\..*|estimated-.*|drift")
_INPUT = re.compile(r"(psi|ks|null-rate|out-of-range|new-values)\(.*\)")
_LABELS = re.compile(r"label-delay-ms\.\w+|label-coverage")
_MOST_CHARTS = 24
_MOST_MARKS = 60
_MOST_ROWS = 200
_BINS = 20
_PARTS = 10
_SPANS_MS = (("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000))


def summary_row(name: str, data: ModelData) -> list[str]:
    """Return what the table of all models says of one: name, predictions, answered, labels, raised alerts, figures."""
    total = sum(data.statuses.values())
    books = data.metrics("cumulative")
    labels = books.get("labels_matched")
    figures = [f"{metric} {figure_number(points[-1].value)}" for metric, points in _own(data.metrics("rolling"))]
    raised = sum(alert["state"] != "cleared" for alert in data.alerts)
    return [
        name,
        "; ".join(figures[:4]),
        f"{total:,}",
        f"{data.statuses.get('ok', 0) / total:.1%}" if total else "",
        f"{labels[-1].value:,.0f}" if labels else "",
        str(raised),
    ]


def _own(series: dict[str, list[Point]]) -> list[tuple[str, list[Point]]]:
    """Return the metrics of the model itself: no books, no baselines, nothing of its input."""
    return [
        (name, points) for name, points in series.items() if not _BOOKS.fullmatch(name) and not _INPUT.fullmatch(name)
    ]


def _over_time(data: ModelData) -> list[Element]:
    by_window = {window: data.metrics(window) for window in _FRESH}
    names = dict.fromkeys(name for window in _FRESH for name, _ in _own(by_window[window]))
    charts = []
    for name in list(names)[:_MOST_CHARTS]:
        lines = [(window, by_window[window][name]) for window in _FRESH if name in by_window[window]]
        rolling = by_window["rolling"]
        lines += [
            (other, rolling[other]) for other in rolling if other.startswith("baseline.") and other.endswith(f".{name}")
        ]
        lines += [(other, rolling[other]) for other in (f"estimated-{name}",) if other in rolling]
        charts.append(_timed(name, lines, _marks(data)))
    if charts and _marks(data):
        told = "Dashed lines are marks: red where an alert was raised, grey where another version answered first."
        charts.insert(0, paragraph(told))
    return charts


def _old(data: ModelData) -> list[Element]:
    by_window = {window: data.metrics(window) for window in _OLD}
    names = dict.fromkeys(name for window in _OLD for name in by_window[window])
    charts = []
    for name in list(names)[:_MOST_CHARTS]:
        lines = [(window, by_window[window][name]) for window in _OLD if name in by_window[window]]
        charts.append(_timed(name, lines, _marks(data)))
    if charts:
        told = (
            "Old examples, answered again: the first ones or a table's (reference), and a sample of all (reservoir)."
            " Forgetting is how far a metric is behind its best so far."
        )
        charts.insert(0, paragraph(told))
    return charts


def _input(data: ModelData) -> list[Element]:
    found: dict[str, list[tuple[str, list[Point]]]] = {}
    for (name, _, part), points in sorted(data.series.items()):
        matched = _INPUT.fullmatch(name)
        if matched and not part:
            found.setdefault(matched[1], []).append((name, points))
    return [_timed(kind, lines[:12], _marks(data)) for kind, lines in found.items()]


def _calibration(data: ModelData) -> list[Element]:
    scores, truths = data.judged[::2], data.judged[1::2]
    if not scores:
        return []
    sums = [[0, 0.0, 0.0] for _ in range(_PARTS)]
    for score, truth in zip(scores, truths, strict=True):
        part = sums[min(_PARTS - 1, int(score * _PARTS))]
        part[0] += 1
        part[1] += score
        part[2] += truth
    points = [(said / count, true / count, float(count)) for count, said, true in sums if count]
    error = sum(count * abs(said - true) for said, true, count in points) / len(scores)
    brier = sum((score - truth) ** 2 for score, truth in zip(scores, truths, strict=True)) / len(scores)
    told = f"Expected calibration error {figure_number(error)}, Brier score {figure_number(brier)},"
    told += f" {len(scores):,} events. Across is what was said, up is how often it came."
    rows = [[f"{said:.3f}", f"{true:.3f}", f"{count:,.0f}"] for said, true, count in points]
    numbers = table("What was said, and how often it was so", ("said", "was", "events"), rows, 0)
    chart = square_chart("Calibration", f"{told} On the diagonal a model says what comes.", points)
    return [figure(chart, told, numbers=numbers)]


def _scores(data: ModelData) -> list[Element]:
    if not data.scores:
        return []
    low, high = min(data.scores), max(data.scores)
    if low >= 0.0 and high <= 1.0:
        low, high = 0.0, 1.0
    width = (high - low) / _BINS or 1.0
    counts = [0] * _BINS
    for score in data.scores:
        counts[min(_BINS - 1, int((score - low) / width))] += 1
    share = [count / len(data.scores) for count in counts]
    bars = [(figure_number(low + at * width), part) for at, part in enumerate(share)]
    told = f"Share of the answers by their score; {len(data.scores):,} answers."
    numbers = table("Scores", ("from", "share"), [[name, f"{part:.4f}"] for name, part in bars], 0)
    statuses = [[status, f"{count:,}"] for status, count in sorted(data.statuses.items())]
    return [
        figure(bar_chart("Scores", told, bars), told, numbers=numbers),
        table("Predictions by status", ("status", "predictions"), statuses),
    ]


def _labels(data: ModelData) -> list[Element]:
    found = []
    if data.delays_ms:
        counts: dict[int, int] = {}
        for delay in data.delays_ms:
            octave = int(math.log2(delay + 1.0))
            counts[octave] = counts.get(octave, 0) + 1
        bars = [
            (_span(2.0**octave - 1), counts.get(octave, 0) / len(data.delays_ms))
            for octave in range(min(counts), max(counts) + 1)
        ]
        told = "Share of the labels by how long after their event they came, each bar twice the one before;"
        told += f" {len(data.delays_ms):,} labels."
        numbers = table("Label delay", ("from", "share"), [[name, f"{part:.4f}"] for name, part in bars], 0)
        found.append(figure(bar_chart("Label delay", told, bars), told, numbers=numbers))
    cumulative, rolling = data.metrics("cumulative"), data.metrics("rolling")
    for title, series in (("label-delay-ms", cumulative), ("label-coverage", rolling)):
        lines = [
            (name, points) for name, points in series.items() if _LABELS.fullmatch(name) and name.startswith(title)
        ]
        if lines:
            found.append(_timed(title, lines, ()))
    books = [[name, f"{points[-1].value:,.0f}"] for name, points in cumulative.items() if name.startswith("labels_")]
    return [*found, table("What became of the labels", ("fate", "labels"), books)] if books else found


def _slices(data: ModelData) -> list[Element]:
    newest: dict[str, list[tuple[str, Point]]] = {}
    for (name, window, part), points in data.series.items():
        if part and window == "rolling" and not name.startswith("worst."):
            newest.setdefault(name, []).append((part, points[-1]))
    found = []
    for name, parts in sorted(newest.items()):
        rows = [[part, figure_number(point.value), f"{point.count:,}"] for part, point in sorted(parts)[:_MOST_ROWS]]
        found.append(table(f"{name}, newest events", ("slice", name, "events"), rows))
    worst = [
        [name.removeprefix("worst."), part, figure_number(points[-1].value)]
        for (name, _, part), points in _newest_worst(data)
    ]
    return (
        [table("The worst slice as of the last emission", ("metric", "slice", "value"), worst, 2), *found]
        if worst
        else found
    )


def _newest_worst(data: ModelData) -> list[tuple[tuple[str, str, str], list[Point]]]:
    newest: dict[str, tuple[tuple[str, str, str], list[Point]]] = {}
    for place, points in data.series.items():
        name = place[0]
        if name.startswith("worst.") and (name not in newest or points[-1].at_ms > newest[name][1][-1].at_ms):
            newest[name] = (place, points)
    return [newest[name] for name in sorted(newest)]


def _alerts(data: ModelData) -> list[Element]:
    rows = [
        [
            moment(a["event_time_ms"]),
            a["severity"],
            a["state"],
            a["alert"],
            a["reason"],
            figure_number(a["value"]),
            f"{a['count']:,}",
        ]
        for a in sorted(data.alerts, key=lambda alert: alert["event_time_ms"])
    ][-_MOST_ROWS:]
    columns = ("time (UTC)", "severity", "state", "alert", "reason", "value", "events")
    return [table("Alerts, oldest first", columns, rows, 5)] if rows else []


def _reactions(data: ModelData) -> list[Element]:
    rows = [
        [moment(d["event_time_ms"]), d["decision"], d["reason"]]
        for d in sorted(data.decisions, key=lambda decision: decision["event_time_ms"])
    ][-_MOST_ROWS:]
    return [table("What became of it after a drift", ("time (UTC)", "decision", "why"), rows, 3)] if rows else []


def _marks(data: ModelData) -> list[Mark]:
    marks = [Mark(at_ms, f"version {version}", "version") for at_ms, version in data.versions[1:]]
    raised = [alert for alert in data.alerts if alert["state"] != "cleared"]
    marks += [Mark(alert["event_time_ms"], f"{alert['severity']}: {alert['alert']}", "alert") for alert in raised]
    return marks[-_MOST_MARKS:]


def _timed(name: str, lines: Sequence[tuple[str, list[Point]]], marks: Sequence[Mark]) -> Element:
    newest = "; ".join(f"{line} {figure_number(points[-1].value)}" for line, points in lines)
    drawn = [Line(line, [(point.at_ms, point.value) for point in points]) for line, points in lines]
    chart = line_chart(name, f"Over time. Newest: {newest}", drawn, marks)
    shown = [
        [line, moment(points[at].at_ms), figure_number(points[at].value), f"{points[at].count:,}"]
        for line, points in lines
        for at in sorted({round(step * (len(points) - 1) / 11) for step in range(12)})
    ]
    numbers = table(name, ("line", "time (UTC)", "value", "events"), shown, 2)
    return figure(chart, f"{name}. ", [line for line, _ in lines], numbers)


def _span(ms: float) -> str:
    unit, size = next(((unit, size) for unit, size in reversed(_SPANS_MS) if ms >= 2 * size), _SPANS_MS[0])
    return f"{ms / size:.3g} {unit}"


SECTIONS: tuple[tuple[str, Callable[[ModelData], list[Element]]], ...] = (
    ("Metrics over time", _over_time),
    ("Alerts", _alerts),
    ("Reactions to drift", _reactions),
    ("Calibration", _calibration),
    ("Scores", _scores),
    ("Labels", _labels),
    ("Slices", _slices),
    ("Old examples and forgetting", _old),
    ("Drift of the input", _input),
)
"""Titles and what fills them, in their order."""
