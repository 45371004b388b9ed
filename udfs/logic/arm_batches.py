"""How much a mean really varies where events that follow one another are alike: variance between growing batches."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np

__all__ = ["BATCHES", "add_batches", "batch_size", "batch_variance", "widening"]

BATCHES = 16
"""So many sums are kept; when all are full they are added in pairs, and each is of twice as many values."""


def batch_size(count: int) -> int:
    """Return how many values are in one batch when there are ``count``.

    Examples
    --------
    >>> batch_size(31), batch_size(32), batch_size(1000)
    (2, 4, 64)
    """
    return 1 if count < BATCHES else 1 << (count // BATCHES).bit_length()


def add_batches(totals: Any, count: int, values: Any) -> None:
    """Add values to the batches, in place, one after the other.

    Parameters
    ----------
    totals : array of float, shape (BATCHES,)
        Sums of the batches.
    count : int
        Values that are in them.
    values : array of float, shape (n,)
        Those to add.
    """
    start = 0
    while start < len(values):
        size = batch_size(count)
        stop = min(len(values), start + BATCHES * size - count)
        at = np.arange(count, count + stop - start) // size
        np.add.at(totals, at, values[start:stop])
        count += stop - start
        start = stop
        if count == BATCHES * size:
            totals[: BATCHES // 2] = totals.reshape(-1, 2).sum(axis=1)
            totals[BATCHES // 2 :] = 0.0


def batch_variance(totals: Any, count: int, alpha: float) -> float:
    """Return the variance that independent values would need to have for a mean as uncertain; 0 before there are two.

    Values that follow one another share a storm, a sale or a weekday, and then their mean is far less certain than
    their number says. Batches of consecutive values show it, as long as what they share ends within a batch. It is
    widened for tests at the level ``alpha``, as few batches tell it badly.

    References
    ----------
    Glynn and Whitt (1991), Estimating the asymptotic variance with batch means, Operations Research Letters: the
    batches must grow with the number of values. Yeh and Schmeiser (2000), Dynamic batch means: adding them in pairs.

    Examples
    --------
    >>> totals = np.zeros(BATCHES)
    >>> add_batches(totals, 0, np.repeat([1.0, -1.0] * 5, 100))
    >>> round(batch_variance(totals, 1000, 0.05))
    49
    """
    size = batch_size(count)
    full = totals[: count // size]
    return float(np.var(full, ddof=1)) / size * widening(len(full), alpha) if len(full) > 1 else 0.0


def widening(batches: int, alpha: float) -> float:
    """Return the square of Student's quantile over the normal one.

    By Cornish and Fisher's expansion (Abramowitz and Stegun 26.7.5); two-sided, a chance below 1e-6 is taken as that.

    Examples
    --------
    >>> round(widening(16, 0.05), 3), round(widening(10, 0.01), 3)
    (1.182, 1.574)
    """
    z, free = NormalDist().inv_cdf(1 - max(alpha, 1e-6) / 2), batches - 1
    t = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    return (t / z) ** 2
