"""How a bandit shares the traffic: by what each arm has brought, and so that every arm keeps a chance.

Shares follow from the figures alone, without a random number: chance lies in the hash of the unit. So a restore gives
the same shares, and the share of an arm is the propensity with which a unit got it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["ALLOCATIONS", "allocate", "best_chances"]

ALLOCATIONS = ("fixed", "thompson", "epsilon", "ucb")

_GRID = np.linspace(-8.0, 8.0, 801)
_ERF = np.array([math.erf(x / math.sqrt(2)) for x in np.linspace(-8.0, 8.0, 3201)])


def best_chances(means: Sequence[float], errors: Sequence[float]) -> list[float]:
    """Return the chance that each arm is the best, given independent normal means with these standard errors.

    By quadrature over a grid: the same bits in every run.

    Examples
    --------
    >>> [round(chance, 2) for chance in best_chances([0.0, 0.0], [1.0, 1.0])]
    [0.5, 0.5]
    >>> [round(chance, 3) for chance in best_chances([0.0, 1.0], [0.5, 0.5])]
    [0.079, 0.921]
    """
    chances = []
    density = np.exp(-np.square(_GRID) / 2)
    for at, (mean, error) in enumerate(zip(means, errors, strict=True)):
        product = density
        for other, (its_mean, its_error) in enumerate(zip(means, errors, strict=True)):
            if other != at:
                place = (mean + error * _GRID - its_mean) / its_error
                below = (1 + np.interp(place, np.linspace(-8.0, 8.0, 3201), _ERF)) / 2
                product = product * below
        chances.append(float(product.sum()))
    total = sum(chances)
    return [chance / total for chance in chances]


def allocate(
    policy: str, means: Sequence[float], errors: Sequence[float], counts: Sequence[int], explore: float
) -> list[float]:
    """Return the percent of each arm.

    Parameters
    ----------
    policy : str
        ``thompson``: an arm's share is its chance to be the best (probability matching, as the average over draws of
        Thompson sampling). ``epsilon``: all to the arm with the highest mean. ``ucb``: all to the arm with the highest
        upper bound, mean + error * sqrt(2 ln n), n all events.
    means, errors : sequence of float
        Reward of each arm and its standard error, above 0; more is better.
    counts : sequence of int
        Events behind it.
    explore : float
        Part of the traffic, 0 to 1, that is spread evenly over all arms: so propensities stay above 0.

    References
    ----------
    Thompson (1933), Biometrika. Auer, Cesa-Bianchi and Fischer (2002), Finite-time analysis of the multiarmed bandit
    problem, Machine Learning.

    Examples
    --------
    >>> allocate("epsilon", [0.1, 0.3], [0.01, 0.01], [100, 100], 0.2)
    [10.0, 90.0]
    >>> allocate("ucb", [0.1, 0.3], [0.5, 0.01], [2, 100], 0.2)
    [90.0, 10.0]
    """
    arms = len(means)
    if policy == "thompson":
        wanted = best_chances(means, errors)
    else:
        reach = math.sqrt(2 * math.log(max(sum(counts), 2))) if policy == "ucb" else 0.0
        bounds = [mean + reach * error for mean, error in zip(means, errors, strict=True)]
        best = bounds.index(max(bounds))
        wanted = [float(at == best) for at in range(arms)]
    return [round(100 * ((1 - explore) * chance + explore / arms), 2) for chance in wanted]
