"""A block of rows of several arms as events: which row each arm has of each event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Events", "events_of"]


class Events(NamedTuple):
    """Events of a block, in its order; an event and its outcome are two.

    Attributes
    ----------
    head : array of int, shape (n,)
        The first row of each event.
    rows : array of int, shape (n, arms)
        The row of each arm; -1 where it has none.
    repeated : int
        Rows of an arm beyond its first one of an event.
    """

    head: Any
    rows: Any
    repeated: int


def events_of(kind: Any, arm: Any, ids: Sequence[str | None], times_ms: Any, arms: int, alone: int = -1) -> Events:
    """Return the events of a block whose rows of one event stand side by side.

    Parameters
    ----------
    kind, arm, times_ms : array of int, shape (rows,)
        Kind of the row, its arm, and the time of the event.
    ids : sequence of str
        Of the events.
    arms : int
        How many there are.
    alone : int
        A kind of which each row is for itself.

    Examples
    --------
    >>> zero = np.zeros(4, dtype=np.int64)
    >>> events_of(zero, np.array([0, 1, 1, 0]), ["a", "a", "a", "b"], zero, 2)
    Events(head=array([0, 3]), rows=array([[ 0,  1],
           [ 3, -1]]), repeated=1)
    """
    count = len(kind)
    if not count:
        return Events(np.zeros(0, dtype=np.int64), np.zeros((0, arms), dtype=np.int64), 0)
    names = np.array(ids, dtype=object)
    starts = np.ones(count, dtype=np.bool_)
    starts[1:] = (kind[1:] != kind[:-1]) | (times_ms[1:] != times_ms[:-1]) | (names[1:] != names[:-1])
    starts |= kind == alone
    event = np.cumsum(starts) - 1
    rows = np.full((int(event[-1]) + 1, arms), -1, dtype=np.int64)
    known = np.flatnonzero((arm >= 0) & (arm < arms))[::-1]
    rows[event[known], arm[known]] = known  # backwards: what is written last is the first row
    return Events(np.flatnonzero(starts), rows, len(known) - int((rows >= 0).sum()))
