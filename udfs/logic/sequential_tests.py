"""Tests that may be looked at after every event: intervals and evidence that are valid at any time.

A test of fixed size that is looked at again and again finds a difference between equal models sooner or later. These
do not: the chance that they ever do is at most alpha.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Interval", "log_evidence", "mean_interval", "mismatch_evidence", "rate_evidence"]


class Interval(NamedTuple):
    """A mean with an interval that holds at all times at once.

    Attributes
    ----------
    value, lower, upper : float
        In the unit of what was averaged.
    log_evidence : float
        Logarithm of the e-value against a mean of 0: at least log(1 / alpha) exactly where the interval leaves 0 out.
    count : int
        Values behind it.
    error : float
        Standard error of the mean; 0 where it is not known.
    """

    value: float
    lower: float
    upper: float
    log_evidence: float
    count: int  # type: ignore[assignment]  # the name that metrics have elsewhere
    error: float = 0.0


def _tuning(alpha: float, tuned: float) -> float:
    """Return the count of values that the mixture weighs as its prior; the interval is tightest near ``tuned``."""
    narrow = -2 * math.log(alpha)
    return tuned / (narrow + math.log(narrow) + 1)


def mean_interval(mean: float, variance: float, count: int, alpha: float, tuned: float) -> Interval:
    """Return the interval of a mean.

    The asymptotic confidence sequence with a normal mixture. What it holds is the mean of the expectations that each
    value had, given all before it: so the values need not be alike, and the models may learn and drift, as in the
    comparison of forecasters of Choe and Ramdas. It is exact for normal values of known variance, and asymptotic for
    others: it counts from ``min-samples`` on.

    Parameters
    ----------
    mean, variance : float
        Of the values so far; of values in clusters the variance that independent ones would need to have for a mean as
        certain.
    count : int
        How many values.
    alpha : float
        Chance that the interval ever misses.
    tuned : float
        At which count it is to be tightest; to be chosen before.

    References
    ----------
    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), Time-uniform central limit theory and asymptotic confidence
    sequences, Annals of Statistics. Howard, Ramdas, McAuliffe and Sekhon (2021), Time-uniform, nonparametric,
    nonasymptotic confidence sequences, Annals of Statistics. Johari, Koomen, Pekelis and Walsh (2017), Peeking at A/B
    tests, KDD: the same mixture as a test, mSPRT. Choe and Ramdas (2023), Comparing sequential forecasters, Operations
    Research.

    Examples
    --------
    >>> found = mean_interval(0.05, 1.0, 10_000, 0.05, 5_000)
    >>> round(found.lower, 3), round(found.upper, 3), found.log_evidence > math.log(1 / 0.05)
    (0.019, 0.081, True)
    """
    if count < 2 or not variance > 0:
        known = count >= 2 and variance == 0 and mean == 0
        return Interval(mean, mean if known else -math.inf, mean if known else math.inf, 0.0, count)
    prior = _tuning(alpha, tuned)
    error = variance * (count + prior) / count**2
    radius = math.sqrt(error * (math.log1p(count / prior) + 2 * math.log(1 / alpha)))
    evidence = mean * mean / (2 * error) - 0.5 * math.log1p(count / prior)
    return Interval(mean, mean - radius, mean + radius, evidence, count, math.sqrt(variance / count))


def log_evidence(mean: Any, variance: Any, count: Any, alpha: float, tuned: float) -> Any:
    """Return ``Interval.log_evidence`` of arrays: for simulations.

    Examples
    --------
    >>> log_evidence(np.array([0.05]), 1.0, 10_000, 0.05, 5_000).round(2).tolist()
    [10.37]
    """
    prior = _tuning(alpha, tuned)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.square(mean) * np.square(count) / (2 * variance * (count + prior)) - 0.5 * np.log1p(count / prior)
    return np.where(np.isfinite(found), found, 0.0)


def _log_beta(values: Sequence[float]) -> float:
    return sum(map(math.lgamma, values)) - math.lgamma(sum(values))


def mismatch_evidence(counts: Sequence[int], shares: Sequence[float], weight: float = 100.0) -> float:
    """Return the log e-value against counts of units that come with these shares: a sample-ratio mismatch.

    The mixture of multinomials with a Dirichlet prior around the shares. May be looked at after every unit; at least
    log(1 / alpha) decides.

    Parameters
    ----------
    counts : sequence of int
        Units of each arm.
    shares : sequence of float
        Their shares as planned, above 0, together 1.
    weight : float
        Units that the prior weighs: the larger, the sooner are small deviations found.

    References
    ----------
    Lindon and Malek (2022), Anytime-valid inference for multinomial count data, NeurIPS.

    Examples
    --------
    >>> mismatch_evidence([5000, 5000], [0.5, 0.5]) < 0 < mismatch_evidence([5000, 5600], [0.5, 0.5])
    True
    """
    prior = [weight * share for share in shares]
    found = _log_beta([a + n for a, n in zip(prior, counts, strict=True)]) - _log_beta(prior)
    return found - sum(n * math.log(share) for n, share in zip(counts, shares, strict=True) if n)


def rate_evidence(hits: int, count: int, bound: float) -> float:
    """Return the log e-value against a rate of at most ``bound``; 0 where the rate so far is below.

    The mixture of ``mismatch_evidence`` for two outcomes. Rates below the bound make it only smaller. No approximation,
    so it holds for rates however small.

    Examples
    --------
    >>> rate_evidence(2, 1000, 0.01), rate_evidence(30, 1000, 0.01) > math.log(1000)
    (0.0, True)
    """
    if count == 0 or hits <= bound * count:
        return 0.0
    if bound <= 0 or bound >= 1:
        return math.inf if bound <= 0 else 0.0
    return max(0.0, mismatch_evidence([hits, count - hits], [bound, 1 - bound]))
