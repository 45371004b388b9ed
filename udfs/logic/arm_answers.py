"""How each arm answers: whether at all, how fast, and how often as the default does."""

from __future__ import annotations

from typing import Any

import numpy as np
from thalweg.udfs.logic.arm_outcomes import onward
from thalweg.udfs.logic.comparison_plan import Plan
from thalweg.udfs.logic.guardrails import Guardrail, Verdict
from thalweg.udfs.logic.sequential_tests import Interval, mean_interval, rate_evidence

__all__ = ["ArmAnswers"]

_BINS = 400
_STEP = np.log(1.05)  # a quantile is known to 5 percent, from 0.01 ms to 50 minutes


class ArmAnswers:
    """Counts of answers, of failures, of slow answers, and the agreement with the default.

    Parameters
    ----------
    plan : Plan
        What is configured.
    """

    def __init__(self, plan: Plan) -> None:
        self._shadow = np.array([arm.mirror for arm in plan.arms])
        self._numbers = plan.task != "classification" and plan.output == "number"
        self._quick = [rule for rule in plan.guardrails if rule.quantile() is not None]
        arms = len(plan.arms)
        # Since the start: events, failures, events it was assigned. Since the last restart: events, failures, and
        # events where it and the default answered with sum and squares of agreement. Then latencies in bins, and their
        # count with the counts beyond each bound.
        self.sums: dict[str, Any] = {
            "answers": np.zeros((arms, 3)),
            "tested": np.zeros((arms, 5)),
            "latency": np.zeros((arms, _BINS)),
            "slow": np.zeros((arms, 1 + len(self._quick))),
        }

    def add(self, there: Any, answered: Any, labels: Any, scores: Any, latency: Any, assigned: Any, place: int) -> None:
        """Take answers to events.

        Parameters
        ----------
        there, answered : array of bool, shape (n, arms)
            Whether an arm has a row, and whether that is an answer.
        labels : array of object, shape (n, arms)
            Classes.
        scores, latency : array of float, shape (n, arms)
            Scores, and ms; NaN where there is none.
        assigned : array of int, shape (n,)
            Arm of each event.
        place : int
            Of the default.
        """
        expected = there | ~self._shadow
        failed = expected & ~answered
        mine = assigned[:, None] == np.arange(there.shape[1])
        self.sums["answers"] += np.stack((expected, failed, mine), axis=-1).sum(axis=0)
        both = answered & answered[:, place : place + 1]
        if self._numbers:
            size = np.abs(scores) + np.abs(scores[:, place : place + 1])
            apart = np.abs(scores - scores[:, place : place + 1])
            alike = 1 - apart / np.where(both & (size > 0), size, 1.0)
        else:
            alike = (labels == labels[:, place : place + 1]).astype(np.float64)
        alike = np.where(both, alike, 0.0)
        values = np.stack((expected, failed, both, alike, np.square(alike)), axis=-1)
        self.sums["tested"] = onward(self.sums["tested"], values)
        timed = np.isfinite(latency)
        if timed.any():
            bins = np.clip(np.log(np.maximum(latency, 1e-2) / 1e-2) / _STEP, 0, _BINS - 1)
            for arm in range(there.shape[1]):
                np.add.at(self.sums["latency"][arm], bins[timed[:, arm], arm].astype(np.int64), 1.0)
            self.sums["slow"][:, 0] += timed.sum(axis=0)
            for at, rule in enumerate(self._quick, 1):
                self.sums["slow"][:, at] += (timed & (latency >= rule.bound)).sum(axis=0)

    def restart(self) -> None:
        """Begin anew what is tested."""
        for name in ("tested", "latency", "slow"):
            self.sums[name][:] = 0

    def agreement(self, arm: int, alpha: float, tuned: float) -> Interval:
        """Return in which share of events an arm answers as the default; of numbers, 1 - |a - b| / (|a| + |b|)."""
        _, _, count, total, squares = self.sums["tested"][arm].tolist()
        mean = total / count if count else 0.0
        # At least the variance of one in so many: else all alike would be a certainty after two events.
        variance = max(squares / count - mean * mean, 1 / count) if count else 0.0
        return mean_interval(mean, variance, int(count), alpha, tuned)

    def quantile(self, arm: int, share: float) -> float | None:
        """Return a quantile of the latency in ms; None where none was measured."""
        counts = self.sums["latency"][arm]
        if not counts.any():
            return None
        at = int(np.searchsorted(np.cumsum(counts), share * counts.sum()))
        return float(1e-2 * np.exp(_STEP * (at + 0.5)))

    def judge(self, arm: int, rule: Guardrail, alpha: float, least: int) -> Verdict:
        """Return the verdict on a rule about failures or the latency."""
        share = rule.quantile()
        if share is None:
            count, hits = self.sums["tested"][arm, :2].tolist()
            bound, value = rule.bound, hits / count if count else 0.0
        else:
            count, hits = self.sums["slow"][arm, [0, 1 + self._quick.index(rule)]].tolist()
            bound, value = 1 - share, self.quantile(arm, share) or 0.0
        if rate_evidence(int(hits), int(count), bound) >= np.log(1 / alpha):
            return Verdict("broken", value, rule.told())
        return Verdict("kept" if count >= least and hits <= bound * count else "open", value, rule.told())
