"""Rankings are scikit-learn's, budgets what one counts by hand, and both can be named like any metric."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import ndcg_score, top_k_accuracy_score
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.logic.alert_rules import parse_rules
from thalweg.udfs.logic.evaluation import TOGETHER, Evaluator, Watch
from thalweg.udfs.logic.metrics import unknown_metrics
from thalweg.udfs.logic.options import Every
from thalweg.udfs.logic.outcomes import outcome_columns

CLASSES = ("a", "b", "c", "d", "e", "f")


def test_rankings_of_classes_are_scikit_learns() -> None:
    dice = np.random.default_rng(1)
    given = dice.dirichlet(np.ones(6), 300)
    truth = dice.integers(0, 6, 300)
    rows = [
        [TOGETHER] * 300,
        [f"e{n}" for n in range(300)],
        list(range(300)),
        list(range(300)),
        given.max(axis=1).tolist(),
        [CLASSES[n] for n in given.argmax(axis=1)],
        [json.dumps(dict(zip(CLASSES, row, strict=True))) for row in given.tolist()],
        [CLASSES[n] for n in truth],
    ]
    spec = EngineSpec("river", "classification", "m", (Field("x", "number"),), Field("y", "string"))
    names = ("Accuracy", "HitRate@3", "NDCG@3", "Recall@3", "MRR", "ECE")
    evaluator = Evaluator("classification", names, Every(300, None), 5000, 1000, Watch("string"))
    found = {(m.metric, m.window): m.value for m in evaluator.on_rows(outcome_columns(spec, rows))}
    one_hot = np.eye(6)[truth]
    for window in ("cumulative", "rolling"):
        hits = top_k_accuracy_score(truth, given, k=3, labels=range(6))
        assert found["HitRate@3", window] == pytest.approx(hits)
        assert found["Recall@3", window] == pytest.approx(hits)
        assert found["NDCG@3", window] == pytest.approx(ndcg_score(one_hot, given, k=3))
        assert found["Accuracy", window] == pytest.approx((given.argmax(axis=1) == truth).mean())
        places = (given > given[np.arange(300), truth][:, None]).sum(axis=1) + 1
        assert found["MRR", window] == pytest.approx((1 / places).mean())
        assert 0 < found["ECE", window] < 1


def test_the_budget_goes_to_the_highest_scores() -> None:
    dice = np.random.default_rng(2)
    score, truth = dice.normal(size=1000), dice.random(1000) < 0.05
    score = score + 3 * truth
    names = ("ROCAUC", "Precision@2%", "Recall@2%")
    evaluator = Evaluator("anomaly", names, Every(1000, None), 5000, 1000, Watch("boolean"))
    plain = [0.0] * 1000
    columns = [[TOGETHER] * 1000, list(range(1000)), list(range(1000)), score, truth * 1.0, plain, plain]
    found = {(m.metric, m.window): m.value for m in evaluator.on_rows(columns)}
    picked = truth[np.argsort(-score)[:20]]
    assert found["Precision@2%", "rolling"] == pytest.approx(picked.mean())
    assert found["Recall@2%", "rolling"] == pytest.approx(picked.sum() / truth.sum())
    assert found["Precision@2%", "cumulative"] == pytest.approx(picked.mean(), abs=0.05)


def test_rankings_and_budgets_are_known_where_they_make_sense() -> None:
    assert unknown_metrics("classification", ["HitRate@5", "NDCG@10", "MRR"], "string") == []
    assert unknown_metrics("anomaly", ["Precision@1%", "Recall@0.5%"], "boolean") == []
    assert unknown_metrics("regression", ["HitRate@5", "Precision@1%"], "number") == ["HitRate@5", "Precision@1%"]
    assert unknown_metrics("anomaly", ["Precision@0%", "NDCG@0"], "boolean") == ["Precision@0%", "NDCG@0"]
    assert parse_rules("Precision@1% < 0.3")[0].metric == "Precision@1%"
