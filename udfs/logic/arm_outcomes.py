"""How wrong each arm was, and how much better than the default on the same events; as sums that go on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from thalweg.udfs.engines.base import EngineSpec, Field
from thalweg.udfs.logic.arm_batches import BATCHES, add_batches, batch_variance
from thalweg.udfs.logic.comparison_plan import Plan
from thalweg.udfs.logic.metrics import losses
from thalweg.udfs.logic.outcomes import outcome_columns
from thalweg.udfs.logic.sequential_tests import Interval, mean_interval
from thalweg.udfs.logic.slices import OTHER, TextCodes

__all__ = ["LOSSES", "ArmOutcomes", "known_losses", "onward"]

LOSSES = ("LogLoss", "Accuracy", "Brier", "MAE", "RMSE", "MSE", "MAPE", "SMAPE", "RMSLE")
"""By which models can be compared on the same events; of ``Accuracy`` more is better, of all others less."""

_ROOTS = ("RMSE", "RMSLE")
_VALUES = 100  # of a column that are told apart


def known_losses(task: str, output: str) -> tuple[str, ...]:
    """Return those of ``LOSSES`` that a task has.

    Examples
    --------
    >>> known_losses("classification", "string")
    ('LogLoss', 'Accuracy')
    """
    if task != "classification":
        return LOSSES[3:] if output == "number" else ()
    return LOSSES[:3] if output == "boolean" else LOSSES[:2]


def onward(total: Any, values: Any) -> Any:
    """Return ``total`` plus ``values`` along their first axis, one after the other: the same bits in any blocks."""
    return np.cumsum(np.concatenate((total[None], values)), axis=0)[-1]


def _moments(count: float, total: float, squares: float) -> tuple[float, float]:
    """Return mean and variance."""
    mean = total / count if count else 0.0
    return mean, max(0.0, squares - total * mean) / (count - 1) if count > 1 else 0.0


class ArmOutcomes:
    """Losses of each arm, and in pairs with the default, overall and per value of the slices.

    Parameters
    ----------
    plan : Plan
        What is configured.
    """

    def __init__(self, plan: Plan) -> None:
        measured = [plan.metric] if plan.metric in LOSSES else []
        held = [rule.metric for rule in plan.guardrails if rule.metric in LOSSES]
        self.metrics = tuple(dict.fromkeys((*measured, *held)))
        relative = [rule.metric for rule in plan.guardrails if rule.metric in LOSSES and rule.sign == "not worse"]
        self.sliced = tuple(dict.fromkeys(relative)) or self.metrics[:1]
        self._columns = plan.slices
        self._spec = EngineSpec("", plan.task, "", (), Field("", plan.output))
        self._values = [TextCodes(_VALUES) for _ in plan.slices]
        arms, many = len(plan.arms), len(self.metrics)
        # Of each arm and metric: count, sum, squares; of pairs the same of the difference, then both sums.
        self.sums: dict[str, Any] = {
            "own": np.zeros((arms, many, 3)),
            "pair": np.zeros((arms, many, 5)),
            "recent": np.zeros((arms, min(many, 1), 5)),
            "batches": np.zeros((arms, 2, BATCHES)),  # of the differences behind "pair" and "recent", first metric
            "slices": np.zeros((arms, len(self._columns), _VALUES + 1, len(self.sliced), 5)),
        }

    def values(self, columns: Sequence[Sequence[Any]], rows: Any, scores: Any, labels: Any) -> tuple[Any, Any]:
        """Return the losses of events and the codes of their slices.

        Parameters
        ----------
        columns : sequence of sequences
            As for ``Comparison.on_rows``.
        rows : array of int, shape (n, arms)
            The row of each arm; -1, it has none.
        scores : array of float, shape (n, arms)
            NaN where there is no answer.
        labels : array of object, shape (n, arms)
            Classes.

        Returns
        -------
        array of float, shape (n, arms, metrics)
            Larger is better: losses with a minus. NaN where there is no answer.
        array of int, shape (n, columns)
            Codes.
        """
        heads = rows.max(axis=1).tolist()
        gains = np.full((*rows.shape, len(self.metrics)), np.nan)
        if self.metrics:
            score, truth, right, p_true = self._read(columns, rows, scores, labels, heads)
            for at, metric in enumerate(self.metrics):
                gain = losses(metric, score, truth, right, p_true) * (1 if metric == "Accuracy" else -1)
                gains[:, :, at] = np.where(np.isfinite(score), gain, np.nan)
        return gains, self._codes([columns[11][row] for row in heads] if self._columns else [], len(rows))

    def _read(self, columns: Sequence[Sequence[Any]], rows: Any, scores: Any, labels: Any, heads: list[int]) -> Any:
        """Return score, truth, whether the class was right, and its probability, shape (n, arms) each."""
        if self._spec.output.kind == "boolean":  # as ``outcomes.outcome_columns``, for whole blocks
            texts = [columns[9][row] for row in heads]
            true = np.array([text is not None and text.lower() == "true" for text in texts])[:, None]
            known = np.array([text is not None for text in texts])[:, None]
            right = labels == np.where(true, "true", "false").astype(object)
            return np.where(known, scores, np.nan), true * 1.0, right, np.where(true, scores, 1 - scores)
        flat = rows[rows >= 0].tolist()
        picked = [[columns[at][row] for row in flat] for at in (0, 2, 4, 5, 6, 7, 8, 9)]
        out = np.full((4, *rows.shape), np.nan)
        out[:, rows >= 0] = np.array(outcome_columns(self._spec, picked)[3:7], dtype=np.float64)
        return out[0], out[1], out[2] > 0.5, out[3]

    def _codes(self, texts: Sequence[str | None], count: int) -> Any:
        parsed: dict[str | None, list[str]] = {None: ["(null)"] * len(self._columns)}
        for text in set(texts) - {None}:
            values = json.loads(text or "[]")
            parsed[text] = ["(null)" if v is None else v if isinstance(v, str) else json.dumps(v) for v in values]
        codes = [book.codes([parsed[text][at] for text in texts]) for at, book in enumerate(self._values)]
        return np.array(codes, dtype=np.int64).reshape(len(self._columns), count).T

    def add(self, gains: Any, codes: Any, default: int) -> None:
        """Take events, given ``values`` and the place of the default."""
        scored = np.isfinite(gains)
        own = np.where(scored, gains, 0.0)
        self.sums["own"] = onward(self.sums["own"], np.stack((scored, own, np.square(own)), axis=-1))
        both = scored & scored[:, default : default + 1]
        its = np.where(both, own[:, default : default + 1], 0.0)
        own = np.where(both, own, 0.0)
        ahead = own - its
        pairs = np.stack((both, ahead, np.square(ahead), own, its), axis=-1)
        if self.metrics:
            for arm in range(gains.shape[1]):
                for at, name in enumerate(("pair", "recent")):
                    count = int(self.sums[name][arm, 0, 0])
                    add_batches(self.sums["batches"][arm, at], count, ahead[both[:, arm, 0], arm, 0])
        self.sums["pair"] = onward(self.sums["pair"], pairs)
        self.sums["recent"] = onward(self.sums["recent"], pairs[:, :, :1])
        places = [self.metrics.index(metric) for metric in self.sliced]
        for column in range(len(self._columns)):
            for arm in range(gains.shape[1]):
                np.add.at(self.sums["slices"][arm, column], codes[:, column], pairs[:, arm, places])

    def restart(self) -> None:
        """Begin the pairs anew: there is another default, or the next period."""
        self.sums["pair"][:] = 0
        self.sums["recent"][:] = 0
        self.sums["batches"][:] = 0
        self.sums["slices"][:] = 0

    def own(self, arm: int, metric: str, alpha: float, tuned: float) -> Interval:
        """Return an arm's metric since the start, as people know it: a loss without a minus."""
        count, total, squares = self.sums["own"][arm, self.metrics.index(metric)].tolist()
        found = mean_interval(*_moments(count, total, squares), int(count), alpha, tuned)
        if metric == "Accuracy":
            return found
        value, lower, upper = -found.value, -found.upper, -found.lower
        if metric in _ROOTS:
            value, lower, upper = (max(0.0, part) ** 0.5 for part in (value, lower, upper))
        return Interval(value, lower, upper, found.log_evidence, found.count)

    def pair(self, arm: int, metric: str, alpha: float, tuned: float) -> Interval:
        """Return by how much an arm was better than the default where both answered, since the last restart."""
        return _difference(self.sums["pair"][arm, self.metrics.index(metric)], metric, alpha, tuned)

    def steady(self, arm: int, alpha: float, tuned: float) -> Interval:
        """Return ``pair`` of the first metric, with an interval that is as wide as regimes make it."""
        return self._steady("pair", 0, arm, alpha, tuned)

    def recent(self, arm: int, alpha: float, tuned: float) -> Interval:
        """Return ``steady`` in the window of the newest events that now fills."""
        return self._steady("recent", 1, arm, alpha, tuned)

    def _steady(self, name: str, at: int, arm: int, alpha: float, tuned: float) -> Interval:
        if not self.metrics:
            return Interval(0.0, -np.inf, np.inf, 0.0, 0)
        sums = self.sums[name][arm, 0]
        least = batch_variance(self.sums["batches"][arm, at], int(sums[0]), alpha)
        return _difference(sums, self.metrics[0], alpha, tuned, least)

    def new_window(self, least: int) -> bool:
        """Begin a new window if the one that fills has ``least`` events; return whether it had."""
        full = bool((self.sums["recent"][:, :, 0] >= least).any())
        if full:
            self.sums["recent"][:] = 0
            self.sums["batches"][:, 1] = 0
        return full

    def slices(self, arm: int, metric: str, column: str, alpha: float, tuned: float) -> list[tuple[str, Interval]]:
        """Return ``pair`` per value of a column, each with its name such as ``carrier=UA``.

        The chance ``alpha`` is for all of them together: the interval of each has a part of it that does not depend
        on how many values will come.
        """
        at, out = self._columns.index(column), []
        sums = self.sums["slices"][arm, at, :, self.sliced.index(metric)]
        for code, name in enumerate(self._values[at].names):
            if sums[code, 0] > 1:
                found = _difference(sums[code], metric, alpha / ((code + 1) * (code + 2)), tuned)
                out.append((f"{column}={name}", found))
        return out

    def state(self) -> dict[str, Any]:
        """Return what is not in ``sums``, as plain values."""
        return {
            "metrics": self.metrics,
            "sliced": self.sliced,
            "columns": self._columns,
            "values": [book.names for book in self._values],
        }

    def load(self, state: dict[str, Any], sums: dict[str, Any]) -> None:
        """Take over what ``state`` gave and ``sums`` of the same arms; metrics and columns that are new begin now."""
        for at, metric in enumerate(self.metrics):
            if metric in state["metrics"]:
                then = state["metrics"].index(metric)
                for name in ("own", "pair"):
                    self.sums[name][:, at] = sums[name][:, then]
        if self.metrics[:1] == tuple(state["metrics"][:1]):
            for name in ("recent", "batches"):
                self.sums[name] = sums.get(name, self.sums[name])
        else:
            self.sums["pair"][:, :1] = 0  # there are no batches of it
        if list(self.sliced) != list(state["sliced"]):
            return
        for at, column in enumerate(self._columns):
            if column in state["columns"]:
                then = state["columns"].index(column)
                names = state["values"][then]
                if names[:1] == [OTHER] and len(names) <= _VALUES + 1:
                    self._values[at].load(names)
                    self.sums["slices"][:, at] = sums["slices"][:, then]


def _difference(sums: Any, metric: str, alpha: float, tuned: float, least: float = 0.0) -> Interval:
    count, total, squares, own, its = sums.tolist()
    mean, variance = _moments(count, total, squares)
    found = mean_interval(mean, max(variance, least), int(count), alpha, tuned)
    if metric not in _ROOTS or not count or own + its == 0:
        return found
    # A difference of roots is the difference of squares over the sum of roots.
    scale = 1 / ((max(0.0, -own) / count) ** 0.5 + (max(0.0, -its) / count) ** 0.5)
    value, lower, upper = (part * scale for part in found[:3])
    return Interval(value, lower, upper, found.log_evidence, found.count, found.error * scale)
