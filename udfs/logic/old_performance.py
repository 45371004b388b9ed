"""How well the models answer old examples: forgetting, and what learning since then has done for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from thalweg.udfs.logic.confusion import by_decisions
from thalweg.udfs.logic.measures import Answers, measure
from thalweg.udfs.logic.ranked_metrics import at_budget, is_ranking

__all__ = ["OldPerformance", "old_measures"]

_HIGHER = ("ROCAUC", "Accuracy", "R2", "Reward")


def _higher_is_better(metric: str) -> bool:
    return metric in _HIGHER or by_decisions(metric) or is_ranking(metric) or at_budget(metric) is not None


_SETS = ("reference", "reservoir")


def _measured(metrics: Sequence[str], kind: str) -> list[str]:
    """Return the metrics that old examples have: of classes not those of decisions, for they have no codes."""
    return [metric for metric in metrics if kind != "string" or not by_decisions(metric)]


def old_measures(metrics: Sequence[str], kind: str) -> list[str]:
    """Return the names of what is measured of old examples beside the metrics themselves.

    Examples
    --------
    >>> old_measures(["LogLoss"], "boolean")
    ['forgetting.LogLoss', 'backward-transfer.LogLoss']
    """
    return [f"{name}.{metric}" for name in ("forgetting", "backward-transfer") for metric in _measured(metrics, kind)]


class OldPerformance:
    """Metrics of old examples, exact whatever the number of workers: the newest answer to each is there.

    The windows are ``reference``, the first examples, and ``reservoir``, a sample of all. Beside the metrics there are

    - ``forgetting`` of the reference: how much worse a metric is than its best so far;
    - ``backward-transfer``: how much better a metric is than when the same examples were first answered again, which
      was soon after they were learned. Below zero: what came later has done harm.

    Parameters
    ----------
    metrics : sequence of str
        The model's.
    kind : str
        Of the truth.

    References
    ----------
    Chaudhry et al., Riemannian Walk for Incremental Learning (2018), forgetting; Lopez-Paz and Ranzato, Gradient
    Episodic Memory (2017), backward transfer.
    """

    def __init__(self, metrics: Sequence[str], kind: str) -> None:
        self._metrics, self._kind = _measured(metrics, kind), kind
        self._rows: dict[str, dict[str, list[list[float]]]] = {}  # by shard: each answers again when it has to
        self._changed = False
        self._best: dict[str, float] = {}

    def take(self, text: str) -> None:
        """Take the answers of one shard, as ``OldExamples.answered`` gave them, in the place of its older ones."""
        rows = json.loads(text)
        shard = rows.pop("shard", "")
        shards = shard.partition("/")[2]  # of another number of shards nothing is left
        self._rows = {name: kept for name, kept in self._rows.items() if name.partition("/")[2] == shards}
        self._rows[shard] = rows
        self._changed = True

    def measures(self) -> list[tuple[str, str, float, int]]:
        """Return metric, window, value and examples; nothing if no answer has come since the last call."""
        out = []
        for name in _SETS if self._changed else ():
            found = sorted(row for shard in self._rows.values() for row in shard.get(name, []))
            rows = np.array(found, dtype=np.float64)  # in this order whichever shard was first
            if not len(rows):
                continue
            for metric in self._metrics:
                now, then = (self._figure(metric, rows[:, at : at + 4]) for at in (0, 4))
                if now is None:
                    continue
                out.append((metric, name, now, len(rows)))
                sign = 1 if _higher_is_better(metric) else -1
                if name == "reference":
                    best = self._best[metric] = max(self._best.get(metric, -np.inf), sign * now)
                    out.append((f"forgetting.{metric}", name, best - sign * now, len(rows)))
                if then is not None:
                    out.append((f"backward-transfer.{metric}", name, sign * (now - then), len(rows)))
        self._changed = False
        return out

    def _figure(self, metric: str, rows: Any) -> float | None:
        score, truth, right, p_true = rows.T
        predicted = np.where(right > 0.5, truth, 1.0 - truth)
        return measure(metric, self._kind, Answers(score, truth, right, p_true, predicted), np.ones(len(rows)))

    def state(self) -> list[Any]:
        """Return the state as plain values."""
        return [dict(sorted(self._rows.items())), self._best, self._changed]

    def load(self, state: list[Any]) -> None:
        """Take over what ``state`` gave."""
        rows, self._best, *changed = state
        if changed:
            self._rows, self._changed = rows, changed[0]
        else:  # the first version had the answers of all shards together, until the next call of ``measures``
            self._rows, self._changed = ({"": rows}, True) if rows else ({}, False)
