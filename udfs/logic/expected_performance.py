"""How well a model does while its labels are not there yet, as far as its own probabilities tell."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

__all__ = ["ESTIMATED", "ExpectedPerformance"]

ESTIMATED = {"boolean": ("ROCAUC", "LogLoss", "Accuracy", "Brier"), "string": ("Accuracy",)}
"""By kind of the truth: the metrics that can be estimated. Their names get ``estimated-`` before them."""

_BINS, _EDGE = 128, 16.0  # even in the logit of a probability, from -16 to 16
_TRUST = 20.0  # answers whose labels weigh as much as the probability itself, in each bin
_FADES = 0.5  # labelled answers count half after so many windows


class ExpectedPerformance:
    """Confidence-based performance estimation: what the metrics would be if the calibrated probabilities were right.

    Answers are counted by their probability in 128 bins. How often each came true is known from the labels that did
    come, over about two windows, and pulled toward the probability itself where there are few of them. So the estimate
    sees that events become harder or easier, and that their mix changes. It does not see that the same event now has
    another answer: no estimate without labels can.

    Parameters
    ----------
    kind : str
        ``boolean``: a score is the probability of the event; ``string``: that of the predicted class.
    window : int
        Answers that the estimate spans: the newest whole periods that have as many.

    References
    ----------
    Bialek, Kuberski, Perrakis and Bifet, Estimating Model Performance Under Covariate Shift Without Labels (2024); the
    method CBPE of the project NannyML.
    """

    def __init__(self, kind: str, window: int) -> None:
        self._kind, self._window = kind, window
        self._known = np.zeros((3, _BINS))  # labelled answers, sum of their probabilities, how many came true
        self._now = np.zeros((2, _BINS))  # answers of this period, sum of their probabilities
        self._periods: deque[Any] = deque()

    def add(self, scores: Any, labelled: Any, hit: Any) -> None:
        """Take answers as they are given, and answers whose label has come, with whether it was so (1.0 or 0.0)."""
        for into, values, weights in ((self._now, scores, ()), (self._known, labelled, (hit,))):
            there = np.isfinite(values)
            inside = np.clip(values[there], 1e-15, 1 - 1e-15)
            place = (np.log(inside / (1 - inside)) / _EDGE + 1) * (_BINS / 2)
            bins = np.clip(place.astype(np.int64), 0, _BINS - 1)
            for row, weight in zip(into, (np.ones(len(bins)), inside, *(w[there] for w in weights)), strict=True):
                np.add.at(row, bins, weight)  # in the order of rows, whatever the blocks

    def close(self) -> None:
        """End a period."""
        count = self._now[0].sum()
        if not count:
            return
        self._periods.append(self._now)
        self._now = np.zeros((2, _BINS))
        self._known *= _FADES ** (count / (2 * self._window))
        while sum(part[0].sum() for part in list(self._periods)[1:]) >= self._window:
            self._periods.popleft()

    def measures(self) -> list[tuple[str, float, int]]:
        """Return metric, value and answers of the window; nothing before a label has come."""
        if not self._periods or not self._known[0].sum() > 0:
            return []
        count, total = np.sum(self._periods, axis=0)
        used = count > 0
        count, given = count[used], (total[used] / count[used])
        seen, mean, hits = self._known[:, used]
        offset = np.where(seen > 0, hits - mean, 0.0) / (seen + _TRUST)
        true = np.clip(given + offset, 0.0, 1.0)  # how often an answer of the bin comes true
        rows, out = float(count.sum()), []
        share = count / rows
        values: dict[str, float | None] = {"Accuracy": float((share * true).sum())}
        if self._kind == "boolean":
            values = {
                "ROCAUC": _area(count * true, count * (1 - true)),
                "LogLoss": float(-(share * (true * np.log(given) + (1 - true) * np.log(1 - given))).sum()),
                "Accuracy": float((share * np.where(given > 0.5, true, 1 - true)).sum()),
                "Brier": float((share * (true * np.square(1 - given) + (1 - true) * np.square(given))).sum()),
            }
        for metric in ESTIMATED[self._kind]:
            value = values[metric]
            if value is not None:
                out.append((f"estimated-{metric}", value, int(rows)))
        return out

    def state(self) -> list[Any]:
        """Return the state as plain values."""
        return [self._kind, self._known.tolist(), self._now.tolist(), [part.tolist() for part in self._periods]]

    def load(self, state: list[Any]) -> None:
        """Take over what ``state`` gave."""
        kind, known, now, periods = state
        if kind == self._kind:
            self._known, self._now = np.array(known), np.array(now)
            self._periods = deque(np.array(part) for part in periods)


def _area(positives: Any, negatives: Any) -> float | None:
    pairs = float(positives.sum() * negatives.sum())
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + negatives / 2)).sum() / pairs) if pairs > 0 else None
