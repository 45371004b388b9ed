"""Figures against River and scikit-learn, over all rows and over weighted ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
from river import metrics
from sklearn.metrics import f1_score, log_loss, r2_score, roc_auc_score
from thalweg.udfs.logic.measures import Answers, Totals, measure

DICE = np.random.default_rng(4)
SCORE = DICE.random(300)
TRUTH = (DICE.random(300) < SCORE).astype(float)
RIGHT = ((SCORE > 0.5) == (TRUTH > 0.5)).astype(float)
EVENTS = Answers(SCORE, TRUTH, RIGHT, np.where(TRUTH > 0.5, SCORE, 1 - SCORE), (SCORE > 0.5).astype(float))
NUMBERS = Answers(1e6 + SCORE * 9, 1e6 + SCORE * 9 + DICE.normal(0, 1, 300), RIGHT, RIGHT, RIGHT)


@pytest.mark.parametrize("name", ["MAE", "RMSE", "MSE", "MAPE", "SMAPE", "RMSLE", "R2"])
def test_numbers_are_rivers(name: str) -> None:
    one = getattr(metrics, name)()
    for truth, score in zip(NUMBERS.truth.tolist(), NUMBERS.score.tolist(), strict=True):
        one.update(truth, score)
    totals = Totals((name,), "number", False)
    for part in np.array_split(np.arange(300), 7):
        totals.add(Answers(*(values[part] for values in NUMBERS)), np.ones(len(part), dtype=int))
        state = json.loads(json.dumps(totals.state()))
        totals = Totals((name,), "number", False)
        totals.load(state)
    assert totals.value(name) == pytest.approx(one.get(), rel=1e-6)
    assert measure(name, "number", NUMBERS, np.ones(300)) == pytest.approx(one.get(), rel=1e-6)


def test_weighted_figures_are_scikit_learns() -> None:
    weight = 0.5 ** (np.arange(299, -1, -1.0) / 30)
    truth = TRUTH > 0.5
    expected = {
        "ROCAUC": roc_auc_score(truth, SCORE, sample_weight=weight),
        "LogLoss": log_loss(truth, SCORE, sample_weight=weight),
        "F1": f1_score(truth, SCORE > 0.5, sample_weight=weight),
    }
    assert {name: measure(name, "boolean", EVENTS, weight) for name in expected} == pytest.approx(expected)
    r2 = r2_score(NUMBERS.truth, NUMBERS.score, sample_weight=weight)
    assert measure("R2", "number", NUMBERS, weight) == pytest.approx(r2, rel=1e-6)


def test_nothing_has_no_figure() -> None:
    nothing = Answers(*(values[:0] for values in EVENTS))
    assert all(measure(name, "boolean", nothing, np.zeros(0)) is None for name in ("ROCAUC", "LogLoss", "ECE", "F1"))
