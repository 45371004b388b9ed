"""What a candidate that never served would have brought, from what others brought who served by known chances."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = ["OffPolicy", "doubly_robust", "off_policy"]


class OffPolicy(NamedTuple):
    """Estimates of the mean reward of a candidate.

    Attributes
    ----------
    ips : float
        Inverse propensity score: unbiased, wide.
    snips : float
        Self-normalised: a little bias, less wide, never outside of the rewards.
    dr : float
        Doubly robust: right if the propensities or the model of the reward are right.
    dr_error : float
        Its standard error.
    matched : int
        Events in which the candidate would have acted as what was served.
    """

    ips: float
    snips: float
    dr: float
    dr_error: float
    matched: int


def doubly_robust(reward: Any, same: Any, propensity: Any, expected_served: Any, expected_candidate: Any) -> Any:
    """Return one value per event whose mean is the candidate's mean reward, shape (n,).

    Parameters
    ----------
    reward : array of float, shape (n,)
        What the served action brought.
    same : array of bool, shape (n,)
        Whether the candidate would have taken the served action.
    propensity : array of float, shape (n,)
        Chance, above 0, with which the served action was served.
    expected_served, expected_candidate : array of float, shape (n,) or float
        What a model of the reward expects of the served action, and of the candidate's; made without the event.

    References
    ----------
    Dudík, Langford and Li (2011), Doubly robust policy evaluation and learning, ICML.

    Examples
    --------
    >>> same = np.array([True, False])
    >>> doubly_robust(np.array([1.0, 0.0]), same, np.array([0.5, 0.5]), 0.25, 0.25).tolist()
    [1.75, 0.25]
    """
    return expected_candidate + np.where(same, (reward - expected_served) / propensity, 0.0)


def off_policy(
    reward: Any, same: Any, propensity: Any, expected_served: Any = 0.0, expected_candidate: Any = 0.0
) -> OffPolicy:
    """Return the estimates; the arguments are those of ``doubly_robust``.

    References
    ----------
    Horvitz and Thompson (1952) for IPS; Swaminathan and Joachims (2015), The self-normalized estimator for
    counterfactual learning, NeurIPS.

    Raises
    ------
    ValueError
        There is no event, or a propensity that is not above 0.

    Examples
    --------
    >>> off_policy(np.array([1.0, 0.0]), np.array([True, True]), np.array([0.5, 0.25])).snips
    0.3333333333333333
    """
    reward, propensity = np.asarray(reward, dtype=np.float64), np.asarray(propensity, dtype=np.float64)
    if len(reward) == 0:
        raise ValueError("there is no event to evaluate the candidate on.")
    if not (propensity > 0).all():
        raise ValueError("a propensity is not above 0: what could not be served tells nothing.")
    weight = np.where(same, 1 / propensity, 0.0)
    values = doubly_robust(reward, same, propensity, expected_served, expected_candidate)
    total = float(weight.sum())
    return OffPolicy(
        float((weight * reward).mean()),
        float((weight * reward).sum()) / total if total > 0 else 0.0,
        float(values.mean()),
        float(values.std() / np.sqrt(len(values))),
        int(np.count_nonzero(same)),
    )
