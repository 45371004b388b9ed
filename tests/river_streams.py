"""River's bundled data sets as streams of examples, each with a model as a text and as the River object it stands for.

One table for all who compare with River's own loop: the pure engine, and the flow around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import river_data as data
from river import (
    anomaly,
    bandit,
    cluster,
    compose,
    ensemble,
    feature_extraction,
    forest,
    linear_model,
    metrics,
    model_selection,
    multiclass,
    naive_bayes,
    neighbors,
    optim,
    preprocessing,
    proba,
    reco,
    stats,
    time_series,
    tree,
)
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.river_limits import MAX_DEPTH

__all__ = ["STREAMS", "Stream"]

_KINDS = {float: "number", int: "integer", bool: "boolean", str: "string"}


class Stream(NamedTuple):
    """One data set and one model.

    Attributes
    ----------
    name : str
        Data set and model, unique.
    task : str
        Task of the model.
    examples : callable
        Returns the rows with their labels, each value of its declared kind, under names that SQL takes as they are.
    text : str
        The model text.
    model : callable
        Returns the River model that the text stands for, with the bounds of growth that are the default.
    inputs : tuple of Field
        Features.
    output : Field
        The label; a task without labels ignores it.
    params : mapping of str to str
        Engine options.
    cold : int
        How many answers at the start are ``not_ready``.
    same_state : bool
        Whether asking leaves no trace in River's own model, so that it ends in the very state of ours.
    """

    name: str
    task: str
    examples: Callable[[], data.Examples]
    text: str
    model: Callable[[], Any]
    inputs: tuple[Field, ...]
    output: Field
    params: Mapping[str, str]
    cold: int
    same_state: bool

    def spec(self) -> EngineSpec:
        """Return what the engine is built from."""
        return EngineSpec("river", self.task, self.text, self.inputs, self.output, tuple(sorted(self.params.items())))


STREAMS: list[Stream] = []


def _add(
    task: str,
    examples: Callable[[], data.Examples],
    text: str,
    model: Callable[[], Any],
    cold: int = 1,
    same_state: bool = True,
    **params: str,
) -> None:
    row, label = next(examples())
    inputs = tuple(Field(name, _KINDS[type(value)]) for name, value in row.items())
    output = Field("y", "number" if task == "anomaly" else "integer" if task == "clustering" else _KINDS[type(label)])
    if task == "forecasting" and "passengers" in row:
        output = Field("passengers", "number")  # the series itself: it is no feature
    name = f"{examples.__name__}: {text}"
    STREAMS.append(Stream(name, task, examples, text, model, inputs, output, params, cold, same_state))


_SCALED, _LOGISTIC = "preprocessing.StandardScaler() | ", "linear_model.LogisticRegression()"


def _scaled(last: Any) -> Any:
    return preprocessing.StandardScaler() | last


def _table() -> None:
    add = partial(_add, "classification")
    add(data.phishing, _SCALED + _LOGISTIC, lambda: _scaled(linear_model.LogisticRegression()))
    add(
        data.phishing,
        "tree.HoeffdingTreeClassifier(grace_period=50)",
        lambda: tree.HoeffdingTreeClassifier(grace_period=50, max_depth=MAX_DEPTH),
    )
    add(
        data.phishing,
        "ensemble.ADWINBaggingClassifier(linear_model.LogisticRegression(), n_models=3, seed=7)",
        lambda: ensemble.ADWINBaggingClassifier(linear_model.LogisticRegression(), n_models=3, seed=7),
    )
    add(
        data.phishing,
        "forest.ARFClassifier(n_models=3, seed=7)",
        lambda: forest.ARFClassifier(n_models=3, seed=7, max_depth=MAX_DEPTH),
        same_state=False,
    )
    add(
        data.phishing,
        "anomaly.QuantileFilter(anomaly.OneClassSVM(), q=0.9) | linear_model.LogisticRegression()",
        lambda: anomaly.QuantileFilter(anomaly.OneClassSVM(), q=0.9) | linear_model.LogisticRegression(),
    )
    add(
        data.bananas,
        "feature_extraction.PolynomialExtender() | feature_extraction.RBFSampler(n_components=9, "
        "seed=3) | linear_model.PAClassifier()",
        lambda: (
            feature_extraction.PolynomialExtender()
            | feature_extraction.RBFSampler(n_components=9, seed=3)
            | linear_model.PAClassifier()
        ),
    )
    add(
        data.phishing_words,
        "feature_extraction.BagOfWords(on='words') | naive_bayes.MultinomialNB()",
        lambda: feature_extraction.BagOfWords(on="words") | naive_bayes.MultinomialNB(),
    )
    add(
        data.phishing_words,
        "feature_extraction.BagOfWords(on='words', ngram_range=(1, 2), stop_words={'of', 'in'}) | "
        "naive_bayes.ComplementNB()",
        lambda: (
            feature_extraction.BagOfWords(on="words", ngram_range=(1, 2), stop_words={"of", "in"})
            | naive_bayes.ComplementNB()
        ),
    )
    add(
        data.phishing_words,
        "feature_extraction.BagOfWords(on='words') | preprocessing.FeatureHasher(n_features=20, seed=7) | "
        "compose.Prefixer('h') | linear_model.LogisticRegression()",
        lambda: (
            feature_extraction.BagOfWords(on="words")
            | preprocessing.FeatureHasher(n_features=20, seed=7)
            | compose.Prefixer("h")
            | linear_model.LogisticRegression()
        ),
    )
    add(
        data.phishing_words,
        "(compose.Select('age') | preprocessing.StandardScaler()) + "
        "feature_extraction.TFIDF(on='words') | linear_model.LogisticRegression()",
        lambda: (
            (compose.Select("age") | preprocessing.StandardScaler()) + feature_extraction.TFIDF(on="words")
            | linear_model.LogisticRegression()
        ),
    )
    add(
        data.phishing_words,
        "(compose.Select('hint') | preprocessing.OrdinalEncoder()) + compose.Select('age') | naive_bayes.GaussianNB()",
        lambda: (
            (compose.Select("hint") | preprocessing.OrdinalEncoder()) + compose.Select("age") | naive_bayes.GaussianNB()
        ),
    )
    add(
        data.phishing_words,
        "compose.Select('age') + feature_extraction.TargetAgg(by=['hint', 'age'], "
        "how=stats.BayesianMean(0.5, 3)) | linear_model.LogisticRegression()",
        lambda: (
            compose.Select("age") + feature_extraction.TargetAgg(by=["hint", "age"], how=stats.BayesianMean(0.5, 3))
            | linear_model.LogisticRegression()
        ),
    )
    add(
        data.bananas,
        "forest.AMFClassifier(n_estimators=3, seed=7)",
        lambda: forest.AMFClassifier(n_estimators=3, seed=7),
    )
    add(data.bananas, _SCALED + "linear_model.ALMAClassifier()", lambda: _scaled(linear_model.ALMAClassifier()))
    add(
        data.bananas,
        "model_selection.BanditClassifier([naive_bayes.GaussianNB(), linear_model.PAClassifier()], "
        "metrics.Accuracy(), bandit.EpsilonGreedy(0.3, seed=7))",
        lambda: model_selection.BanditClassifier(
            [naive_bayes.GaussianNB(), linear_model.PAClassifier()],
            metrics.Accuracy(),
            bandit.EpsilonGreedy(0.3, seed=7),
        ),
    )
    add(data.segments, _SCALED + "naive_bayes.GaussianNB()", lambda: _scaled(naive_bayes.GaussianNB()))
    add(
        data.segments,
        "neighbors.KNNClassifier(engine=neighbors.LazySearch(window_size=50))",
        lambda: neighbors.KNNClassifier(engine=neighbors.LazySearch(window_size=50)),
    )
    add(
        data.segments_arriving,
        _SCALED + "multiclass.OneVsRestClassifier(linear_model.LogisticRegression())",
        lambda: _scaled(multiclass.OneVsRestClassifier(linear_model.LogisticRegression())),
    )
    add(
        data.segments_arriving,
        "tree.HoeffdingAdaptiveTreeClassifier(grace_period=30, seed=7)",
        lambda: tree.HoeffdingAdaptiveTreeClassifier(grace_period=30, seed=7, max_depth=MAX_DEPTH),
    )
    add(
        data.segments_arriving,
        _SCALED + "linear_model.SoftmaxRegression()",
        lambda: _scaled(linear_model.SoftmaxRegression()),
    )

    add = partial(_add, "regression")
    add(
        data.approval,
        _SCALED + "linear_model.LinearRegression(optim.SGD(0.1))",
        lambda: _scaled(linear_model.LinearRegression(optim.SGD(0.1))),
    )
    add(
        data.approval,
        "tree.HoeffdingAdaptiveTreeRegressor(grace_period=50, seed=7)",
        lambda: tree.HoeffdingAdaptiveTreeRegressor(grace_period=50, seed=7, max_depth=MAX_DEPTH),
    )
    add(
        data.approval,
        "preprocessing.TargetStandardScaler(neighbors.KNNRegressor(engine=neighbors.LazySearch(window_size=50)))",
        lambda: preprocessing.TargetStandardScaler(neighbors.KNNRegressor(engine=neighbors.LazySearch(window_size=50))),
    )
    add(
        data.chicks,
        "(compose.Select('time') | preprocessing.StandardScaler()) + (compose.Select('diet') | "
        "preprocessing.OneHotEncoder(drop_zeros=True)) + feature_extraction.TargetAgg(by='chick', how=stats.EWMean())"
        " | linear_model.LinearRegression()",
        lambda: (
            (compose.Select("time") | preprocessing.StandardScaler())
            + (compose.Select("diet") | preprocessing.OneHotEncoder(drop_zeros=True))
            + feature_extraction.TargetAgg(by="chick", how=stats.EWMean())
            | linear_model.LinearRegression()
        ),
    )

    add = partial(_add, "anomaly")
    add(
        data.banana_points,
        "preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(n_trees=3, height=5, window_size=50, seed=7)",
        lambda: preprocessing.MinMaxScaler() | anomaly.HalfSpaceTrees(n_trees=3, height=5, window_size=50, seed=7),
        cold=50,
    )
    add(
        data.banana_points,
        _SCALED + "anomaly.QuantileFilter(anomaly.OneClassSVM(nu=0.2), q=0.95)",
        lambda: _scaled(anomaly.QuantileFilter(anomaly.OneClassSVM(nu=0.2), q=0.95)),
    )
    add(
        data.few_banana_points,
        "anomaly.LocalOutlierFactor(n_neighbors=5)",
        lambda: anomaly.LocalOutlierFactor(n_neighbors=5),
        threshold="1.5",
    )
    add(
        data.banana_points,
        "anomaly.GaussianScorer(grace_period=20)",
        lambda: anomaly.GaussianScorer(grace_period=20),
        cold=20,
        threshold="0.99",
    )
    add(
        data.banana_points,
        "anomaly.PredictiveAnomalyDetection(linear_model.LinearRegression(), warmup_period=5)",
        lambda: anomaly.PredictiveAnomalyDetection(linear_model.LinearRegression(), warmup_period=5),
        cold=5,
    )

    add = partial(_add, "clustering")
    add(
        data.phishing_words,
        "feature_extraction.BagOfWords(on='words') | cluster.TextClust(real_time_fading=False, tgap=20)",
        lambda: feature_extraction.BagOfWords(on="words") | cluster.TextClust(real_time_fading=False, tgap=20),
    )
    add(data.banana_points, "cluster.KMeans(n_clusters=4, seed=7)", lambda: cluster.KMeans(n_clusters=4, seed=7))
    add(
        data.banana_points,
        "cluster.STREAMKMeans(chunk_size=20, n_clusters=3, seed=7)",
        lambda: cluster.STREAMKMeans(chunk_size=20, n_clusters=3, seed=7),
    )
    add(
        data.banana_points,
        "cluster.DBSTREAM(clustering_threshold=0.5)",
        lambda: cluster.DBSTREAM(clustering_threshold=0.5),
        same_state=False,
    )

    add = partial(_add, "forecasting")
    add(
        data.passengers,
        "time_series.HoltWinters(0.3, 0.1, 0.6, seasonality=12, multiplicative=True)",
        lambda: time_series.HoltWinters(0.3, 0.1, 0.6, seasonality=12, multiplicative=True),
        cold=12,
        horizon="12",
    )
    add(
        data.passengers,
        "compose.Discard('month') | time_series.SNARIMAX(p=12, d=1, q=12, m=12, sd=1)",
        lambda: compose.Discard("month") | time_series.SNARIMAX(p=12, d=1, q=12, m=12, sd=1),
        cold=14,
        horizon="3",
    )
    add(
        data.water,
        "time_series.SNARIMAX(p=3, d=0, q=2, m=24, sp=1, regressor=preprocessing.StandardScaler() | "
        "linear_model.LinearRegression(optim.SGD(0.01)))",
        lambda: time_series.SNARIMAX(
            p=3, d=0, q=2, m=24, sp=1, regressor=_scaled(linear_model.LinearRegression(optim.SGD(0.01)))
        ),
        horizon="3",
    )

    add = partial(_add, "recommendation")
    add(data.chicks, "reco.BiasedMF(n_factors=4, seed=7)", lambda: reco.BiasedMF(n_factors=4, seed=7))
    add(data.chicks, "reco.Baseline(seed=7)", lambda: reco.Baseline(seed=7))

    add, arms = partial(_add, "bandit"), ", ".join(data.ARMS)
    add(
        data.phishing_arms,
        "bandit.EpsilonGreedy(0.2, decay=0.01, burn_in=3, seed=7)",
        lambda: bandit.EpsilonGreedy(0.2, decay=0.01, burn_in=3, seed=7),
        arms=arms,
    )
    add(
        data.phishing_arms,
        "bandit.ThompsonSampling(proba.Beta(seed=3), seed=7)",
        lambda: bandit.ThompsonSampling(proba.Beta(seed=3), seed=7),
        arms=arms,
    )
    add(data.phishing_arms, "bandit.Exp3(0.2, seed=7)", lambda: bandit.Exp3(0.2, seed=7), arms=arms)
    add(data.phishing_arms, "bandit.UCB(0.5, seed=7)", lambda: bandit.UCB(0.5, seed=7), arms=arms)
    add(data.phishing_arms, _SCALED + "bandit.LinUCBDisjoint(seed=7)",
         lambda: _scaled(bandit.LinUCBDisjoint(seed=7)), arms=arms)  # fmt: skip


_table()
