"""The calibration error, against its definition in a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from thalweg.udfs.logic.calibration import BINS, add_to_bins, calibration_error


def test_equals_the_definition_and_rows_can_be_taken_back() -> None:
    dice = np.random.default_rng(1)
    score, hit = dice.random(500), (dice.random(500) < 0.3).astype(float)
    bins = np.zeros((3, BINS))
    add_to_bins(bins, score, hit, np.ones(500))
    expected = 0.0
    for at in range(BINS):
        inside = (score >= at / BINS) & (score < (at + 1) / BINS)
        if inside.any():
            expected += inside.mean() * abs(score[inside].mean() - hit[inside].mean())
    assert calibration_error(bins) == pytest.approx(expected)
    add_to_bins(bins, np.array([0.99, 1.0]), np.zeros(2), np.array([1.0, 1.0]))
    assert calibration_error(bins) != pytest.approx(expected)
    add_to_bins(bins, np.array([0.99, 1.0]), np.zeros(2), np.array([-1.0, -1.0]))
    assert calibration_error(bins) == pytest.approx(expected)


def test_without_rows_there_is_none() -> None:
    assert calibration_error(np.zeros((3, BINS))) is None
