"""What is looked at after every event errs no more often than it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom
from thalweg.udfs.logic.allocation import allocate, best_chances
from thalweg.udfs.logic.sample_ratio import SampleRatio
from thalweg.udfs.logic.sequential_tests import log_evidence, mean_interval, mismatch_evidence, rate_evidence

ALPHA = 0.1


def skewed(pick: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Differences with a mean of 0, a long tail, and every other one ten times as large as its neighbour."""
    return (pick.exponential(size=shape) - 1) * np.where(np.arange(shape[1]) % 2, 0.2, 2.0)


def ever(values: np.ndarray, least: int) -> np.ndarray:
    """Whether a run is ever decided, looked at after each value from the ``least``-th one on."""
    count = np.arange(1, values.shape[1] + 1)
    mean = np.cumsum(values, axis=1) / count
    variance = np.cumsum(np.square(values), axis=1) / count - np.square(mean)
    evidence = log_evidence(mean, variance, count, ALPHA, 500)
    return (evidence[:, least:] >= math.log(1 / ALPHA)).any(axis=1)


def test_equal_models_are_rarely_told_apart_and_others_nearly_always() -> None:
    pick = np.random.default_rng(5)
    equal = skewed(pick, (1000, 3000))
    found = int(ever(equal, 100).sum())
    # That many or fewer of 1,000 runs have a chance of one in 10,000 to be more if the rate is alpha.
    assert found <= binom.ppf(0.9999, 1000, ALPHA)
    naive = np.cumsum(equal, axis=1) / np.sqrt(np.cumsum(np.square(equal), axis=1))
    assert (np.abs(naive[:, 100:]) > 1.645).any(axis=1).mean() > 3 * ALPHA
    assert ever(equal + 0.2, 100).mean() > 0.99


def test_the_interval_leaves_0_out_exactly_where_the_evidence_decides() -> None:
    pick = np.random.default_rng(6)
    for _ in range(200):
        mean, variance, count = pick.normal(0, 0.1), pick.exponential(), int(pick.integers(2, 5000))
        found = mean_interval(mean, variance, count, ALPHA, 500)
        assert (found.lower > 0 or found.upper < 0) == (found.log_evidence > math.log(1 / ALPHA))
        assert found.log_evidence == pytest.approx(float(log_evidence(mean, variance, count, ALPHA, 500)))
        assert found.lower < found.value < found.upper
    for count, variance in ((0, 0.0), (1, 0.0), (500, 0.0)):
        assert mean_interval(0.5, variance, count, ALPHA, 500).lower == -math.inf


def test_rates_and_ratios_of_samples_hold_at_any_time() -> None:
    pick = np.random.default_rng(7)
    wrong = 0
    for _ in range(300):
        hits = np.cumsum(pick.random(2000) < 0.02)
        wrong += any(rate_evidence(int(hits[n]), n + 1, 0.02) >= math.log(1 / ALPHA) for n in range(0, 2000, 50))
    assert wrong <= binom.ppf(0.9999, 300, ALPHA)
    mismatched = 0
    for _ in range(300):
        arms = np.cumsum(np.eye(3)[pick.choice(3, 2000, p=[0.7, 0.2, 0.1])], axis=0)
        mismatched += any(
            mismatch_evidence([int(c) for c in arms[n]], [0.7, 0.2, 0.1]) >= math.log(1 / ALPHA)
            for n in range(0, 2000, 50)
        )
    assert mismatched <= binom.ppf(0.9999, 300, ALPHA)
    assert rate_evidence(80, 2000, 0.02) > math.log(1000)
    assert mismatch_evidence([7000, 1700, 1000], [0.7, 0.2, 0.1]) > math.log(1000)


def test_a_unit_with_many_events_counts_once_in_the_ratio_of_samples() -> None:
    pick = np.random.default_rng(8)
    keys = pick.integers(0, 2**64, 2000, dtype=np.uint64)
    arms = (pick.random(2000) < 0.5).astype(np.int64)
    often = np.repeat(np.arange(2000), np.where(arms == 1, 5, 1))
    ratio, by_blocks = SampleRatio(2), SampleRatio(2)
    ratio.add(keys[often], arms[often])
    for block in np.array_split(often, 7):
        by_blocks.add(keys[block], arms[block])
    assert not ratio.mismatch([0.5, 0.5])[0]
    assert (ratio.sums["units"] == by_blocks.sums["units"]).all()
    assert (ratio.seen == by_blocks.seen).all()
    assert 1900 < ratio.sums["units"].sum() <= 2000


def test_a_bandit_gives_each_arm_its_chance_to_be_the_best() -> None:
    means, errors = [0.1, 0.12, 0.11], [0.01, 0.012, 0.005]
    draws = np.random.default_rng(9).normal(means, errors, size=(200_000, 3))
    drawn = np.bincount(draws.argmax(axis=1), minlength=3) / len(draws)
    assert best_chances(means, errors) == pytest.approx(drawn.tolist(), abs=0.005)
    for policy in ("thompson", "epsilon", "ucb"):
        shares = allocate(policy, means, errors, [100, 100, 100], 0.3)
        assert min(shares) >= 10
        assert sum(shares) == pytest.approx(100, abs=0.02)
    assert allocate("ucb", [0.5, 0.4], [0.01, 0.2], [900, 9], 0.0) == [0.0, 100.0]
