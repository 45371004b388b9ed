"""What a model must beat: the prior, which knows only the labels so far, and the last value.

Both are evaluated as the model is: before they learn the label, on the same events, in the order in which their labels
came. So the last value is the newest label that is known, of any key.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["BASELINES", "Baselines"]

BASELINES = ("prior", "last")
"""Names of the baselines."""

_MOST_CLASSES = 1000


class Baselines:
    """The two baselines of one model.

    - ``prior`` of classes: each with its share of the labels so far (by Laplace's rule of succession, with one share
      for a class that is not known yet); the likeliest is predicted. Of numbers: the mean so far, at first 0.
    - ``last`` of classes: the last one is predicted, with the share of the labels so far that were like the one before
      (by the same rule), so that its LogLoss is finite; the others share the rest. Of numbers: the last, at first 0.

    Parameters
    ----------
    kind : str
        ``boolean``, ``string`` or ``number``: of the truth.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._seen: float = 0
        self._sum = 0.0  # of numbers; of booleans, how many are true
        self._same: float = 0
        self._last: float = -1.0
        self._classes: dict[int, float] = {}

    def on_rows(self, truth: Any, weight: Any) -> Any:
        """Answer, then learn, row after row.

        Parameters
        ----------
        truth : array of float, shape (n,)
            1.0 or 0.0, the code of the class, or the number.
        weight : array of int, shape (n,)
            1, or -1 for a label that is taken back.

        Returns
        -------
        array of float, shape (4, n)
            Of the prior, then of the last value: what is given to the truth (numbers: the prediction), and whether the
            predicted class was right.
        """
        return self._by_class(truth, weight) if self._kind == "string" else self._by_value(truth, weight)

    def _by_value(self, truth: Any, weight: Any) -> Any:
        boolean = self._kind == "boolean"
        # What was known before each row; sums run on from those before, one addition after the other.
        seen = np.cumsum(np.concatenate(([self._seen], weight)))
        total = np.cumsum(np.concatenate(([self._sum], weight * truth)))
        last = _last_before(self._last, truth, weight)
        known = last >= 0 if boolean else np.arange(len(last)) + (self._seen > 0) > 0
        same = np.cumsum(np.concatenate(([self._same], weight * (known[:-1] & (last[:-1] == truth)))))
        self._seen, self._sum, self._same, self._last = seen[-1], float(total[-1]), same[-1], float(last[-1])
        seen, total, last, same, known = seen[:-1], total[:-1], last[:-1], same[:-1], known[:-1]
        if not boolean:
            nothing = np.zeros(len(truth))
            return np.stack((total / np.maximum(seen, 1), nothing, np.where(known, last, 0.0), nothing))
        event = (total + 1) / (seen + 2)
        again = (same + 1) / (np.maximum(seen - 1, 0) + 2)
        alike = last == truth
        return np.stack(
            (
                np.where(truth > 0.5, event, 1 - event),
                (event > 0.5) == (truth > 0.5),
                np.where(known, np.where(alike, again, 1 - again), 0.5),
                np.where(known, alike, truth < 0.5),
            )
        )

    def _by_class(self, truth: Any, weight: Any) -> Any:
        out = np.zeros((4, len(truth)))
        counts = self._classes
        for at, (name, step) in enumerate(zip(truth.astype(int).tolist(), weight.tolist(), strict=True)):
            shares = self._seen + len(counts) + 1
            best = max(counts, key=lambda n: (counts[n], -n)) if counts else -1
            again = (self._same + 1) / (max(self._seen - 1, 0) + 2)
            others = max(len(counts) - 1, 1)
            alike = name == self._last
            out[:, at] = (
                (counts.get(name, 0) + 1) / shares,
                name == best,
                again if alike else (1 - again) / others,
                alike,
            )
            self._seen += step
            self._same += step * alike
            counts[name] = counts.get(name, 0) + step
            if step > 0:
                self._last = name
        return out

    def state(self) -> list[Any]:
        """Return the state as plain values."""
        return [float(self._seen), self._sum, float(self._same), self._last, sorted(self._classes.items())]

    def load(self, state: list[Any]) -> None:
        """Take over what ``state`` gave."""
        self._seen, self._sum, self._same, self._last, classes = state
        self._classes = {name: count for name, count in classes}


def _last_before(last: float, truth: Any, weight: Any) -> Any:
    """Return the last label that was not taken back, before each row and after all."""
    values = np.concatenate(([last], truth))
    at = np.where(np.concatenate(([1], weight)) > 0, np.arange(len(values)), 0)
    return values[np.maximum.accumulate(at)]
