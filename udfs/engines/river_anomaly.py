"""Anomaly detection with River: how strange a row is, and whether that is strange enough to be called an anomaly."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from copy import deepcopy
from math import isfinite
from typing import Any

from river import anomaly, utils
from thalweg.connector.errors import Problem
from thalweg.udfs.engines.base import NOT_READY, EngineSpec, Score
from thalweg.udfs.engines.river_task import Task, number_score

__all__ = ["Anomaly"]

_COLD = (IndexError, TypeError)  # what a forecaster or a tree that has learned nothing makes River raise


class Anomaly(Task):
    """Higher is more anomalous. A detector of one variable watches the first input, the others are its context.

    Whether a row is an anomaly is told by the detector where it decides (``anomaly.QuantileFilter``,
    ``anomaly.ThresholdFilter``), else by the engine option ``threshold``: from that score on. Without either the label
    is None.

    Notes
    -----
    ``anomaly.PredictiveAnomalyDetection`` learns its threshold when it is asked. So that asking changes nothing, it is
    asked on a copy of that threshold, and asked once more when it learns: its scores are those of River's loop.
    """

    outputs = ("number", "boolean")
    options = ("threshold",)

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self._threshold = _number(spec.param("threshold", ""))
        self._decides = self._watches = self._restless = False

    def problems(self) -> list[Problem]:
        """Return what is wrong with the option ``threshold``."""
        given = self.spec.param("threshold", "")
        if not given or self._threshold is not None:
            return []
        return [Problem("option 'threshold'", f"'{given}' is not a number.", "Give the score of an anomaly, as 0.9.")]

    def fit(self, model: Any) -> Problem | None:
        """Return why ``model`` is no detector of these inputs, or None."""
        relevant, detector = utils.inspect.extract_relevant(model), _detector(model)
        self._decides = isinstance(relevant, anomaly.base.AnomalyFilter)
        self._watches = isinstance(detector, anomaly.base.SupervisedAnomalyDetector)
        self._restless = isinstance(detector, anomaly.PredictiveAnomalyDetection)
        watched = self.spec.inputs[0]
        if not isinstance(detector, anomaly.base.AnomalyDetector) and not self._watches:
            remedy = "End the pipeline with a detector, such as anomaly.HalfSpaceTrees()."
            return self.misfit(model, "an anomaly detector", remedy)
        if self._watches and watched.kind != "number":
            return self.misfit(model, f"able to watch '{watched.name}', a {watched.kind}", "Put a number first.")
        if isinstance(detector, anomaly.HalfSpaceTrees) and self.spec.param("on-null", "refuse") == "skip":
            what = (
                "'skip' does not go with HalfSpaceTrees: a feature that its first row lacks is never looked at again."
            )
            return Problem("option 'on-null'", what, "Leave it out, or give NULL a number in SQL.")
        if self._decides and self._threshold is not None:
            what = f"{type(relevant).__name__} decides itself what is an anomaly."
            return Problem("option 'threshold'", what, "Remove the option, or the filter.")
        return None

    def may_lack(self, lenient: bool) -> Collection[str]:
        """Return the features that a row may lack: never the one that is watched."""
        return list(super().may_lack(lenient))[1 if self._watches else 0 :]

    def label(self, value: Any) -> Any:
        """Return None: a detector learns without labels."""
        return None

    def learn(self, last: Any, x: dict[str, Any], label: Any) -> None:
        """Teach the detector, which may let a row pass that it takes for an anomaly."""
        given = _watched(x) if self._watches else (x,)
        if self._restless:
            with suppress(*_COLD):
                last.score_one(*given)
        last.learn_one(*given)

    def ask(self, last: Any, x: dict[str, Any]) -> Score:
        """Return the score, and as its label ``true`` or ``false`` where somebody decides."""
        given = _watched(x) if self._watches else (x,)
        score = _at_rest(last, given) if self._restless else number_score(last.score_one(*given))
        if score.score is None:
            return score
        if self._decides:
            found = last if isinstance(last, anomaly.base.AnomalyFilter) else utils.inspect.extract_relevant(last)
            return score._replace(label="true" if found.classify(score.score) else "false")
        if self._threshold is not None:
            return score._replace(label="true" if score.score >= self._threshold else "false")
        return score

    def warm_up(self, last: Any) -> int:
        """Return the rows of a detector's first window, whose scores are all 0."""
        found = _detector(last)
        if isinstance(found, anomaly.GaussianScorer):
            return max(1, int(found.grace_period))
        if isinstance(found, anomaly.PredictiveAnomalyDetection):
            return max(1, int(found.warmup_period))
        return int(found.window_size) if isinstance(found, anomaly.HalfSpaceTrees) else 1


def _detector(model: Any) -> Any:
    """Return the detector at the end of a pipeline, without the filters around it."""
    found = utils.inspect.extract_relevant(model)
    while isinstance(found, anomaly.base.AnomalyFilter):
        found = utils.inspect.extract_relevant(found.anomaly_detector)
    return found


def _at_rest(last: Any, given: tuple[Any, ...]) -> Score:
    detector = _detector(last)
    kept = detector.dynamic_mae, detector.dynamic_se_variance
    detector.dynamic_mae, detector.dynamic_se_variance = deepcopy(kept)
    try:
        return number_score(last.score_one(*given))
    except _COLD:
        return NOT_READY
    finally:
        detector.dynamic_mae, detector.dynamic_se_variance = kept


def _watched(x: dict[str, Any]) -> tuple[dict[str, Any], float]:
    first = next(iter(x))
    return {name: value for name, value in x.items() if name != first}, x[first]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None
