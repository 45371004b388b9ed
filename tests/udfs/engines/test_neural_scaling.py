"""Running mean and deviation against NumPy over all rows at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from thalweg.udfs.engines.neural_scaling import LIMIT, Scaling

numbers = st.floats(-1e6, 1e6, width=32)


@given(st.lists(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=5), min_size=1, max_size=6))
def test_mean_and_deviation_are_those_of_all_rows_however_they_came(parts: list[list[tuple[float, float]]]) -> None:
    scaling, other = Scaling(2), Scaling(2)
    for part in parts:
        scaling.learn(np.array(part))
    rows = np.array([row for part in parts for row in part])
    np.testing.assert_allclose(scaling.mean, rows.mean(axis=0), rtol=1e-9, atol=1e-6)
    finite = np.where(np.isfinite(scaling.deviation), scaling.deviation, 0)
    np.testing.assert_allclose(finite, rows.std(axis=0), rtol=1e-6, atol=1e-3)
    assert np.abs(scaling.scaled(rows)).max() <= LIMIT
    other.unpack(memoryview(scaling.pack()))
    assert other.pack() == scaling.pack()
    np.testing.assert_array_equal(other.scaled(rows), scaling.scaled(rows))


def test_what_has_not_varied_is_nothing() -> None:
    scaling = Scaling(1)
    assert scaling.scaled(np.array([[1e9]])).tolist() == [[0]]
    scaling.learn(np.array([[5.0], [5.0]]))
    assert scaling.scaled(np.array([[5.0], [6.0]])).tolist() == [[0], [0]]


def test_bytes_that_cannot_be_are_refused() -> None:
    scaling = Scaling(1)
    scaling.learn(np.array([[1.0], [3.0]]))
    good = scaling.pack()
    for bad in (
        good + b"\0",
        good[:-1],
        good[:16] + np.float64(-1).tobytes(),
        good[:8] + np.float64(np.nan).tobytes() + good[16:],
    ):
        with pytest.raises(ValueError, match="it "):
            Scaling(1).unpack(memoryview(bad))
