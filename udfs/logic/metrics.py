"""Prequential metrics over arrays: sums that merge, a rank histogram, an exact window.

Names are River's. Every metric is fed with the score that was served before the label was known.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from thalweg.udfs.logic.confusion import OF_CLASSES, OF_EVENTS, by_decisions
from thalweg.udfs.logic.ranked_metrics import at_budget, is_ranking

__all__ = ["RankHistogram", "default_metrics", "known_metrics", "losses", "roc_auc", "unknown_metrics"]

Floats: TypeAlias = NDArray[np.float64]

_BINARY = ("ROCAUC", "LogLoss", "Accuracy", "Brier", "ECE")
_MULTI = ("LogLoss", "Accuracy")
_NUMERIC = ("MAE", "RMSE")
_MORE = {"boolean": (), "string": ("ECE",), "number": ("MSE", "MAPE", "SMAPE", "RMSLE", "R2")}
_FLOOR = 1e-15  # keeps the logarithm finite; the same bound as scikit-learn's old log_loss and River's


def default_metrics(task: str, output_kind: str) -> tuple[str, ...]:
    """Return the metrics that a task has by default.

    Examples
    --------
    >>> default_metrics("classification", "boolean")
    ('ROCAUC', 'LogLoss', 'Accuracy', 'Brier', 'ECE')
    """
    if task == "classification":
        return _BINARY if output_kind == "boolean" else _MULTI
    if task == "anomaly":
        return ("ROCAUC",)
    if task in ("clustering", "next-item"):
        return ()
    if task == "bandit":
        return ("Reward",)
    return _NUMERIC


def known_metrics(task: str, output_kind: str) -> tuple[str, ...]:
    """Return all metrics of a task; of those that have options, such as ``FBeta(beta=2)``, the bare name.

    Examples
    --------
    >>> known_metrics("regression", "number")
    ('MAE', 'RMSE', 'MSE', 'MAPE', 'SMAPE', 'RMSLE', 'R2')
    """
    default = default_metrics(task, output_kind)
    if task in ("anomaly", "clustering", "next-item", "bandit"):
        return default
    if task != "classification":
        return default + _MORE["number"]
    decided = (*OF_EVENTS, *OF_CLASSES) if output_kind == "boolean" else OF_CLASSES
    return default + _MORE["boolean" if output_kind == "boolean" else "string"] + decided


def unknown_metrics(task: str, names: Iterable[str], output_kind: str = "number") -> list[str]:
    """Return those names that no metric of the task has, or whose options cannot be read."""
    known = set(known_metrics(task, output_kind))
    budget, ranked = (
        (task == "anomaly" or output_kind == "boolean"),
        task == "classification" and output_kind == "string",
    )
    return [
        name
        for name in names
        if not (name in known or (name.partition("(")[0] in known and by_decisions(name)))
        and not (budget and at_budget(name) is not None)
        and not (ranked and is_ranking(name))
    ]


def losses(metric: str, score: Floats, truth: Floats, right: NDArray[np.bool_], p_true: Floats) -> Floats:
    """Return a metric's contribution per row; its mean is the metric (RMSE: the root of its mean).

    Parameters
    ----------
    metric : str
        ``LogLoss``, ``Accuracy``, ``Brier``, ``MAE``, ``RMSE``, ``MSE``, ``MAPE`` and ``SMAPE`` (in percent),
        ``RMSLE`` (what is below 0 counts as 0), or ``Reward``: what a bandit's arms have brought.
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
    if metric in ("MAPE", "SMAPE"):
        size = np.abs(truth) if metric == "MAPE" else (np.abs(truth) + np.abs(score)) / 2
        # As in River: a share of nothing is no error.
        return np.asarray(100 * np.abs(score - truth) / np.where(size == 0, np.inf, size), dtype=np.float64)
    if metric == "RMSLE":
        score, truth = np.log1p(np.maximum(score, 0)), np.log1p(np.maximum(truth, 0))
    return np.asarray(np.square(score - truth), dtype=np.float64)


def roc_auc(score: Floats, positive: NDArray[np.bool_], weight: Floats | None = None) -> float | None:
    """Return the exact area under the ROC curve (ties count half); None where only one class is present.

    References
    ----------
    Mann and Whitney (1947): the area equals the share of (positive, negative) pairs in the right order.

    Examples
    --------
    >>> roc_auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    weight = np.ones(len(score)) if weight is None else weight
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    starts = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1]))) if len(ranked) else order
    # Of each group of ties: the weight of either class.
    negatives, positives = (
        np.add.reduceat(np.where(positive[order] == side, weight[order], 0.0), starts) if len(ranked) else np.zeros(0)
        for side in (False, True)
    )
    pairs = float(negatives.sum() * positives.sum())
    if pairs == 0:
        return None
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + negatives / 2)).sum() / pairs)


class RankHistogram:
    """Counts of both classes over bins of the score: a ROC area of any number of events in 64 KiB.

    Bins are even in the logit of a probability (else in the inverse hyperbolic sine of the score), so that rare events
    with tiny probabilities keep their order. The area is wrong by at most half the share of (positive, negative) pairs
    that fall into one bin: ``error_bound``. The counts of parallel parts add up, to the last bit.
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

    def error_bound(self) -> float | None:
        """Return by how much the area can be wrong at most; None where only one class was seen.

        Examples
        --------
        >>> histogram = RankHistogram(True)
        >>> histogram.add(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
        >>> histogram.roc_auc(), histogram.error_bound()
        (0.75, 0.0)
        """
        negatives, positives = self.counts.astype(np.float64)
        pairs = negatives.sum() * positives.sum()
        return float(np.dot(positives, negatives) / pairs / 2) if pairs else None
