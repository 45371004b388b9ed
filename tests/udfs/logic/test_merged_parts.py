"""Figures of parallel parts, merged: those of one that was fed all rows, and how far a sketch may be off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from thalweg.udfs.logic.label_arrivals import LabelArrivals
from thalweg.udfs.logic.measures import Answers, Totals
from thalweg.udfs.logic.metrics import RankHistogram, default_metrics, known_metrics, roc_auc

METRICS = {
    "boolean": (*known_metrics("classification", "boolean"), "FBeta(beta=2)", "Precision@5%", "Recall@5%"),
    "string": (*known_metrics("classification", "string"), "HitRate@3", "NDCG@3", "MRR"),
    "number": known_metrics("regression", "number"),
}
EXACT = {"ROCAUC", "Precision@5%", "Recall@5%"}


def answers_of(kind: str, seed: int, count: int) -> tuple[Answers, Any]:
    """Answers with labels, and the weight of each row: some are taken back later."""
    dice = np.random.default_rng(seed)
    if kind == "number":
        truth = dice.normal(1e6, 3, count)
        score = truth + dice.normal(0, 1, count)
        return Answers(score, truth, np.zeros(count), np.zeros(count), np.zeros(count)), np.ones(count, dtype=np.int64)
    classes = 2 if kind == "boolean" else 5
    score = np.round(dice.random(count), dice.integers(1, 9))
    truth = dice.integers(0, classes, count).astype(float)
    predicted = (score > 0.5) * 1.0 if kind == "boolean" else dice.integers(0, classes, count).astype(float)
    right = np.where(predicted == truth, 1.0, 0.0 if kind == "boolean" else 0.5 / dice.integers(2, 9, count))
    weight = np.ones(count, dtype=np.int64)
    return Answers(score, truth, right, np.where(truth > 0.5, score, 1 - score), predicted), weight


def fed(kind: str, answers: Answers, weight: Any, rows: Any) -> Totals:
    totals = Totals(METRICS[kind], kind, kind != "number")
    for block in np.array_split(rows, 3):
        if len(block):
            totals.add(Answers(*(column[block] for column in answers)), weight[block])
    return totals


@pytest.mark.parametrize("kind", ["boolean", "string", "number"])
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 300), parts=st.integers(1, 7), order=st.integers(0, 99))
def test_a_stream_dealt_at_random_is_evaluated_as_by_one_thread(
    kind: str, seed: int, count: int, parts: int, order: int
) -> None:
    answers, weight = answers_of(kind, seed, count)
    one = fed(kind, answers, weight, np.arange(count))
    dealt = np.random.default_rng(order).integers(0, parts, count)
    merged = Totals(METRICS[kind], kind, kind != "number")
    for part in np.random.default_rng(order).permutation(parts):
        merged.merge(fed(kind, answers, weight, np.flatnonzero(dealt == part)))
    for metric in METRICS[kind]:
        expected, found = one.value(metric), merged.value(metric)
        assert (expected is None) == (found is None), metric
        if metric in EXACT or metric in ("Accuracy", "HitRate@3"):
            assert found == expected, metric
        elif expected is not None:
            assert found == pytest.approx(expected, rel=1e-9, abs=1e-9), metric
    assert {name: count for name, (_, count) in merged.sums.items()} == {n: c for n, (_, c) in one.sums.items()}
    assert merged.state()["pairs"] == one.state()["pairs"]


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(2, 400),
    spread=st.sampled_from([1e-6, 1e-3, 0.1, 1.0]),
    probabilities=st.booleans(),
)
def test_the_area_is_within_its_bound(seed: int, count: int, spread: float, probabilities: bool) -> None:
    """Scores that lie so near to one another that many of them share a bin."""
    dice = np.random.default_rng(seed)
    positive = dice.random(count) < 0.4
    score = 0.3 + spread * (dice.random(count) - 0.25) / 2 + spread / 20 * positive
    score = score if probabilities else 1e3 * score
    histogram = RankHistogram(probabilities)
    histogram.add(score, positive)
    exact, found, bound = roc_auc(score, positive), histogram.roc_auc(), histogram.error_bound()
    assert (exact is None) == (found is None) == (bound is None)
    if exact is not None and found is not None and bound is not None:
        assert exact == pytest.approx(roc_auc_score(positive, score))
        assert abs(found - exact) <= bound + 1e-12
        assert bound <= 0.5


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), parts=st.integers(1, 5))
def test_the_books_of_labels_merge_exactly(seed: int, parts: int) -> None:
    dice = np.random.default_rng(seed)
    count = int(dice.integers(1, 500))
    event_ms = np.sort(dice.integers(0, 100_000, count))
    labelled = dice.random(count) < 0.7
    delay = dice.integers(0, 640, count)
    dealt = dice.integers(0, parts, count)

    def book(rows: Any) -> LabelArrivals:
        arrivals = LabelArrivals(10, 640)
        arrivals.add(event_ms[rows], np.ones(len(rows), dtype=bool), labelled[rows], delay[rows][labelled[rows]], 0)
        return arrivals

    merged = LabelArrivals(10, 640)
    for part in range(parts):
        merged.merge(book(np.flatnonzero(dealt == part)))
    assert merged.measures(200_000) == book(np.arange(count)).measures(200_000)


def test_the_bound_of_spread_scores_is_small() -> None:
    dice = np.random.default_rng(1)
    score = dice.random(20_000)
    histogram = RankHistogram(True)
    histogram.add(score, dice.random(20_000) < score)
    assert histogram.error_bound() < 0.0011  # type: ignore[operator]


def test_default_metrics_are_among_those_that_merge() -> None:
    for task, output in (("classification", "boolean"), ("classification", "string"), ("regression", "number")):
        assert set(default_metrics(task, output)) <= set(METRICS[output])
