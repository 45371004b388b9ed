"""Keeps a shadow within its time: where its rows take longer, it answers a share of the events only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from thalweg.udfs.logic.learning import LEARN, LEARNS, SCORE, SCORE_LATE

__all__ = ["ShadowBudget", "rows_without"]

_WEIGHT = 0.2  # of the newest block
_PATIENCE = 1000  # events whose time may be owed before labels are skipped too


def rows_without(columns: list[list[Any]], unasked: Sequence[bool]) -> list[list[Any]]:
    """Return the rows of a block without the answers to some events; their labels are learned all the same.

    Parameters
    ----------
    columns : list of lists
        As ``LearningLogic.on_rows`` reads them.
    unasked : sequence of bool
        Of each row, whether its event is not to be answered.
    """
    kinds, kept = [], []
    for at, (kind, skip) in enumerate(zip(columns[0], unasked, strict=True)):
        if skip and kind in (SCORE, SCORE_LATE):
            continue
        kinds.append(LEARN if skip else kind)  # of a step, that is an event with its label, what is left
        kept.append(at)
    return [kinds, *([column[at] for at in kept] for column in columns[1:])]


class ShadowBudget:
    """Which events a shadow answers, and when it may not even learn.

    The share of the events that it answers is that of the budget in what an answer takes: slow as it may be, it is seen
    again when it has become fast. Labels are learned nevertheless, until the time of 1,000 events is owed: then blocks
    are passed over whole until it is paid back. So all it ever takes is the budget of the events, that of 1,000 more,
    and the block that was too slow.

    What is skipped depends on the time that was measured, so it is not the same after a restart. A shadow that skips
    an event has no row of it, and is neither blamed nor praised for it.

    Parameters
    ----------
    budget_ms : float
        Time per event.

    Attributes
    ----------
    skipped : int
        Events that were not answered, so far.
    unlearned : int
        Labels that were not learned, so far.

    Examples
    --------
    >>> budget = ShadowBudget(2.0)
    >>> budget.spent(100, 800_000_000)  # 8 ms for each row
    >>> budget.kept([[SCORE] * 8, list("abcdefgh")])[1]
    ['d', 'h']
    >>> budget.skipped
    6
    """

    def __init__(self, budget_ms: float) -> None:
        self._budget_ns = budget_ms * 1e6
        self._cost_ns = 0.0
        self._owed_ns = 0.0
        self._turn = 0.0
        self.skipped = self.unlearned = 0

    def kept(self, columns: list[list[Any]]) -> list[list[Any]]:
        """Return the rows of a block that are to be done, as ``LearningLogic.on_rows`` reads them."""
        asked = [kind for kind in columns[0] if kind != LEARN]
        tired = self._pay(len(asked))
        share = self._share()
        if not columns[0] or (share == 1.0 and not tired):
            return columns
        if tired:
            self.skipped += len(asked)
            self.unlearned += sum(LEARNS[kind] for kind in columns[0])
            return [[] for _ in columns]
        return rows_without(columns, [kind != LEARN and not self._take(share) for kind in columns[0]])

    def picked(self, count: int) -> Sequence[int]:
        """Return which of so many events are to be answered, where there is nothing to learn."""
        if self._pay(count):
            self.skipped += count
            return ()
        share = self._share()
        return range(count) if share == 1.0 else [at for at in range(count) if self._take(share)]

    def spent(self, rows: int, nanoseconds: int) -> None:
        """Note how long a block took."""
        self._owed_ns += nanoseconds
        if rows:
            cost = nanoseconds / rows
            self._cost_ns = cost if not self._cost_ns else (1 - _WEIGHT) * self._cost_ns + _WEIGHT * cost

    def _share(self) -> float:
        return 1.0 if self._cost_ns <= self._budget_ns else self._budget_ns / self._cost_ns

    def _take(self, share: float) -> bool:
        self._turn += share
        if self._turn < 1:
            self.skipped += 1
            return False
        self._turn -= 1
        return True

    def _pay(self, events: int) -> bool:
        """Take the time of new events off what is owed, and tell whether too much is left."""
        self._owed_ns = max(0.0, self._owed_ns - events * self._budget_ns)
        return self._owed_ns > _PATIENCE * self._budget_ns
