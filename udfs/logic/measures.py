"""Figures of a model over rows: over those of a window with weights, and totals that go on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from thalweg.udfs.logic.calibration import BINS, add_to_bins, calibration_error
from thalweg.udfs.logic.confusion import by_decisions, decided
from thalweg.udfs.logic.metrics import RankHistogram, losses, roc_auc
from thalweg.udfs.logic.ranked_metrics import at_budget, gain, is_ranking, within_budget

__all__ = ["Answers", "Totals", "contribution", "is_mean", "measure"]

_OTHER = ("ROCAUC", "ECE", "R2")


class Answers(NamedTuple):
    """Rows of answers that got their label, as arrays of float, shape (n,).

    Attributes
    ----------
    score, truth, right, p_true :
        As for ``metrics.losses``; the truth of a class is its code, and ``right`` may be the place of the true class in
        a ranking, see ``ranked_metrics.half_reciprocal``.
    predicted :
        Code of the class that was predicted; 1.0 and 0.0 of a boolean.
    """

    score: Any
    truth: Any
    right: Any
    p_true: Any
    predicted: Any


def is_mean(metric: str) -> bool:
    """Return whether a metric is the mean of a loss (RMSE, RMSLE: its root)."""
    return metric not in _OTHER and not by_decisions(metric) and at_budget(metric) is None


def measure(metric: str, kind: str, answers: Answers, weight: Any) -> float | None:
    """Return a metric over weighted rows; None where it has no value, as an area with one class has none.

    Examples
    --------
    >>> one = np.ones(2)
    >>> measure("F1", "boolean", Answers(one, one, one, one, one), one)
    1.0
    """
    total = float(weight.sum())
    if total <= 0:
        return None
    score, truth = answers.score, answers.truth
    if metric == "ROCAUC":
        return roc_auc(score, truth > 0.5, weight)
    if at_budget(metric) is not None:
        rows, place = np.unique(score, return_inverse=True)
        sides = (np.bincount(place, np.where(truth > 0.5, side, 1 - side) * weight, len(rows)) for side in (1.0, 0.0))
        return within_budget(metric, *sides)
    if metric == "ECE":
        bins = np.zeros((3, BINS))
        add_to_bins(bins, score, _hit(kind, answers), weight)
        return calibration_error(bins)
    if metric == "R2":
        centre = float((weight * truth).sum()) / total
        spread = float((weight * np.square(truth - centre)).sum())
        return 1 - float((weight * np.square(score - truth)).sum()) / spread if spread > 0 else None
    if by_decisions(metric):
        return decided(metric, _pairs(kind, answers, weight))
    return _mean(metric, float((weight * contribution(metric, answers)).sum()) / total)


class Totals:
    """Metrics over all rows so far; the same bits however the rows are cut into blocks.

    Parts that were fed apart merge. Counts are then those of one that was fed all rows, to the last bit: so are the
    bins of ROCAUC and of alert budgets, and the pairs of all metrics of decisions. Sums differ by the rounding of
    their additions alone. How far ROCAUC can be from the exact area says ``RankHistogram.error_bound``.

    Parameters
    ----------
    metrics : sequence of str
        Names.
    kind : str
        ``boolean``, ``string`` or ``number``: of the truth.
    probabilities : bool
        Whether scores are probabilities, for the bins of ROCAUC.
    """

    def __init__(self, metrics: tuple[str, ...], kind: str, probabilities: bool) -> None:
        self._metrics, self._kind = metrics, kind
        self.sums = {metric: [0.0, 0] for metric in metrics if is_mean(metric)}
        self.histogram = RankHistogram(probabilities) if any(map(_by_rank, metrics)) else None
        self._bins = np.zeros((3, BINS))
        self._pairs: dict[tuple[Any, Any], float] = {}
        self._decide = any(by_decisions(metric) for metric in metrics)
        # Weight, errors squared, truth and its square, less the first truth: so large numbers keep their digits.
        self._spread = [0.0] * 4
        self._shift: float | None = None

    def add(self, answers: Answers, weight: Any) -> None:
        """Take rows; weight 1, or -1 to take back a row that was counted."""
        score, truth = answers.score, answers.truth
        if self.histogram is not None:
            self.histogram.add(score[weight > 0], truth[weight > 0] > 0.5)
            self.histogram.add(score[weight < 0], truth[weight < 0] > 0.5, -1)
        for metric, total in self.sums.items():
            total[0] = _onward(total[0], weight * contribution(metric, answers))
            total[1] += int(weight.sum())
        if "ECE" in self._metrics:
            add_to_bins(self._bins, score, _hit(self._kind, answers), weight)
        if self._decide:
            for pair, count in _pairs(self._kind, answers, weight).items():
                self._pairs[pair] = self._pairs.get(pair, 0) + count
        if "R2" in self._metrics:
            if self._shift is None:
                self._shift = float(truth[0])
            moved = truth - self._shift
            columns = (weight, weight * np.square(score - truth), weight * moved, weight * np.square(moved))
            self._spread = [_onward(total, column) for total, column in zip(self._spread, columns, strict=True)]

    def merge(self, other: Totals) -> None:
        """Add the rows of another part, of the same metrics and the same codes of classes."""
        if self.histogram is not None and other.histogram is not None:
            self.histogram.counts += other.histogram.counts
        for metric, (total, count) in other.sums.items():
            self.sums[metric] = [self.sums[metric][0] + total, self.sums[metric][1] + count]
        self._bins = self._bins + other._bins
        for pair, count in other._pairs.items():
            self._pairs[pair] = self._pairs.get(pair, 0) + count
        if other._shift is None:
            return
        if self._shift is None:
            self._shift = other._shift
        count, errors, total, squares = other._spread
        moved = other._shift - self._shift
        theirs = (count, errors, total + moved * count, squares + 2 * moved * total + moved * moved * count)
        self._spread = [mine + added for mine, added in zip(self._spread, theirs, strict=True)]

    def value(self, metric: str) -> float | None:
        """Return a metric; None where it has no value so far."""
        if metric == "ROCAUC":
            return None if self.histogram is None else self.histogram.roc_auc()
        if at_budget(metric) is not None:
            return None if self.histogram is None else within_budget(metric, *self.histogram.counts[::-1])
        if metric == "ECE":
            return calibration_error(self._bins)
        if metric == "R2":
            count, errors, total, squares = self._spread
            spread = squares - total * total / count if count else 0.0
            return 1 - errors / spread if spread > 0 else None
        if metric in self.sums:
            total, count = self.sums[metric]
            return _mean(metric, total / count) if count else None
        return decided(metric, self._pairs)

    def state(self) -> dict[str, Any]:
        """Return the state as plain values, but for the histogram."""
        pairs = [[*pair, count] for pair, count in sorted(self._pairs.items())]
        return {"sums": self.sums, "bins": self._bins.tolist(), "pairs": pairs, "spread": [self._shift, *self._spread]}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` gave; metrics that are new begin now."""
        self.sums.update({name: total for name, total in state["sums"].items() if name in self.sums})
        self._bins = np.array(state["bins"])
        self._pairs = {(truth, predicted): count for truth, predicted, count in state["pairs"]}
        self._shift, *self._spread = state["spread"]


def _by_rank(metric: str) -> bool:
    return metric == "ROCAUC" or at_budget(metric) is not None


def contribution(metric: str, answers: Answers) -> Any:
    """Return what each row adds to a metric that is a mean."""
    if is_ranking(metric):
        return gain(metric, answers.right)
    return losses(metric, answers.score, answers.truth, answers.right > 0.5, answers.p_true)


def _mean(metric: str, mean: float) -> float:
    return float(mean**0.5) if metric in ("RMSE", "RMSLE") else mean


def _onward(total: float, values: Any) -> float:
    return float(np.cumsum(np.concatenate(([total], values)))[-1])


def _hit(kind: str, answers: Answers) -> Any:
    """Return what a score is the probability of: the event, or that the predicted class is right."""
    return answers.truth if kind == "boolean" else (answers.right > 0.5) * 1.0


def _pairs(kind: str, answers: Answers, weight: Any) -> dict[tuple[Any, Any], float]:
    cells, at = np.unique(np.stack((answers.truth, answers.predicted)), axis=1, return_inverse=True)
    counts = np.bincount(at.ravel(), weights=weight).tolist()
    # A boolean must be one: River's metrics of an event ask for the class True.
    code = bool if kind == "boolean" else (lambda value: f"{int(value):04}")
    return {(code(t), code(p)): count for (t, p), count in zip(cells.T.tolist(), counts, strict=True)}
