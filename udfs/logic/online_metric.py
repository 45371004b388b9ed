"""A metric over a group that never ends: River's metrics fed row by row, the area under the ROC curve by histogram."""

from __future__ import annotations

import json
import struct
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Any

import numpy as np
from river import metrics
from thalweg.connector.errors import ConfigError, Problem, SnapshotError
from thalweg.udfs.engines.model_text import ModelText
from thalweg.udfs.engines.safe_pickle import dumps, loads
from thalweg.udfs.logic.live_state import LiveState, damage_told, named_part
from thalweg.udfs.logic.metrics import RankHistogram

__all__ = ["METRICS", "OnlineMetric"]

_EVENT = ("F1", "FBeta", "Jaccard", "MCC", "Precision", "Recall")
_CLASSES = (
    "Accuracy",
    "AdjustedRand",
    "BalancedAccuracy",
    "CohenKappa",
    "Completeness",
    "FowlkesMallows",
    "GeometricMean",
    "Homogeneity",
    "MacroF1",
    "MacroFBeta",
    "MacroJaccard",
    "MacroPrecision",
    "MacroRecall",
    "MicroF1",
    "MicroFBeta",
    "MicroJaccard",
    "MicroPrecision",
    "MicroRecall",
    "MutualInfo",
    "Rand",
    "VBeta",
    "WeightedF1",
    "WeightedFBeta",
    "WeightedJaccard",
    "WeightedPrecision",
    "WeightedRecall",
)
_PROBABILITY = ("Brier", "LogLoss", "ROCAUC", "RollingROCAUC")
_NUMERIC = ("MAE", "MAPE", "MSE", "R2", "RMSE", "RMSLE", "SMAPE")
METRICS = (*_EVENT, *_CLASSES, *_PROBABILITY, *_NUMERIC)
"""The metrics that can be named; options as in River's constructor, for those that River has."""

_MODULES = {name: "metrics" for name in METRICS if name != "Brier"}
_MOST_CLASSES = 1000  # a confusion matrix has a cell for every pair
_PENDING = 1024  # rows that wait for the histogram
_HEAD = struct.Struct(">4sQQI")
_MAGIC = b"TWO1"
_EVENTS: dict[Any, bool] = {"true": True, "false": False, 1: True, 0: False}


class _Ranks:
    """The area under the ROC curve, as the metric of that name in the flow: by rank, in 4,096 bins.

    Scores are taken for probabilities, binned in their logit, until one lies outside of 0 and 1.
    """

    def __init__(self) -> None:
        self._histograms = [RankHistogram(True), RankHistogram(False)]
        self._outside = False
        self._scores: list[float] = []
        self._truths: list[bool] = []

    def update(self, truth: bool, score: float) -> None:
        self._scores.append(score)
        self._truths.append(truth)
        if len(self._scores) >= _PENDING:
            self._flush()

    def _flush(self) -> None:
        if self._scores:
            scores, truths = np.array(self._scores), np.array(self._truths, dtype=bool)
            self._outside = self._outside or bool(((scores < 0) | (scores > 1)).any())
            for histogram in self._histograms:
                histogram.add(scores, truths)
            self._scores, self._truths = [], []

    def get(self) -> float | None:
        self._flush()
        return self._histograms[self._outside].roc_auc()

    def dump(self) -> bytes:
        self._flush()
        parts: list[Any] = [self._outside]
        for histogram in self._histograms:
            counts = histogram.counts.ravel()
            filled = np.flatnonzero(counts)
            parts += [filled.astype(np.int64), counts[filled]]
        return dumps(parts)

    @classmethod
    def load(cls, data: bytes) -> _Ranks:
        found = cls()
        found._outside, *parts = loads(data)
        for histogram, filled, counts in zip(found._histograms, parts[::2], parts[1::2], strict=True):
            if filled.dtype != np.int64 or counts.dtype != np.int64 or (filled < 0).any() or (counts < 0).any():
                raise SnapshotError("the state of online_metric is damaged: a histogram has a number that cannot be.")
            histogram.counts.ravel()[filled] = counts
        return found


@lru_cache(maxsize=256)
def _named(text: str) -> tuple[str, ModelText | None]:
    if text.strip() == "Brier":
        return "Brier", None
    try:
        return named_part("online_metric", "metric", text, _MODULES)
    except ConfigError as error:
        if error.problems[0].remedy.startswith("Known: "):
            known = f"Known: {', '.join(sorted(METRICS))}."
            raise ConfigError([Problem(p.where, p.what, known) for p in error.problems]) from None
        raise


def _new(text: str) -> Any:
    name, read = _named(text)
    if read is None:
        return metrics.MSE()
    return _Ranks() if name == "ROCAUC" and read.text == "metrics.ROCAUC()" else read.construct()


class OnlineMetric(LiveState):
    """One metric of one group.

    Attributes
    ----------
    count, skipped : int
        Pairs that count, and pairs with a NULL or with values that the metric cannot take.

    Examples
    --------
    >>> metric = OnlineMetric()
    >>> for truth, score in ((True, 0.9), (False, 0.2), (None, 0.5), (True, 0.4)):
    ...     metric.add("Accuracy", truth, score)
    >>> round(metric.value(), 4), metric.count, metric.skipped
    (0.6667, 3, 1)
    >>> OnlineMetric.load(metric.state()).value() == metric.value()
    True
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = self.skipped = 0
        self._text: str | None = None
        self._name = ""
        self._metric: Any = None

    @classmethod
    def load(cls, data: bytes) -> OnlineMetric:
        """Return the state that ``state`` wrote; raises SnapshotError."""
        found = cls()
        with damage_told("online_metric"):
            magic, found.count, found.skipped, length = _HEAD.unpack_from(data)
            text = json.loads(data[_HEAD.size : _HEAD.size + length])
            if magic != _MAGIC or type(text) is not str:
                raise SnapshotError("the state of online_metric is damaged: it begins with other bytes.")
            found._begin(text)
            kept, blob = type(found._metric), data[_HEAD.size + length :]
            found._metric = _Ranks.load(blob) if kept is _Ranks else loads(blob)
            if type(found._metric) is not kept:
                raise SnapshotError("the state of online_metric is damaged: it holds another metric than it says.")
        found._bytes = data
        return found

    def add(self, text: object, truth: Any, score: Any) -> None:
        """Take one pair into the metric, or skip it.

        Raises
        ------
        ConfigError
            There is no such metric, or it changes within the group.
        """
        self._bytes = None
        if self._text is None or (text is not self._text and text != self._text):
            self._first(text)
        pair = None if truth is None or score is None else self._pair(truth, score)
        if pair is None or not self._room(*pair):
            self.skipped += 1
            return
        try:
            self._metric.update(*pair)
        except (ArithmeticError, ValueError):  # such as the logarithm of a negative number
            self.skipped += 1
        else:
            self.count += 1

    def _first(self, text: object) -> None:
        if self._text is not None:
            what = f"changes within a group, from '{self._text[:80]}' to '{str(text)[:80]}'."
            raise ConfigError([Problem("online_metric", what, "Give a literal, or add the name to GROUP BY.")])
        self._begin(text if isinstance(text, str) else "")

    def _begin(self, text: str) -> None:
        self._name = _named(text)[0]
        self._metric = _new(text)
        self._text = text

    def _pair(self, truth: Any, score: Any) -> tuple[Any, Any] | None:
        if self._name in _NUMERIC:
            pair: tuple[Any, Any] = (_number(truth), _number(score))
        elif self._name in _PROBABILITY:
            pair = (_event(truth), _number(score))
            if self._name == "Brier" and pair[0] is not None:
                pair = (float(pair[0]), pair[1])
        elif self._name in _EVENT:
            pair = (_event(truth), _decided(score))
        else:
            pair = _labels(truth, score)
        return None if pair[0] is None or pair[1] is None else pair

    def _room(self, truth: Any, score: Any) -> bool:
        matrix = getattr(self._metric, "cm", None)
        if matrix is None or len(matrix.sum_row) + len(matrix.sum_col) < _MOST_CLASSES:
            return True
        return truth in matrix.sum_row and score in matrix.sum_col

    def dump(self) -> bytes:
        """Return name, counts and River's metric as bytes."""
        name = json.dumps(self._text).encode()
        body = self._metric.dump() if isinstance(self._metric, _Ranks) else dumps(self._metric)
        return _HEAD.pack(_MAGIC, self.count, self.skipped, len(name)) + name + body

    def value(self) -> float | None:
        """Return the metric; None before the first pair, and where it has no finite value."""
        if not self.count:
            return None
        try:
            found = self._metric.get()
        except ArithmeticError:
            return None
        return float(found) if found is not None and isfinite(found) else None


def _number(value: Any) -> float | None:
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        number = float(value)
        return number if isfinite(number) else None
    return None


def _event(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return _EVENTS.get(value) if isinstance(value, (str, int, float, Decimal)) else None


def _decided(score: Any) -> bool | None:
    """Return what a score decides: a probability above one half is the event."""
    if isinstance(score, (float, Decimal)):
        number = _number(score)
        return None if number is None else number > 1.0 - number
    return _event(score)


def _labels(truth: Any, score: Any) -> tuple[Any, Any]:
    if isinstance(truth, bool) or isinstance(score, (bool, float, Decimal)):
        return _event(truth), _decided(score)
    known = (str, int)
    return (str(truth), str(score)) if isinstance(truth, known) and isinstance(score, known) else (None, None)
