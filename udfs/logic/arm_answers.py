"""How each arm answers: whether at all, and how often as the default does."""

from __future__ import annotations

from typing import Any

import numpy as np
from thalweg.udfs.logic.arm_outcomes import onward
from thalweg.udfs.logic.comparison_plan import Plan
from thalweg.udfs.logic.guardrails import Guardrail, Verdict
from thalweg.udfs.logic.sequential_tests import Interval, mean_interval, rate_evidence

__all__ = ["ArmAnswers"]


class ArmAnswers:
    """Counts of answers, of failures, and the agreement with the default.

    Parameters
    ----------
    plan : Plan
        What is configured.
    """

    def __init__(self, plan: Plan) -> None:
        self._shadow = np.array([arm.mirror for arm in plan.arms])
        self._numbers = plan.task != "classification" and plan.output == "number"
        arms = len(plan.arms)
        # Since the start: events, failures, events it was assigned. Since the last restart: events, failures, and
        # events where it and the default answered with sum and squares of agreement.
        self.sums: dict[str, Any] = {
            "answers": np.zeros((arms, 3)),
            "tested": np.zeros((arms, 5)),
        }

    def add(self, there: Any, answered: Any, labels: Any, scores: Any, assigned: Any, place: int) -> None:
        """Take answers to events.

        Parameters
        ----------
        there, answered : array of bool, shape (n, arms)
            Whether an arm has a row, and whether that is an answer.
        labels : array of object, shape (n, arms)
            Classes.
        scores : array of float, shape (n, arms)
            Scores; NaN where there is none.
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

    def restart(self) -> None:
        """Begin anew what is tested."""
        self.sums["tested"][:] = 0

    def agreement(self, arm: int, alpha: float, tuned: float) -> Interval:
        """Return in which share of events an arm answers as the default; of numbers, 1 - |a - b| / (|a| + |b|)."""
        _, _, count, total, squares = self.sums["tested"][arm].tolist()
        mean = total / count if count else 0.0
        # At least the variance of one in so many: else all alike would be a certainty after two events.
        variance = max(squares / count - mean * mean, 1 / count) if count else 0.0
        return mean_interval(mean, variance, int(count), alpha, tuned)

    def judge(self, arm: int, rule: Guardrail, alpha: float, least: int) -> Verdict:
        """Return the verdict on a rule about failures."""
        count, hits = self.sums["tested"][arm, :2].tolist()
        bound, value = rule.bound, hits / count if count else 0.0
        if rate_evidence(int(hits), int(count), bound) >= np.log(1 / alpha):
            return Verdict("broken", value, rule.told())
        return Verdict("kept" if count >= least and hits <= bound * count else "open", value, rule.told())
