"""The quantile of scores: held against NumPy's, in constant memory, whatever the order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines.midas_quantile import ABOVE, UNKNOWN, WITHIN, ScoreQuantile


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.999])
def test_the_quantile_is_that_of_numpy(share: float) -> None:
    scores = np.exp(np.random.default_rng(3).normal(0, 6, 19_000))  # fewer than are halved
    quantile = ScoreQuantile(share)
    quantile.judge(scores, learn=True)
    wanted = np.quantile(scores, share, method="inverted_cdf")
    around = wanted * np.array([1 - 1 / 32, 1 + 1 / 32])
    assert quantile.judge(around, learn=False).tolist() == [WITHIN, ABOVE]


def test_equal_scores_are_not_above_themselves() -> None:
    quantile = ScoreQuantile(0.99)
    flags = quantile.judge(np.zeros(1000), learn=True)
    assert flags[:100].tolist() == [UNKNOWN] * 100
    assert flags[100:].tolist() == [WITHIN] * 900
    assert quantile.judge(np.array([1e-9, 1.0, 1e300, np.finfo(float).max]), learn=False).tolist() == [0, 1, 1, 1]


def test_the_quantile_follows_scores_that_grow() -> None:
    quantile = ScoreQuantile(0.9)
    scores = np.random.default_rng(5).exponential(size=100_000) * np.repeat([1.0, 1000.0], 50_000)
    flags = quantile.judge(scores, learn=True)
    assert flags[50_000:50_500].mean() > 0.5
    assert 0.08 < flags[80_000:].mean() < 0.12


@given(st.lists(st.floats(0, 1e40), max_size=300), st.sampled_from([0.5, 0.9]), st.integers(0, 300))
@settings(deadline=None)
def test_judging_goes_on_after_its_counts_were_taken(scores: list[float], share: float, stop: int) -> None:
    whole, first, second = ScoreQuantile(share), ScoreQuantile(share), ScoreQuantile(share)
    given = np.array(scores, np.float64)
    wanted = whole.judge(given, learn=True).tolist()
    found = first.judge(given[:stop], learn=True).tolist()
    second.take(first.counts)
    for at in range(stop, len(scores)):
        one = given[at : at + 1]
        asked = second.judge(one, learn=False).tolist()
        found += second.judge(one, learn=True).tolist()
        assert found[-1:] == asked
    assert found == wanted
    assert second.counts.tolist() == whole.counts.tolist()


def test_counts_that_cannot_be_are_refused() -> None:
    counts = ScoreQuantile(0.9).counts
    counts[5] = -1
    with pytest.raises(SnapshotError, match="cannot be"):
        ScoreQuantile(0.9).take(counts)
