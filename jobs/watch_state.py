"""What the topics of an application tell about its models, record by record: the state behind ``thalweg watch``."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

__all__ = ["ModelState", "WatchState"]

_RATE_S = 30
_POINTS = 60  # of a sparkline
_RECENT = 8
_MOST_MODELS = 200
_MOST_METRICS = 40


class ModelState:
    """What is known of one model.

    Attributes
    ----------
    version : str
        That of the newest prediction, or else of the newest metric.
    statuses : dict of str to int
        Predictions by status.
    event_ms, came_ms : int or None
        Of the newest prediction: the time of its event, and when the broker got it; epoch ms.
    learned : int
        The most examples behind any of its answers.
    rolling : dict of str to deque of float
        The newest values of each rolling metric, oldest first.
    cumulative : dict of str to float
        The newest value of each metric since the start.
    worst : dict of str to (str, float)
        The worst slice, by metric.
    snapshots, snapshot_bytes, snapshot_ms :
        How many snapshots were seen, their bytes, and the time of the newest one.
    open_alerts : dict of str to mapping
        Alerts that are raised, by name.
    """

    def __init__(self) -> None:
        self.version = ""
        self.statuses: dict[str, int] = {}
        self.event_ms: int | None = None
        self.came_ms: int | None = None
        self.learned = 0
        self.rolling: dict[str, deque[float]] = {}
        self.cumulative: dict[str, float] = {}
        self.worst: dict[str, tuple[str, float]] = {}
        self.snapshots, self.snapshot_bytes = 0, 0
        self.snapshot_ms: int | None = None
        self.open_alerts: dict[str, Mapping[str, Any]] = {}
        self._seconds: dict[int, float] = {}

    def rate(self, now_ms: int) -> float:
        """Return predictions per second over the last half minute."""
        second = now_ms // 1000
        return sum(n for at, n in self._seconds.items() if second - _RATE_S <= at < second) / _RATE_S

    def add_prediction(self, record: Mapping[str, Any], came_ms: int, weight: float) -> None:
        """Take a prediction; ``weight`` is how many it stands for."""
        status = record["status"]
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.learned = max(self.learned, record["learned"])
        if self.came_ms is None or came_ms >= self.came_ms:
            self.version, self.event_ms, self.came_ms = record["model_version"], record["event_time_ms"], came_ms
        second = came_ms // 1000
        if second not in self._seconds and len(self._seconds) > 2 * _RATE_S:
            newest = max(self._seconds)
            self._seconds = {at: n for at, n in self._seconds.items() if at >= newest - _RATE_S}
        self._seconds[second] = self._seconds.get(second, 0.0) + weight

    def add_metric(self, record: Mapping[str, Any]) -> None:
        """Take a metric."""
        name, window = record["metric"], record["window"]
        if not self.statuses:
            self.version = record["model_version"] or self.version
        if record["slice"]:
            if name.startswith("worst."):
                self.worst[name.removeprefix("worst.")] = (record["slice"], record["value"])
            return
        if window == "cumulative" and (name in self.cumulative or len(self.cumulative) < 2 * _MOST_METRICS):
            self.cumulative[name] = record["value"]
        elif window == "rolling" and (name in self.rolling or len(self.rolling) < _MOST_METRICS):
            self.rolling.setdefault(name, deque(maxlen=_POINTS)).append(record["value"])

    def add_snapshot(self, record: Mapping[str, Any]) -> None:
        """Take a record of a snapshot; only the last one of its parts counts."""
        if record["chunk"] == record["chunks"] - 1:
            self.snapshots += 1
            self.snapshot_bytes += record["size"]
            self.snapshot_ms = max(self.snapshot_ms or record["event_time_ms"], record["event_time_ms"])

    def add_alert(self, record: Mapping[str, Any]) -> None:
        """Take an alert that was raised or cleared."""
        if record["state"] == "cleared":
            self.open_alerts.pop(record["alert"], None)
        elif record["alert"] in self.open_alerts or len(self.open_alerts) < _MOST_METRICS:
            self.open_alerts[record["alert"]] = record


class WatchState:
    """All models.

    Examples
    --------
    >>> state = WatchState()
    >>> figure = {"model": "fraud", "model_version": "7", "metric": "ROCAUC", "window": "rolling", "value": 0.8,
    ...           "count": 100, "window_start_ms": 0, "event_time_ms": 1, "slice": ""}
    >>> state.add("metric", figure, came_ms=2)
    >>> list(state.models["fraud"].rolling["ROCAUC"])
    [0.8]
    """

    def __init__(self) -> None:
        self.models: dict[str, ModelState] = {}
        self.recent: deque[Mapping[str, Any]] = deque(maxlen=_RECENT)
        self.passed_over = 0
        self.unreadable = 0

    def add(self, kind: str, record: Mapping[str, Any], came_ms: int, weight: float = 1.0) -> None:
        """Take a record.

        Parameters
        ----------
        kind : str
            ``prediction``, ``metric``, ``alert`` or ``snapshot``.
        record : mapping
            As its schema has it.
        came_ms : int
            When the broker got it, epoch ms.
        weight : float
            How many records it stands for, where some were passed over.
        """
        name = record["model"]
        model = self.models.get(name)
        if model is None:
            if len(self.models) >= _MOST_MODELS:
                self.passed_over += 1
                return
            model = self.models[name] = ModelState()
        if kind == "prediction":
            model.add_prediction(record, came_ms, weight)
        elif kind == "metric":
            model.add_metric(record)
        elif kind == "snapshot":
            model.add_snapshot(record)
        else:
            model.add_alert(record)
            self.recent.append(record)
