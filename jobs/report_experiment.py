"""What a report says of a live comparison: who answers, how good each model is, what was decided and why, over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from thalweg.jobs.experiment_report import COLUMNS, experiment_status
from thalweg.jobs.report_charts import Line, Mark, figure_number, line_chart, moment
from thalweg.jobs.report_data import ExperimentData, Point
from thalweg.jobs.report_elements import figure, paragraph, table

__all__ = ["EXPERIMENT_SECTIONS"]

_OVER = "cumulative"
_BOOKS = (
    "difference", "share", "events", "served", "failures", "agreement", "evidence", "default", "mirror", "stopped",
    "skipped", "reward_by_action_covered",
)  # fmt: skip
_TIMES = ("latency_p50", "latency_p99", "cost_p50", "cost_p99")
_ENDS = (".lower", ".upper")
_MOST_ROWS = 200
_MOST_MARKS = 60
_MOST_CHARTS = 8


def _standing(name: str, data: ExperimentData) -> list[Element]:
    newest = [
        {
            "model": name, "model_version": arm, "metric": metric, "slice": part, "value": points[-1].value,
            "count": points[-1].count, "event_time_ms": points[-1].at_ms,
        }
        for arm, found in data.arms.items() for (metric, _, part), points in found.series.items()
    ]  # fmt: skip
    found: dict[str, Any] = experiment_status(name, data.decisions, newest)
    rows = [[str(model[column]) for column in COLUMNS] for model in found["models"]]
    head = paragraph(f"{found['default']} is the default. {found['next']}")
    return [head, table("As of the newest figures", COLUMNS, rows, len(COLUMNS))] if rows else [head]


def _traffic(name: str, data: ExperimentData) -> list[Element]:
    told = "Percent of the units that each answers. Dashed lines: decisions, red where one was taken back or stopped."
    return _chart("Traffic", told, data, "share")


def _quality(name: str, data: ExperimentData) -> list[Element]:
    names = {metric for found in data.arms.values() for metric in found.metrics(_OVER)}
    own = sorted(
        metric for metric in names if metric not in (*_BOOKS, *_TIMES) and not metric.endswith(_ENDS)
        and any(arm and metric in found.metrics(_OVER) for arm, found in data.arms.items())
    )  # fmt: skip
    told = "With the interval that holds at any time, however often one looks."
    return [element for metric in own[:_MOST_CHARTS] for element in _chart(metric, told, data, metric)]


def _evidence(name: str, data: ExperimentData) -> list[Element]:
    told = "By how much each is better than the default, since the tests began anew; an interval above 0 is a winner."
    sure = "Evidence that it is better, on a scale from 0 to 1: 1 - 1/e of the e-value."
    slices = [
        [arm, part, figure_number(points[-1].value), f"{points[-1].count:,}"]
        for arm, found in sorted(data.arms.items()) for (metric, _, part), points in sorted(found.series.items())
        if part and metric == "difference"
    ]  # fmt: skip
    columns = ("model", "slice", "difference", "events")
    rows = [table("Difference to the default by slice, newest", columns, slices[:_MOST_ROWS], 2)] if slices else []
    return [
        *_chart("Difference", told, data, "difference"), *_chart("Evidence", sure, data, "evidence"), *rows,
    ]  # fmt: skip


def _times(name: str, data: ExperimentData) -> list[Element]:
    told = {
        "latency_p99": "What 99 of 100 events waited at most for the model in the worker, in ms; not Kafka to Kafka.",
        "cost_p99": "The same by the events that waited together: what one event costs the model, in ms.",
    }
    return [element for metric, text in told.items() for element in _chart(metric, text, data, metric)]


def _decisions(name: str, data: ExperimentData) -> list[Element]:
    rows = [
        [moment(d["event_time_ms"]), d["decision"], d["arm"], d["decided_by"], d["reason"], _shares(d["shares"])]
        for d in sorted(data.decisions, key=lambda record: record["event_time_ms"])
    ][-_MOST_ROWS:]
    columns = ("time (UTC)", "decision", "model", "by", "why", "percent from then on")
    return [table("Decisions, oldest first", columns, rows, len(columns))] if rows else []


def _shares(shares: dict[str, float]) -> str:
    return ", ".join(f"{arm} {share:g}" for arm, share in sorted(shares.items()) if share)


def _chart(title: str, told: str, data: ExperimentData, metric: str) -> list[Element]:
    """Return the chart of one metric, a line for each model, always in its colour; nothing where nobody has it."""
    lines, numbers = [], []
    for arm in sorted(filter(None, data.arms)):
        series = data.arms[arm].metrics(_OVER)
        points = series.get(metric, [])
        ends = [{p.at_ms: p.value for p in series.get(f"{metric}{end}", [])} for end in _ENDS]
        band = [(p.at_ms, ends[0][p.at_ms], ends[1][p.at_ms]) for p in points if all(p.at_ms in end for end in ends)]
        lines.append(Line(arm, [(p.at_ms, p.value) for p in points], band))
        numbers += [_row(arm, p, band) for p in _some(points)]
    if not numbers:
        return []
    newest = "; ".join(f"{line.name} {figure_number(line.points[-1][1])}" for line in lines if line.points)
    chart = line_chart(title, f"Over time. Newest: {newest}", lines, _marks(data))
    columns = ("model", "time (UTC)", "value", "from", "to", "events")
    return [figure(chart, f"{title}. {told} ", [line.name for line in lines], table(title, columns, numbers, 2))]


def _some(points: Sequence[Point]) -> list[Point]:
    return [points[at] for at in sorted({round(step * (len(points) - 1) / 11) for step in range(12)})] if points else []


def _row(arm: str, point: Point, band: Sequence[tuple[float, float, float]]) -> list[str]:
    low, high = next(((low, high) for at, low, high in band if at == point.at_ms), (point.value, point.value))
    return [arm, moment(point.at_ms), *map(figure_number, (point.value, low, high)), f"{point.count:,}"]


def _marks(data: ExperimentData) -> list[Mark]:
    bad = ("rollback", "stop")
    return [
        Mark(d["event_time_ms"], f"{d['decision']} {d['arm']}", "alert" if d["decision"] in bad else "version")
        for d in data.decisions if d["decision"] not in ("start", "refuse")
    ][-_MOST_MARKS:]  # fmt: skip


EXPERIMENT_SECTIONS: tuple[tuple[str, Callable[[str, ExperimentData], list[Element]]], ...] = (
    ("How the comparison stands", _standing),
    ("Who answers", _traffic),
    ("How good each model is", _quality),
    ("Against the default", _evidence),
    ("How long events wait", _times),
    ("Decisions", _decisions),
)
"""Titles and what fills them, in their order."""
