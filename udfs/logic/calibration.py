"""Whether probabilities mean what they say: the expected calibration error over 15 bins."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["BINS", "add_to_bins", "calibration_error"]

BINS = 15
"""Bins of equal width, as in Guo et al. (2017)."""


def add_to_bins(bins: Any, score: Any, hit: Any, weight: Any) -> None:
    """Count rows into the bins of their probability.

    Parameters
    ----------
    bins : array of float, shape (3, 15)
        Weight, weighted probability and weighted hits per bin; bins of parallel parts add up. Changed in place, one
        row after the other: the same bits however rows are cut into blocks.
    score, hit, weight : array of float, shape (n,)
        The probability (of the event, or of the class that was predicted), whether it was so (1.0 or 0.0), and the
        weight; -1 takes back a row that was counted.
    """
    chosen = np.clip((score * BINS).astype(np.int64), 0, BINS - 1)
    for row, values in enumerate((weight, weight * score, weight * hit)):
        np.add.at(bins[row], chosen, values)


def calibration_error(bins: Any) -> float | None:
    """Return the mean distance of probability and frequency over the bins, weighted by their rows; None without rows.

    References
    ----------
    Naeini et al. (2015); Guo et al., "On Calibration of Modern Neural Networks" (2017).

    Examples
    --------
    >>> bins = np.zeros((3, 15))
    >>> add_to_bins(bins, np.array([0.9, 0.9]), np.array([1.0, 0.0]), np.ones(2))
    >>> round(calibration_error(bins), 6)
    0.4
    """
    total = bins[0].sum()
    return float(np.abs(bins[1] - bins[2]).sum() / total) if total > 0 else None
