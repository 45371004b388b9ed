"""Prequential metrics over arrays: sums that merge, a rank histogram, an exact window.

Names are River's. Every metric is fed with the score that was served before the label was known.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["RankHistogram", "default_metrics", "losses", "roc_auc", "unknown_metrics"]

Floats: TypeAlias = NDArray[np.float64]

_BINARY = ("ROCAUC", "LogLoss", "Accuracy", "Brier")
_MULTI = ("LogLoss", "Accuracy")
_NUMERIC = ("MAE", "RMSE")
_FLOOR = 1e-15  # keeps the logarithm finite; the same bound as scikit-learn's old log_loss and River's


def default_metrics(task: str, output_kind: str) -> tuple[str, ...]:
    """Return the metrics of a task, all that there are and the default.

    Examples
    --------
    >>> default_metrics("classification", "boolean")
    ('ROCAUC', 'LogLoss', 'Accuracy', 'Brier')
    """
    if task == "classification":
        return _BINARY if output_kind == "boolean" else _MULTI
    if task == "anomaly":
        return ("ROCAUC",)
    if task == "clustering":
        return ()
    if task == "bandit":
        return ("Reward",)
    return _NUMERIC


def unknown_metrics(task: str, names: Iterable[str]) -> list[str]:
    """Return those names that no metric of the task has."""
    known = {*_BINARY, *_MULTI} if task == "classification" else set(default_metrics(task, "number"))
    return [name for name in names if name not in known]


def losses(metric: str, score: Floats, truth: Floats, right: NDArray[np.bool_], p_true: Floats) -> Floats:
    """Return a metric's contribution per row; its mean is the metric (RMSE: the root of its mean).

    Parameters
    ----------
    metric : str
        ``LogLoss``, ``Accuracy``, ``Brier``, ``MAE``, ``RMSE``, or ``Reward``: what a bandit's arms have brought.
    score, truth : array of float, shape (n,)
        The served score and the truth as a number.
    right : array of bool, shape (n,)
        Whether the predicted class was the true one.
    p_true : array of float, shape (n,)
        Probability that was given to the true class.

    Examples
    --------
    >>> losses("MAE", np.array([1.0]), np.array([3.0]), np.array([False]), np.array([0.0])).tolist()
    [2.0]
    """
    if metric == "LogLoss":
        return np.asarray(-np.log(np.clip(p_true, _FLOOR, 1 - _FLOOR)), dtype=np.float64)
    if metric == "Accuracy":
        return right.astype(np.float64)
    if metric == "Reward":
        return np.asarray(truth, dtype=np.float64)
    if metric == "MAE":
        return np.asarray(np.abs(score - truth), dtype=np.float64)
    return np.asarray(np.square(score - truth), dtype=np.float64)


def roc_auc(score: Floats, positive: NDArray[np.bool_]) -> float | None:
    """Return the exact area under the ROC curve (ties count half); None where only one class is present.

    References
    ----------
    Mann and Whitney (1947): the area equals the normalised rank sum.

    Examples
    --------
    >>> roc_auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if positives == 0 or negatives == 0:
        return None
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1])))
    counts = np.diff(np.concatenate((starts, [len(ranked)])))
    ranks = np.repeat(starts + (counts + 1) / 2, counts)
    rank_sum = float(ranks[positive[order]].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


class RankHistogram:
    """Counts of both classes over bins of the score: a ROC area of any number of events in 64 KiB.

    Bins are even in the logit of a probability (else in the inverse hyperbolic sine of the score), so that rare events
    with tiny probabilities keep their order. The area is wrong by at most half the share of (positive, negative) pairs
    that fall into one bin. Histograms of parallel parts add up.
    """

    BINS = 4096

    def __init__(self, probabilities: bool) -> None:
        self._probabilities = probabilities
        self.counts = np.zeros((2, self.BINS), dtype=np.int64)

    def add(self, score: Floats, positive: NDArray[np.bool_], weight: int = 1) -> None:
        """Count rows; with ``weight`` -1 take back rows that were counted."""
        if self._probabilities:
            inside = np.clip(score, 1e-14, 1 - 1e-14)
            position = np.log(inside / (1 - inside)) / 32.5
        else:
            position = np.arcsinh(score) / 45.0
        bins = np.clip(((position + 1) * (self.BINS / 2)).astype(np.int64), 0, self.BINS - 1)
        for row, chosen in enumerate((bins[~positive], bins[positive])):
            self.counts[row] += weight * np.bincount(chosen, minlength=self.BINS)

    def roc_auc(self) -> float | None:
        """Return the area under the ROC curve; None where only one class was seen."""
        negatives, positives = self.counts
        pairs = int(negatives.sum()) * int(positives.sum())
        if pairs == 0:
            return None
        below = np.cumsum(negatives) - negatives
        return float(np.dot(positives.astype(np.float64), below + negatives / 2) / pairs)
