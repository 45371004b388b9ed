"""Metrics against scikit-learn, the independent source."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference
from thalweg.udfs.logic.metrics import RankHistogram, default_metrics, losses, roc_auc, unknown_metrics

PAIRS = st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=2, max_size=200)


@given(PAIRS)
def test_roc_auc_is_scikit_learns_ties_included(pairs: list[tuple[int, bool]]) -> None:
    score = np.array([p / 50 for p, _ in pairs])
    truth = np.array([t for _, t in pairs])
    if truth.all() or not truth.any():
        assert roc_auc(score, truth) is None
    else:
        assert roc_auc(score, truth) == pytest.approx(reference.roc_auc_score(truth, score), abs=1e-12)


@pytest.mark.parametrize("rare", [0.5, 0.01])
def test_the_histogram_is_close_and_adds_up(rare: float) -> None:
    pick = np.random.default_rng(3)
    truth = pick.random(50_000) < rare
    score = 1 / (1 + np.exp(-(pick.normal(size=50_000) + truth - 4)))
    whole, left, right = (RankHistogram(True) for _ in range(3))
    whole.add(score, truth)
    left.add(score[:7000], truth[:7000])
    right.add(score[7000:], truth[7000:])
    left.counts += right.counts
    assert left.roc_auc() == whole.roc_auc() == pytest.approx(reference.roc_auc_score(truth, score), abs=5e-4)


def test_losses_are_scikit_learns() -> None:
    pick = np.random.default_rng(4)
    truth, score = pick.random(1000) < 0.4, pick.random(1000)
    p_true, right = np.where(truth, score, 1 - score), (score > 0.5) == truth

    def mean(metric: str) -> float:
        return float(losses(metric, score, truth.astype(float), right, p_true).mean())

    assert mean("LogLoss") == pytest.approx(reference.log_loss(truth, score))
    assert mean("Brier") == pytest.approx(reference.brier_score_loss(truth, score))
    assert mean("Accuracy") == pytest.approx(reference.accuracy_score(truth, score > 0.5))
    target = pick.normal(size=1000)
    assert losses("MAE", score, target, right, p_true).mean() == pytest.approx(
        reference.mean_absolute_error(target, score)
    )
    assert losses("RMSE", score, target, right, p_true).mean() == pytest.approx(
        reference.mean_squared_error(target, score)
    )


def test_a_certain_and_wrong_answer_stays_finite() -> None:
    assert np.isfinite(losses("LogLoss", np.array([1.0]), np.array([0.0]), np.array([False]), np.array([0.0]))).all()


def test_a_bandit_is_measured_by_what_its_arms_have_brought() -> None:
    (metric,) = default_metrics("bandit", "number")
    nothing = np.zeros(3)
    rewards = losses(metric, np.array([0.5, 0.5, 9.0]), np.array([1.0, 0.0, 2.0]), nothing > 0, nothing)
    assert rewards.mean() == 1.0
    assert unknown_metrics("bandit", ["Reward", "MAE"]) == ["MAE"]
    assert default_metrics("forecasting", "number") == ("MAE", "RMSE")


def test_names() -> None:
    assert unknown_metrics("regression", ["MAE", "ROCAUC"]) == ["ROCAUC"]
    assert default_metrics("classification", "string") == ("LogLoss", "Accuracy")
