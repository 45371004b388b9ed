"""Which arm had which share when: so that the arm of a unit at an earlier time can be computed again."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from thalweg.udfs.logic.assignment import SLOTS, moved

__all__ = ["Assigned", "WeightLog"]


class Assigned(NamedTuple):
    """The arms of units.

    Attributes
    ----------
    arm : array of int, shape (n,)
        -1 where it was one that there is no more.
    shares : array of float, shape (n, arms)
        Of all arms at that time, 0 to 1: the chance with which a unit had each.
    """

    arm: Any
    shares: Any


class WeightLog:
    """The tables of slots, each from a time on.

    Parameters
    ----------
    counts : sequence of int
        Slots of each arm at the start.
    order : sequence of int
        In which the arms take their first slots: the default last, so that the shares of others do not depend on it.

    Examples
    --------
    >>> log = WeightLog([8000, 2000], [1, 0])
    >>> log.change(100, [5000, 5000])
    >>> slots = np.array([1000, 8000, 8000])
    >>> log.at(slots, np.array([99, 99, 100])).arm.tolist()
    [1, 0, 1]
    """

    def __init__(self, counts: Sequence[int], order: Sequence[int]) -> None:
        table = np.full(SLOTS, -1)
        taken = 0
        for arm in order:
            table[taken : taken + counts[arm]] = arm
            taken += counts[arm]
        self._starts = [0]  # what came before the first start is served by the first table as well
        self._tables = [table]
        self._arms = len(counts)
        self._stack()

    def _stack(self) -> None:
        self._stacked = np.array(self._tables, dtype=np.int16)
        counts = [[np.count_nonzero(table == arm) for arm in range(self._arms)] for table in self._tables]
        self._shares = np.array(counts, dtype=np.float64) / SLOTS

    def at(self, slots: Any, times_ms: Any) -> Assigned:
        """Return the arms of units by slot at these times, and all arms' shares then."""
        epochs = np.searchsorted(self._starts, times_ms, side="right") - 1
        epochs = np.maximum(epochs, 0)
        return Assigned(self._stacked[epochs, slots].astype(np.int64), self._shares[epochs])

    def shares(self) -> list[float]:
        """Return the percent of each arm from the last change on."""
        return [round(100 * share, 2) for share in self._shares[-1].tolist()]

    def since_ms(self) -> int:
        """Return from when on the shares of now hold."""
        return self._starts[-1]

    def change(self, start_ms: int, counts: Sequence[int]) -> None:
        """Give each arm ``counts`` slots for events from ``start_ms`` on, with the fewest moves."""
        table = moved(self._tables[-1], counts)
        if len(self._starts) > 1 and start_ms <= self._starts[-1]:
            self._tables[-1] = table
        else:
            self._starts.append(start_ms)
            self._tables.append(table)
        self._stack()

    def prune(self, before_ms: int) -> None:
        """Forget what only events before ``before_ms`` need."""
        gone = 0
        while gone + 1 < len(self._starts) and self._starts[gone + 1] <= before_ms:
            gone += 1
        if gone:
            del self._starts[:gone], self._tables[:gone]
            self._stack()

    def __len__(self) -> int:
        return len(self._starts)

    def state(self) -> list[list[Any]]:
        """Return the state as plain values: starts, each with the lengths of runs and their arms."""
        return [
            [start, [[len(list(run)), arm] for arm, run in groupby(table.tolist())]]
            for start, table in zip(self._starts, self._tables, strict=True)
        ]

    def load(self, state: Sequence[Sequence[Any]], places: Sequence[int]) -> None:
        """Take over what ``state`` gave.

        Parameters
        ----------
        state :
            From ``state``.
        places : sequence of int
            Where each arm of the state is now; -1, nowhere.

        Raises
        ------
        ValueError
            A table is not complete.
        """
        where = np.array([*places, -1])  # -1 finds the last
        self._starts = [int(start) for start, _ in state]
        self._tables = [
            where[np.repeat([arm for _, arm in runs], [length for length, _ in runs]).astype(np.int64)]
            for _, runs in state
        ]
        if not self._tables or any(table.shape != (SLOTS,) for table in self._tables):
            raise ValueError("a table of slots is not complete.")
        self._stack()
