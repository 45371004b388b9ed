"""Expected performance is the real one where probabilities mean what they say, and where labels tell what they mean."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score
from thalweg.udfs.logic.expected_performance import ExpectedPerformance
from thalweg.udfs.logic.signals import Attention, Signals, note


def estimated(known: np.ndarray, true_known: np.ndarray, served: np.ndarray, kind: str = "boolean") -> dict[str, float]:
    found = ExpectedPerformance(kind, len(served))
    nothing = np.zeros(0)
    found.add(nothing, known, true_known)
    found.add(served, nothing, nothing)
    found.close()
    return {name: value for name, value, _ in found.measures()}


@pytest.mark.parametrize("skew", [1.0, 2.5])
def test_the_estimate_is_what_the_labels_show_later(skew: float) -> None:
    """With skew the probabilities are wrong, which the labels before have shown; and events have become harder."""
    dice = np.random.default_rng(3)

    def events(spread: float) -> tuple[np.ndarray, np.ndarray]:
        logit = dice.normal(0, spread, 20_000)
        return 1 / (1 + np.exp(-skew * logit)), (dice.random(20_000) < 1 / (1 + np.exp(-logit))).astype(float)

    known, true_known = events(3.0)
    served, truth = events(1.0)
    found = estimated(known, true_known, served)
    assert found["estimated-LogLoss"] == pytest.approx(log_loss(truth, served), rel=0.05)
    assert found["estimated-ROCAUC"] == pytest.approx(roc_auc_score(truth, served), abs=0.02)
    assert found["estimated-Accuracy"] == pytest.approx(accuracy_score(truth, served > 0.5), abs=0.02)
    assert found["estimated-Brier"] == pytest.approx(brier_score_loss(truth, served), abs=0.015)
    assert found["estimated-LogLoss"] > log_loss(true_known, known) + 0.1  # the old figure would be wrong


def test_nothing_is_estimated_before_a_label_and_of_classes_the_accuracy() -> None:
    served = np.array([0.9, 0.6, np.nan])
    nothing = np.zeros(0)
    found = ExpectedPerformance("string", 10)
    found.add(served, nothing, nothing)
    found.close()
    assert found.measures() == []
    assert estimated(np.array([0.9]), np.array([1.0]), served, "string")["estimated-Accuracy"] == pytest.approx(
        0.75, abs=0.01
    )


def test_signals_come_back_as_they_were_and_watch_errors() -> None:
    attention = Attention((("a", "number"), ("score", "number")), 500, False, True, True)

    def step(signals: Signals, n: int) -> list[tuple[str, str, float, int]]:
        dice = np.random.default_rng(n)
        score, wrong = dice.random(400), dice.random(400) < (0.05 if n < 6 else 0.7)
        truth = ((score > 0.5) ^ wrong).astype(float)
        signals.take_notes([None, note(False, json.dumps([2, {"a": [0, [n], [2]]}]))])
        signals.take(score, score, truth, 1.0 - wrong)
        signals.close()
        return signals.measures()

    whole, parts = Signals("boolean", 1000, attention), Signals("boolean", 1000, attention)
    for n in range(10):
        again = Signals("boolean", 1000, attention)
        again.load(json.loads(json.dumps(parts.state())))
        parts = again
        found = step(whole, n)
        assert step(parts, n) == found
    told = {(name, window): value for name, window, value, _ in found}
    assert told["drift", "cumulative"] == 1.0
    assert "estimated-LogLoss" in {name for name, _ in told}
