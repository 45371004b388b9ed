"""Keeps a shadow within its time: where its rows take longer, it answers a share of the events only."""

from __future__ import annotations

from typing import Any

from thalweg.udfs.logic.learning import LEARN, SCORE, SCORE_LATE

__all__ = ["ShadowBudget"]

_WEIGHT = 0.2  # of the newest block
_LEAST = 0.01  # of the events are always answered: else nobody would see that it has become fast again


class ShadowBudget:
    """Which events a shadow answers; all labels are learned.

    What is skipped depends on the time that was measured, so it is not the same after a restart. A shadow that skips
    an event has no row of it, and is neither blamed nor praised for it.

    Parameters
    ----------
    budget_ms : float
        Time per event.

    Examples
    --------
    >>> budget = ShadowBudget(2.0)
    >>> budget.spent(100, 800_000_000)  # 8 ms for each row
    >>> budget.kept([[SCORE] * 8, list("abcdefgh")])[1]
    ['d', 'h']
    """

    def __init__(self, budget_ms: float) -> None:
        self._budget_ns = budget_ms * 1e6
        self._cost_ns = 0.0
        self._turn = 0.0

    def kept(self, columns: list[list[Any]]) -> list[list[Any]]:
        """Return the rows of a block that are to be done, as ``LearningLogic.on_rows`` reads them."""
        share = 1.0 if self._cost_ns <= self._budget_ns else max(_LEAST, self._budget_ns / self._cost_ns)
        if share == 1.0 or not columns[0]:
            return columns
        kinds, kept = [], []
        for at, kind in enumerate(columns[0]):
            if kind != LEARN:
                self._turn += share
                if self._turn < 1:
                    if kind in (SCORE, SCORE_LATE):
                        continue
                    kind = LEARN  # of a step, that is an event with its label, what is left
                else:
                    self._turn -= 1
            kinds.append(kind)
            kept.append(at)
        return [kinds, *([column[at] for at in kept] for column in columns[1:])]

    def spent(self, rows: int, nanoseconds: int) -> None:
        """Note how long a block took."""
        if rows:
            cost = nanoseconds / rows
            self._cost_ns = cost if not self._cost_ns else (1 - _WEIGHT) * self._cost_ns + _WEIGHT * cost
