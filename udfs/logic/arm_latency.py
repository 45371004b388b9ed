"""How long events wait for each arm, and what they cost it: quantiles that can be merged, guardrails on them."""

from __future__ import annotations

from typing import Any

import numpy as np
from thalweg.udfs.logic.comparison_plan import Plan
from thalweg.udfs.logic.guardrails import Guardrail, Verdict
from thalweg.udfs.logic.sequential_tests import rate_evidence

__all__ = ["ArmLatency"]

_BINS = 600
_STEP = np.log(1.05)  # a quantile is known to 5 percent,
_LEAST_MS = 1e-5  # from 10 ns to 14 hours


class ArmLatency:
    """Counts times by their size, in bins: of two machines they can be added.

    A block of events is answered together: each of them waits for the whole (``latency``), and costs its part of it
    (``cost``). Quantiles are those of the events. Evidence against a guardrail is counted in blocks, as events that
    wait together are one measurement: a block counts more the more events it has, and all together as much as so many
    blocks of one size would (Kish 1965, Survey Sampling, effective sample size).

    Parameters
    ----------
    plan : Plan
        What is configured.
    """

    def __init__(self, plan: Plan) -> None:
        self._rules = [rule for rule in plan.guardrails if rule.quantile() is not None]
        arms = len(plan.arms)
        # By arm: events in bins of their latency and their cost; events, squares of those of a block, blocks, and for
        # each rule the events at or beyond its bound.
        self.sums: dict[str, Any] = {
            "latency": np.zeros((arms, _BINS)),
            "cost": np.zeros((arms, _BINS)),
            "slow": np.zeros((arms, 3 + len(self._rules))),
        }

    def add(self, latency: Any, waited: Any) -> None:
        """Take blocks.

        Parameters
        ----------
        latency, waited : array of float, shape (n, arms)
            How long a block took in ms, and how many events waited for it; NaN where nothing was measured, or for 1.
        """
        for arm in np.flatnonzero(np.isfinite(latency).any(axis=0)).tolist():
            timed = np.isfinite(latency[:, arm])
            ms = latency[timed, arm]
            events = np.where(np.isfinite(waited[timed, arm]), waited[timed, arm], 1.0)
            for name, values in (("latency", ms), ("cost", ms / events)):
                np.add.at(self.sums[name][arm], _bins(values), events)
            slow = self.sums["slow"][arm]
            slow[:3] += events.sum(), np.square(events).sum(), len(events)
            for at, rule in enumerate(self._rules, 3):
                slow[at] += events[(ms / events if _of_cost(rule) else ms) >= rule.bound].sum()

    def restart(self) -> None:
        """Begin anew."""
        for array in self.sums.values():
            array[:] = 0

    def events(self, arm: int) -> int:
        """Return how many events were timed."""
        return int(self.sums["slow"][arm, 0])

    def quantile(self, arm: int, name: str, share: float) -> float | None:
        """Return a quantile of ``latency`` or ``cost`` in ms; None where none was measured."""
        counts = self.sums[name][arm]
        if not counts.any():
            return None
        at = int(np.searchsorted(np.cumsum(counts), share * counts.sum()))
        return float(_LEAST_MS * np.exp(_STEP * (at + 0.5)))

    def judge(self, arm: int, rule: Guardrail, alpha: float, least: int) -> Verdict:
        """Return the verdict on a rule about a quantile.

        It is open before there are ``least`` events in as many blocks as one slow one of them would be allowed.
        """
        share = rule.quantile() or 0.0
        events, squares, _ = self.sums["slow"][arm, :3].tolist()
        over = float(self.sums["slow"][arm, 3 + self._rules.index(rule)])
        value = self.quantile(arm, "cost" if _of_cost(rule) else "latency", share) or 0.0
        blocks = events * events / squares if squares else 0.0
        if blocks * (1 - share) < 1 - 1e-9:
            return Verdict("open", value, rule.told())
        if rate_evidence(int(blocks * over / events), int(blocks), 1 - share) >= np.log(1 / alpha):
            return Verdict("broken", value, rule.told())
        kept = events >= least and over <= (1 - share) * events
        return Verdict("kept" if kept else "open", value, rule.told())


def _of_cost(rule: Guardrail) -> bool:
    return rule.metric.startswith("cost")


def _bins(ms: Any) -> Any:
    found = np.log(np.maximum(ms, _LEAST_MS) / _LEAST_MS) / _STEP
    return np.clip(found, 0, _BINS - 1).astype(np.int64)
