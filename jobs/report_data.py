"""What a report is made of: the records of an application's topics, put together per model in bounded memory."""

from __future__ import annotations

import random
from array import array
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["ExperimentData", "ModelData", "Point", "ReportData"]

_MOST_POINTS = 4000  # of a series; more are thinned
_MOST_SERIES = 2000
_MOST_SCORES = 50_000
_MOST_EVENTS = 500_000
_MOST_ALERTS = 500
_MOST_VERSIONS = 30
_MOST_MODELS = 50
_MOST_ARMS = 30
_MOST_DECISIONS = 500
_LARGEST = 1e300


class Point(NamedTuple):
    """One value of a metric: when, what, over how many examples."""

    at_ms: int
    value: float
    count: int  # type: ignore[assignment]  # the contract's name


class ModelData:
    """What is known of one model.

    Attributes
    ----------
    series : dict of (metric, window, slice) to list of Point
        In the order in which they came.
    statuses : dict of str to int
        Predictions by status.
    scores : array of float
        A fair sample of the scores.
    judged : array of float
        Pairs of a score and 1.0 or 0.0: whether what it is the probability of came true. In the same order.
    delays_ms : array of float
        A fair sample of how long labels took after their events.
    labels : int
        Labels of its predictions.
    versions : list of (int, str)
        When another version answered first, epoch ms; empty where they change all the time, as those of a model that
        learns from every label do.
    alerts : list of mapping
        As on the topic.
    decisions : list of mapping
        The newest ones that it took about itself, as on the topic.
    """

    def __init__(self) -> None:
        self.series: dict[tuple[str, str, str], list[Point]] = {}
        self.statuses: dict[str, int] = {}
        self.scores = array("d")
        self.judged = array("d")
        self.delays_ms = array("d")
        self.alerts: list[Mapping[str, Any]] = []
        self.decisions: list[Mapping[str, Any]] = []
        self._versions: dict[str, int] = {}
        self._steps: dict[tuple[str, str, str], int] = {}
        self.labels = 0

    @property
    def versions(self) -> list[tuple[int, str]]:
        """See the class."""
        if len(self._versions) > _MOST_VERSIONS:
            return []
        return sorted((at_ms, version) for version, at_ms in self._versions.items())

    def metrics(self, window: str) -> dict[str, list[Point]]:
        """Return the series over one window, of all events together, by metric."""
        return {
            metric: points
            for (metric, over, part), points in sorted(self.series.items())
            if over == window and not part
        }

    def note_version(self, version: str, at_ms: int) -> None:
        """Note when a version was there first."""
        if version in self._versions:
            self._versions[version] = min(self._versions[version], at_ms)
        elif version and len(self._versions) <= _MOST_VERSIONS:
            self._versions[version] = at_ms

    def add_metric(self, record: Mapping[str, Any]) -> None:
        """Take a metric; a series that grows too long keeps every second of its points, then every fourth."""
        place = (record["metric"], record["window"], record["slice"])
        points = self.series.get(place)
        if points is None:
            if len(self.series) >= _MOST_SERIES:
                return
            points = self.series[place] = []
        points.append(Point(record["event_time_ms"], _bounded(record["value"]), record["count"]))
        if len(points) > _MOST_POINTS:
            del points[1::2]
        self.note_version(record["model_version"], record["event_time_ms"])

    def sample(self, values: array[float], value: float, seen: int, dice: random.Random) -> None:
        """Keep a fair sample: each of the values so far has the same chance to be in it."""
        if len(values) < _MOST_SCORES:
            values.append(value)
        elif (at := dice.randrange(seen)) < _MOST_SCORES:
            values[at] = value


class ExperimentData:
    """What is known of one comparison.

    Attributes
    ----------
    decisions : list of mapping
        As on the topic, the newest ones.
    arms : dict of str to ModelData
        The metrics of each of its models; by an empty name those of the whole.
    """

    def __init__(self) -> None:
        self.decisions: list[Mapping[str, Any]] = []
        self.arms: dict[str, ModelData] = {}

    def add_metric(self, record: Mapping[str, Any]) -> None:
        """Take a metric of one of its models."""
        arm = self.arms.get(record["model_version"])
        if arm is None:
            if len(self.arms) >= _MOST_ARMS:
                return
            arm = self.arms[record["model_version"]] = ModelData()
        arm.add_metric(record)


class ReportData:
    """All models.

    Give predictions before labels: a label is held against the predictions that are there; and decisions before
    metrics: by them a model is known to be a comparison, whose metrics are those of its models.

    Examples
    --------
    >>> data = ReportData()
    >>> answer = {"model": "fraud", "model_version": "1", "event_id": "p1", "event_time_ms": 5, "score": 0.9,
    ...           "label": "true", "status": "ok"}
    >>> data.add("prediction", answer)
    >>> data.add("label", {"event_id": "p1", "label_time_ms": 25, "label": "true"})
    >>> list(data.models["fraud"].judged), list(data.models["fraud"].delays_ms)
    ([0.9, 1.0], [20.0])
    """

    def __init__(self) -> None:
        self.models: dict[str, ModelData] = {}
        self.experiments: dict[str, ExperimentData] = {}
        self.unreadable = 0
        self.unmatched = 0
        self._dice = random.Random(0)  # noqa: S311  # a sample, not a secret; the same records give the same report
        self._events: dict[str, list[tuple[str, int, float | None, str | None]]] = {}

    def add(self, kind: str, record: Mapping[str, Any]) -> None:
        """Take a record of the schema ``kind``: ``decision``, ``metric``, ``prediction``, ``alert`` or ``label``."""
        if kind == "label":
            self._add_label(record)
            return
        model = self.models.get(record["model"])
        if model is None:
            if len(self.models) >= _MOST_MODELS:
                return
            model = self.models[record["model"]] = ModelData()
        tried = self.experiments.get(record["model"])
        if kind == "decision":
            if record["arm"] == record["model"]:  # a model decided about itself
                model.decisions = [*model.decisions[1 - _MOST_DECISIONS :], record]
            else:
                tried = self.experiments.setdefault(record["model"], ExperimentData())
                tried.decisions = [*tried.decisions[1 - _MOST_DECISIONS :], record]
        elif kind == "metric" and tried is not None:
            tried.add_metric(record)
        elif kind == "metric":
            model.add_metric(record)
        elif kind == "alert":
            if len(model.alerts) < _MOST_ALERTS:
                model.alerts.append(record)
        else:
            self._add_prediction(model, record)

    def _add_prediction(self, model: ModelData, record: Mapping[str, Any]) -> None:
        status, score = record["status"], record["score"]
        model.statuses[status] = model.statuses.get(status, 0) + 1
        model.note_version(record["model_version"], record["event_time_ms"])
        if score is not None:
            model.sample(model.scores, _bounded(score), model.statuses[status], self._dice)
        event = record["event_id"]
        if event is not None and (event in self._events or len(self._events) < _MOST_EVENTS):
            answer = (record["model"], record["event_time_ms"], score, record["label"])
            self._events.setdefault(event, []).append(answer)

    def _add_label(self, record: Mapping[str, Any]) -> None:
        # Taken out: a second label of one event says nothing new about how sure the model was.
        answers = self._events.pop(record["event_id"], None)
        if answers is None:
            self.unmatched += 1
            return
        for name, event_ms, score, label in answers:
            model = self.models[name]
            model.labels += 1
            delay_ms = max(0.0, float(record["label_time_ms"] - event_ms))
            model.sample(model.delays_ms, delay_ms, model.labels, self._dice)
            if score is None or label is None or not 0.0 <= score <= 1.0:
                continue
            truth = record["label"].lower()
            came_true = truth == "true" if label in ("true", "false") else record["label"] == label
            if len(model.judged) < 2 * _MOST_EVENTS:
                model.judged.extend((score, float(came_true)))


def _bounded(value: float) -> float:
    """Keep the difference of any two values within what a double can tell."""
    return max(-_LARGEST, min(_LARGEST, value))
