"""Metrics of rankings: the truth among the first few, and the right alerts among those that people have time for."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["at_budget", "gain", "half_reciprocal", "is_ranking", "within_budget"]

_AT_K = re.compile(r"(HitRate|Recall|NDCG)@([1-9]\d{0,3})|(MRR)")
_AT_BUDGET = re.compile(r"(Precision|Recall)@(\d{1,2}(?:\.\d{1,4})?)%")


@lru_cache(maxsize=256)
def _at_k(name: str) -> tuple[str, int] | None:
    found = _AT_K.fullmatch(name)
    return None if found is None else (found[3] or found[1], int(found[2] or 0))


def is_ranking(name: str) -> bool:
    """Return whether a metric asks for the place of the true class: ``HitRate@5``, ``Recall@5``, ``NDCG@5``, ``MRR``.

    With one truth for each answer the hit rate is the recall.
    """
    return _at_k(name) is not None


@lru_cache(maxsize=256)
def at_budget(name: str) -> tuple[str, float] | None:
    """Return what a metric at an alert budget is; None of others.

    Examples
    --------
    >>> at_budget("Precision@1%"), at_budget("Precision")
    (('Precision', 0.01), None)
    """
    found = _AT_BUDGET.fullmatch(name)
    return None if found is None or not float(found[2]) else (found[1], float(found[2]) / 100)


def half_reciprocal(probabilities: dict[str, float], truth: str) -> float:
    """Return one half by the place of the true class among the probabilities; 0 where it has none.

    Of classes with the same probability the first by name comes first.

    Examples
    --------
    >>> half_reciprocal({"tea": 0.6, "milk": 0.3, "bread": 0.1}, "milk")
    0.25
    """
    given = probabilities.get(truth)
    if given is None:
        return 0.0
    return 0.5 / (1 + sum(p > given or (p == given and name < truth) for name, p in probabilities.items()))


def gain(name: str, right: Any) -> Any:
    """Return what each answer adds to a ranking metric, whose mean it is.

    Parameters
    ----------
    name : str
        For which ``is_ranking`` is true.
    right : array of float, shape (n,)
        1.0 where the predicted class was the true one, else ``half_reciprocal``.

    References
    ----------
    Jarvelin and Kekalainen, Cumulated Gain-Based Evaluation of IR Techniques (2002): NDCG.

    Examples
    --------
    >>> gain("NDCG@5", np.array([1.0, 0.25, 0.05])).round(3).tolist()
    [1.0, 0.631, 0.0]
    """
    kind, most = _at_k(name) or ("MRR", 0)
    reciprocal = np.where(right > 0.5, 1.0, 2 * right)
    if kind == "MRR":
        return reciprocal
    place = np.divide(1.0, reciprocal, out=np.full(len(reciprocal), np.inf), where=reciprocal > 0)
    found = np.round(place) <= most
    return np.where(found, 1 / np.log2(place + 1), 0.0) if kind == "NDCG" else found.astype(np.float64)


def within_budget(name: str, positives: Any, negatives: Any) -> float | None:
    """Return precision or recall of the rows with the highest scores, as many as the budget has room for.

    Parameters
    ----------
    name : str
        For which ``at_budget`` has an answer.
    positives, negatives : array of float, shape (n,)
        Weight of both classes by score, the lowest first, such as counts of a ``RankHistogram``. What the budget cuts
        through counts by its share: the figure is as if ties, or rows in one bin, were picked by lot.
    """
    kind, share = at_budget(name) or ("Precision", 1.0)
    weight = (positives + negatives)[::-1].astype(np.float64)
    room = share * weight.sum()
    if room <= 0 or positives.sum() <= 0:
        return None
    before = np.cumsum(weight) - weight
    taken = np.clip(room - before, 0.0, weight)
    hits = float((positives[::-1] * np.divide(taken, weight, out=np.zeros(len(weight)), where=weight > 0)).sum())
    return hits / (room if kind == "Precision" else float(positives.sum()))
