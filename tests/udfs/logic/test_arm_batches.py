"""Batches show how uncertain a mean is where events that follow one another are alike."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from scipy.stats import t as student
from thalweg.udfs.logic.arm_batches import BATCHES, add_batches, batch_variance, widening


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3000), st.lists(st.integers(0, 3000), max_size=6))
def test_batches_are_sums_of_consecutive_values_in_any_blocks(count: int, cuts: list[int]) -> None:
    values = np.random.default_rng(count).normal(size=count)
    edges = sorted({0, count, *(cut for cut in cuts if cut < count)})
    totals = np.zeros(BATCHES)
    for start, stop in itertools.pairwise(edges):
        add_batches(totals, start, values[start:stop])
    whole = np.zeros(BATCHES)
    add_batches(whole, 0, values)
    assert totals.tolist() == whole.tolist()
    assert whole.sum() == pytest.approx(values.sum(), abs=1e-9)
    size = 1
    while size * BATCHES <= count:
        size *= 2
    batches = values[: count // size * size].reshape(-1, size)
    assert np.allclose(whole[: len(batches)], batches.sum(axis=1))
    expected = size * batches.mean(axis=1).var(ddof=1) * widening(len(batches), 0.05) if len(batches) > 1 else 0.0
    assert batch_variance(whole, count, 0.05) == pytest.approx(expected)


def test_regimes_widen_and_independent_values_do_not() -> None:
    pick = np.random.default_rng(3)
    found = {}
    for length in (1, 50):
        variances = []
        for _ in range(40):
            values = pick.normal(size=6400 // length).repeat(length)
            totals = np.zeros(BATCHES)
            add_batches(totals, 0, values)
            variances.append(batch_variance(totals, len(values), 0.05) / widening(12, 0.05))
        found[length] = np.mean(variances)
    assert found[1] == pytest.approx(1.0, rel=0.2)
    assert found[50] == pytest.approx(50.0, rel=0.2)  # a mean of 6400 values is as certain as one of 128


def test_the_widening_is_that_of_scipys_student() -> None:
    for batches in (8, 12, 16):
        for alpha in (0.05, 0.01, 0.001):
            exact = (student.isf(alpha / 2, batches - 1) / norm.isf(alpha / 2)) ** 2
            assert widening(batches, alpha) == pytest.approx(exact, rel=0.08), (batches, alpha)
