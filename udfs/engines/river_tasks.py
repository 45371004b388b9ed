"""What a River model is asked for, task by task: the label it learns and the Score it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from river import anomaly, cluster, conf, reco, utils
from thalweg.connector.errors import Problem, RecordError
from thalweg.udfs.engines.base import NOT_READY, EngineSpec, Score
from thalweg.udfs.engines.gate import usable

__all__ = ["TASKS", "UNFINISHED", "Task"]

UNFINISHED = Score(None, None, None, "refused", "the model's answer is not a finite number")
"""What a model answers whose numbers have diverged."""


class Task:
    """One task: checks the estimator, reads the label, teaches and asks the last step.

    Attributes
    ----------
    outputs : tuple of str
        The kinds of output it can have.
    labelled : bool
        Whether learning needs a label.
    """

    outputs: tuple[str, ...] = ("number", "integer")
    labelled = True

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec

    def fit(self, model: Any) -> Problem | None:
        """Return why ``model`` cannot do this task, or None."""
        raise NotImplementedError

    def label(self, value: Any) -> Any:
        """Return a label as the model shall see it; raises RecordError."""
        if value is None:
            raise RecordError(f"the label '{self.spec.output.name}' is missing")
        return float(usable(self.spec.output.name, self.spec.output.kind, value))

    def learn(self, last: Any, x: dict[str, Any], label: Any) -> None:
        """Teach the last step one row."""
        last.learn_one(x, label)

    def ask(self, last: Any, x: dict[str, Any]) -> Score:
        """Return the last step's answer."""
        raise NotImplementedError

    def warm_up(self, last: Any) -> int:
        """Return how many rows the model must have learned before its answers mean anything."""
        return 1


def _misfit(spec: EngineSpec, model: Any, wanted: str, remedy: str) -> Problem:
    name = type(utils.inspect.extract_relevant(model)).__name__
    return Problem(f"task '{spec.task}'", f"{name} is not {wanted}.", remedy)


class _Classification(Task):
    """Binary models answer with the probability of True, others with that of the predicted label."""

    outputs = ("boolean", "string", "integer")

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self._binary = spec.output.kind == "boolean"

    def fit(self, model: Any) -> Problem | None:
        if not utils.inspect.isclassifier(model):
            remedy = "End the pipeline with a classifier, such as linear_model.LogisticRegression()."
            return _misfit(self.spec, model, "a classifier", remedy)
        if not self._binary and not model._multiclass:  # noqa: SLF001
            remedy = "Wrap it, as in multiclass.OneVsRestClassifier(...), or declare the output BOOLEAN."
            return _misfit(self.spec, model, f"able to tell more than two classes of '{self.spec.output.name}'", remedy)
        return None

    def label(self, value: Any) -> Any:
        if value is None:
            raise RecordError(f"the label '{self.spec.output.name}' is missing")
        found = usable(self.spec.output.name, self.spec.output.kind, value)
        return found if self._binary else str(found)

    def ask(self, last: Any, x: dict[str, Any]) -> Score:
        try:
            odds = last.predict_proba_one(x)
        except NotImplementedError:
            predicted = last.predict_one(x)
            odds = {} if predicted is None else {predicted: 1.0}
        if not odds:
            return NOT_READY
        if self._binary:
            event = float(odds.get(True, 0.0))
            if not isfinite(event):
                return UNFINISHED
            return Score(event, "true" if max(odds, key=odds.get) else "false")
        best = max(odds, key=odds.get)
        shares = {str(label): float(share) for label, share in odds.items()}
        if not all(map(isfinite, shares.values())):
            return UNFINISHED
        return Score(float(odds[best]), str(best), shares)


class _Regression(Task):
    def fit(self, model: Any) -> Problem | None:
        if utils.inspect.isregressor(model) or isinstance(model, conf.RegressionJackknife):
            return None
        remedy = "End the pipeline with a regressor, such as linear_model.LinearRegression()."
        return _misfit(self.spec, model, "a regressor", remedy)

    def ask(self, last: Any, x: dict[str, Any]) -> Score:
        return _number(last.predict_one(x))


def _number(answer: Any) -> Score:
    if answer is None:
        return NOT_READY
    value = float(answer)
    return Score(value) if isfinite(value) else UNFINISHED


class _Anomaly(Task):
    """Higher is more anomalous. A detector of one variable watches the first feature, the others are its context."""

    outputs = ("number",)
    labelled = False

    def fit(self, model: Any) -> Problem | None:
        relevant = utils.inspect.extract_relevant(model)
        kinds = (anomaly.base.AnomalyDetector, anomaly.base.SupervisedAnomalyDetector, anomaly.base.AnomalyFilter)
        if isinstance(relevant, kinds):
            watched = self.spec.inputs[0]
            if isinstance(relevant, anomaly.base.SupervisedAnomalyDetector) and watched.kind != "number":
                return _misfit(
                    self.spec, model, f"able to watch '{watched.name}', a {watched.kind}", "Put a number first."
                )
            return None
        remedy = "End the pipeline with a detector, such as anomaly.HalfSpaceTrees()."
        return _misfit(self.spec, model, "an anomaly detector", remedy)

    def label(self, value: Any) -> Any:
        return None

    def learn(self, last: Any, x: dict[str, Any], label: Any) -> None:
        if isinstance(last, anomaly.base.SupervisedAnomalyDetector):
            last.learn_one(*_watched(x))
        else:
            last.learn_one(x)

    def ask(self, last: Any, x: dict[str, Any]) -> Score:
        if isinstance(last, anomaly.base.SupervisedAnomalyDetector):
            return _number(last.score_one(*_watched(x)))
        return _number(last.score_one(x))

    def warm_up(self, last: Any) -> int:
        relevant = utils.inspect.extract_relevant(last)
        if isinstance(relevant, anomaly.base.AnomalyFilter):
            relevant = utils.inspect.extract_relevant(relevant.anomaly_detector)
        return int(relevant.window_size) if isinstance(relevant, anomaly.HalfSpaceTrees) else 1


def _watched(x: dict[str, Any]) -> tuple[dict[str, Any], float]:
    first = next(iter(x))
    return {name: value for name, value in x.items() if name != first}, x[first]


class _Clustering(Task):
    outputs = ("integer", "string", "number")
    labelled = False
    # These form their clusters when they are asked, and keep them; so that asking changes nothing, they are asked
    # at once.
    _lazy = (cluster.DBSTREAM, cluster.DenStream)

    def fit(self, model: Any) -> Problem | None:
        if utils.inspect.isclusterer(model):
            return None
        return _misfit(self.spec, model, "a clusterer", "End the pipeline with a clusterer, such as cluster.KMeans().")

    def label(self, value: Any) -> Any:
        return None

    def learn(self, last: Any, x: dict[str, Any], label: Any) -> None:
        last.learn_one(x)
        if isinstance(last, self._lazy):
            self.ask(last, x)

    def ask(self, last: Any, x: dict[str, Any]) -> Score:
        try:
            number = last.predict_one(x)
        except (AttributeError, IndexError, KeyError, ValueError, ZeroDivisionError):
            return NOT_READY  # River's clusterers fail in these ways until they have formed their first clusters
        return NOT_READY if number is None else Score(float(number), str(int(number)))


class _Recommendation(Task):
    """The first input is the user, the second the item, the rest is the context."""

    def fit(self, model: Any) -> Problem | None:
        if not isinstance(model, reco.base.Ranker):
            return _misfit(self.spec, model, "a recommender", "Use reco.BiasedMF(), reco.FunkMF() or reco.Baseline().")
        if len(self.spec.inputs) < 2 or any(field.kind not in ("string", "integer") for field in self.spec.inputs[:2]):
            inputs = ", ".join(f"{name} {kind}" for name, kind in self.spec.inputs)
            remedy = "Declare the user and the item first, each a string or an integer."
            return Problem(f"task '{self.spec.task}'", f"the inputs are {inputs}.", remedy)
        return None

    def learn(self, last: Any, x: dict[str, Any], label: Any) -> None:
        user, item, *_ = x.values()
        last.learn_one(user, item, label, dict(list(x.items())[2:]) or None)

    def ask(self, last: Any, x: dict[str, Any]) -> Score:
        user, item, *_ = x.values()
        return _number(last.predict_one(user, item, dict(list(x.items())[2:]) or None))


TASKS: Mapping[str, Callable[[EngineSpec], Task]] = {
    "anomaly": _Anomaly,
    "classification": _Classification,
    "clustering": _Clustering,
    "recommendation": _Recommendation,
    "regression": _Regression,
}
"""The tasks River models can do, by name."""
