"""What a River model is asked for, task by task: the label it learns and the Score it gives."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import isfinite
from typing import Any

from river import cluster, conf, reco, utils
from thalweg.connector.errors import Problem, RecordError
from thalweg.udfs.engines.base import NOT_READY, EngineSpec, Score
from thalweg.udfs.engines.gate import usable
from thalweg.udfs.engines.river_anomaly import Anomaly
from thalweg.udfs.engines.river_bandit import Bandit
from thalweg.udfs.engines.river_forecast import Forecasting
from thalweg.udfs.engines.river_task import UNFINISHED, Task, number_score

__all__ = ["TASKS"]


class _Classification(Task):
    """Binary models answer with the probability of True, others with that of the predicted label."""

    outputs = ("boolean", "string", "integer")

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self._binary = spec.output.kind == "boolean"

    def fit(self, model: Any) -> Problem | None:
        if not utils.inspect.isclassifier(model):
            remedy = "End the pipeline with a classifier, such as linear_model.LogisticRegression()."
            return self.misfit(model, "a classifier", remedy)
        if not self._binary and not model._multiclass:  # noqa: SLF001
            remedy = "Wrap it, as in multiclass.OneVsRestClassifier(...), or declare the output BOOLEAN."
            return self.misfit(model, f"able to tell more than two classes of '{self.spec.output.name}'", remedy)
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
        if utils.inspect.isregressor(model) or isinstance(
            utils.inspect.extract_relevant(model), conf.RegressionJackknife
        ):
            return None
        remedy = "End the pipeline with a regressor, such as linear_model.LinearRegression()."
        return self.misfit(model, "a regressor", remedy)

    def ask(self, last: Any, x: dict[str, Any]) -> Score:
        return number_score(last.predict_one(x))


class _Clustering(Task):
    outputs = ("integer", "string", "number")

    def fit(self, model: Any) -> Problem | None:
        # These form or fade their clusters when they are asked, and keep that; so that asking changes nothing, they are
        # asked at once.
        lazy = (cluster.DBSTREAM, cluster.DenStream, cluster.TextClust)
        self._lazy = isinstance(utils.inspect.extract_relevant(model), lazy)
        if utils.inspect.isclusterer(model):
            return None
        return self.misfit(model, "a clusterer", "End the pipeline with a clusterer, such as cluster.KMeans().")

    def label(self, value: Any) -> Any:
        return None

    def learn(self, last: Any, x: dict[str, Any], label: Any) -> None:
        last.learn_one(x)
        if self._lazy:
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
            return self.misfit(model, "a recommender", "Use reco.BiasedMF(), reco.FunkMF() or reco.Baseline().")
        if len(self.spec.inputs) < 2 or any(field.kind not in ("string", "integer") for field in self.spec.inputs[:2]):
            inputs = ", ".join(f"{name} {kind}" for name, kind in self.spec.inputs)
            remedy = "Declare the user and the item first, each a string or an integer."
            return Problem(f"task '{self.spec.task}'", f"the inputs are {inputs}.", remedy)
        return None

    def may_lack(self, lenient: bool) -> Collection[str]:
        return list(super().may_lack(lenient))[2:]

    def learn(self, last: Any, x: dict[str, Any], label: Any) -> None:
        user, item, *_ = x.values()
        last.learn_one(user, item, label, dict(list(x.items())[2:]) or None)

    def ask(self, last: Any, x: dict[str, Any]) -> Score:
        user, item, *_ = x.values()
        return number_score(last.predict_one(user, item, dict(list(x.items())[2:]) or None))


TASKS: Mapping[str, type[Task]] = {
    "anomaly": Anomaly,
    "bandit": Bandit,
    "classification": _Classification,
    "clustering": _Clustering,
    "forecasting": Forecasting,
    "recommendation": _Recommendation,
    "regression": _Regression,
}
"""The tasks River models can do, by name."""
