"""What would grow without end has a bound that the text can change, or advice."""

from __future__ import annotations

import random
from typing import Any

import pytest
from river import forest, tree
from thalweg.udfs.engines import build
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.engines.model_text import parse
from thalweg.udfs.engines.river_limits import MAX_DEPTH, worded
from thalweg.udfs.engines.safe_pickle import dumps


def test_a_tree_has_rivers_own_limit_unless_the_text_says_otherwise() -> None:
    def depth(text: str) -> Any:
        return parse(text).construct().max_depth

    assert depth("tree.HoeffdingTreeClassifier()") == depth("tree.SGTRegressor()") == MAX_DEPTH
    assert depth("tree.HoeffdingTreeClassifier(max_depth=3)") == 3
    assert depth("forest.ARFRegressor(seed=1)") == MAX_DEPTH
    unlimited = "tree.HoeffdingTreeClassifier(max_depth=None)"
    assert dumps(parse(unlimited).construct()) == dumps(tree.HoeffdingTreeClassifier())
    by_place = parse("tree.HoeffdingTreeClassifier(200, 5)").construct()
    assert by_place.max_depth == 5
    inner = parse("ensemble.BaggingClassifier(tree.HoeffdingTreeClassifier(), n_models=2)").construct()
    assert [model.max_depth for model in inner.models] == [MAX_DEPTH] * 2


@pytest.mark.parametrize("name", ["HoeffdingTreeClassifier", "ExtremelyFastDecisionTreeClassifier"])
def test_a_limited_tree_is_rivers_with_the_same_limit_and_stops(name: str) -> None:
    settings: dict[str, Any] = {"grace_period": 5, "delta": 0.9, "tau": 0.9}
    text = f"tree.{name}(grace_period=5, delta=0.9, tau=0.9, max_depth=2)"
    spec = EngineSpec("river", "classification", text, (Field("a", "number"),), Field("y", "string"))
    engine: Any = build(spec)
    plain = getattr(tree, name)(max_depth=2, **settings)
    dice = random.Random(8)
    for at in range(1500):
        x = {"a": dice.random()}
        y = "abc"[int(x["a"] * 12) % 3]
        answer = engine.step(x, y)
        assert at == 0 or answer.probabilities == plain.predict_proba_one(x)
        plain.learn_one(x, y)
    assert (engine.model.height, engine.model.n_leaves) == (3, 4)  # River counts the root
    unlimited = getattr(tree, name)(**settings)
    for _ in range(1500):
        a = dice.random()
        unlimited.learn_one({"a": a}, "abc"[int(a * 12) % 3])
    assert unlimited.n_leaves > 4


def test_models_without_any_bound_give_advice() -> None:
    for text in (
        "anomaly.LocalOutlierFactor()",
        "forest.AMFClassifier()",
        "feature_extraction.TFIDF(on='t') | naive_bayes.MultinomialNB()",
        "anomaly.ThresholdFilter(anomaly.OneClassSVM(), 0.5, protect_anomaly_detector=False)",
    ):
        (advice,) = parse(text).advice
        assert text.split("(")[0] in advice
    assert forest.AMFClassifier().n_estimators == 10  # the class that the advice is about still is what it was
    hashed = "feature_extraction.BagOfWords(on='t') | preprocessing.FeatureHasher(9) | naive_bayes.MultinomialNB()"
    for text in ("forest.ARFClassifier()", hashed):
        assert parse(text).advice == ()


def test_the_texts_that_are_taken_apart() -> None:
    plan = parse("feature_extraction.BagOfWords(on='body') + feature_extraction.TFIDF(True, 'title')").plan
    assert worded(plan, ["title", "body", "city"]) == ["title", "body"]
    assert worded(parse("feature_extraction.BagOfWords()").plan, ["a", "b"]) == ["a", "b"]
    assert worded(parse("compose.SelectType(str) | preprocessing.OneHotEncoder()").plan, ["a"]) == []
