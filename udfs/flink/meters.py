"""Flink's metrics, touched once per block: PyFlink takes a microsecond for each call."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from thalweg.udfs.logic.arm_guard import ArmGuard
from thalweg.udfs.logic.telemetry import METRICS, Latency, version_number

__all__ = ["Meters", "group_of"]

_LONGEST = 100


def group_of(context: Any) -> Any:
    """Return the metrics of a SQL function or of an operator; None where 'python.metric.enabled' is false.

    Parameters
    ----------
    context : FunctionContext or RuntimeContext
        What ``open`` was given.
    """
    if hasattr(context, "get_metrics_group"):
        return context.get_metrics_group()
    try:
        return context.get_metric_group()
    except RuntimeError:  # how a function's context tells that metrics are off
        return None


class Meters:
    """The metrics of one model in one subtask, by the names of ``telemetry.METRICS``.

    They must be touched by the thread that Flink calls: what another one counts is lost.

    Parameters
    ----------
    group : MetricGroup or None
        Of ``group_of``.
    model : str, optional
        Value of the label ``model``; without it only metrics without labels can be told.
    """

    def __init__(self, group: Any, model: str | None = None) -> None:
        if group is not None and model is not None:
            group = group.add_group("model", model[:_LONGEST] or "(none)")
        self._group = group
        self._latency: Any = None  # made with the first block: a function is pickled before it is opened
        self._counters: dict[str, Any] = {}
        self._shown: dict[tuple[str, str], int] = {}
        self._totals: dict[str, int] = {}

    def count(self, name: str, number: int = 1) -> None:
        """Add to a counter; 0 makes it known."""
        if self._group is None:
            return
        counter = self._counters.get(name)
        if counter is None:
            _check(name, "counter")
            counter = self._counters[name] = self._group.counter(name)
        counter.inc(number)

    def show(self, name: str, value: int, metric: str = "") -> None:
        """Set a gauge; ``metric`` is the value of its label of that name, where it has one."""
        if self._group is None:
            return
        place = (name, metric)
        if place not in self._shown:
            _check(name, "gauge")
            group = self._group.add_group("metric", metric) if metric else self._group
            group.gauge(name, lambda: self._shown[place])
        self._shown[place] = value

    def answered(self, statuses: Sequence[str], version: int | str, since_ns: int) -> None:
        """Tell of a block of answers.

        Parameters
        ----------
        statuses : sequence of str
            One per row, as in the wire contract.
        version : int or str
            What answered.
        since_ns : int
            ``time.perf_counter_ns`` when the block came.
        """
        good = statuses.count("ok")
        unready = 0 if good == len(statuses) else statuses.count("not_ready")
        self.inference(len(statuses), len(statuses) - good - unready, version, since_ns, unready)

    def inference(self, rows: int, failed: int, version: int | str, since_ns: int, unready: int = 0) -> None:
        """Tell of a block of answers whose rows have been counted already."""
        if self._group is None or not rows:
            return
        if self._latency is None:
            self._latency = Latency()
            self._group.gauge("inference_latency", lambda: self._latency.quantile(0.5))
            self._group.gauge("inference_latency_p99", lambda: self._latency.quantile(0.99))
        self._latency.add(time.perf_counter_ns() - since_ns, rows)
        self.count("inference_requests", rows)
        self.count("inference_requests_success", rows - failed - unready)
        self.count("inference_requests_failure", failed)
        self.count("thalweg_not_ready", unready)
        self.show("modelDataVersion", version if isinstance(version, int) else version_number(version))

    def shadowed(self, guard: ArmGuard) -> None:
        """Tell what a shadow has passed over and where it failed since the last call."""
        budget = guard.budget
        counts = {
            "thalweg_shadow_failures": guard.failures,
            "thalweg_shadow_skipped": 0 if budget is None else budget.skipped,
            "thalweg_shadow_unlearned": 0 if budget is None else budget.unlearned,
        }
        for name, total in counts.items():
            if guard.shadow:
                self.count(name, total - self._totals.get(name, 0))
                self._totals[name] = total

    def evaluated(self, counts: Mapping[str, int], metrics: Sequence[Any], alerts: Sequence[Any]) -> None:
        """Tell of an evaluation.

        Parameters
        ----------
        counts : mapping of str to int
            The books of labels; what is no metric is passed over.
        metrics, alerts :
            Those that were emitted just now.
        """
        for name, number in counts.items():
            if f"thalweg_{name}" in METRICS and name.startswith("labels_"):
                self.show(f"thalweg_{name}", number)
        for figure in metrics:
            if figure.window == "rolling" and not figure.slice:
                self.show("thalweg_rolling_millionths", round(figure.value * 1e6), figure.metric)
        for state in ("raised", "cleared"):
            self.count(f"thalweg_alerts_{state}", sum(alert.state == state for alert in alerts))


def _check(name: str, kind: str) -> None:
    if METRICS[name].kind != kind:
        raise ValueError(f"'{name}' is a {METRICS[name].kind}, not a {kind}.")
