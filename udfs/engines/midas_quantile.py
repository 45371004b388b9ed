"""Is a score among the highest? A quantile of the scores seen lately, in constant memory."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from thalweg.connector.errors import SnapshotError
from thalweg.udfs.engines.midas_compile import compiled

__all__ = ["ABOVE", "CLASSES", "UNKNOWN", "WITHIN", "ScoreQuantile"]

UNKNOWN, WITHIN, ABOVE = -1, 0, 1

# 32 classes between a power of two and the next, from 2^-16 to 2^112; the first takes all below, the last all above.
_STEPS, _LOWEST, _HIGHEST = 32, -16, 112
CLASSES = (_HIGHEST - _LOWEST) * _STEPS + 1
_SHIFT = 52 - 5  # of the 52 bits of a float's fraction, five tell the class
_FIRST = (1023 + _LOWEST) * _STEPS
# A score counts so many units, so that halving whole numbers loses next to nothing.
_UNIT = 1 << 16
_ABOVE, _ALTOGETHER = 100, 10_000  # scores that the memory spans, at least: above the quantile, and in all

# What the pointer of a quantile holds: the class it is in, the units in classes below that, the units in all.
_AT, _BELOW, _ALL = range(3)


@compiled
def _move(counts: Any, pointer: Any, share: float) -> None:
    """Move the pointer to the lowest class up to which the ``share`` of all units lies."""
    wanted = share * pointer[_ALL]
    at, below = pointer[_AT], pointer[_BELOW]
    while below + counts[at] < wanted:
        below += counts[at]
        at += 1
    while at > 0 and below >= wanted:
        at -= 1
        below -= counts[at]
    pointer[_AT], pointer[_BELOW] = at, below


@compiled
def _judge(bits: Any, counts: Any, pointer: Any, share: float, least: int, most: int, learn: bool, flags: Any) -> None:
    last = len(counts) - 1
    for place in range(len(bits)):
        found = min(max((bits[place] >> _SHIFT) - _FIRST + 1, 0), last)
        flags[place] = UNKNOWN if pointer[_ALL] < least else ABOVE if found > pointer[_AT] else WITHIN
        if not learn:
            continue
        counts[found] += _UNIT
        pointer[_ALL] += _UNIT
        if found < pointer[_AT]:
            pointer[_BELOW] += _UNIT
        if pointer[_ALL] >= most:
            pointer[_AT] = pointer[_BELOW] = pointer[_ALL] = 0
            for at in range(len(counts)):
                counts[at] >>= 1
                pointer[_ALL] += counts[at]
        _move(counts, pointer, share)


class ScoreQuantile:
    """Says of each score whether it lies above a quantile of those before it.

    Scores are counted by magnitude in classes that are at most 3.1 % wide, as in DDSketch (Masson, Rim and Lee, VLDB
    2019), with classes of equal width between powers of two, as in HdrHistogram. Unlike P-square it takes scores that
    are unbounded or mostly equal, its error is bounded, and the order of the scores does not matter. Counts are halved
    in regular intervals, for the scores of MIDAS grow with the number of ticks.

    Parameters
    ----------
    share : float
        The quantile, between 0 and 1. The first answers come after 1 / (1 - share) scores; the memory spans between
        100 and 200 times as many, and at least between 10,000 and 20,000.

    Attributes
    ----------
    counts : array of int64, shape (CLASSES,)
        Units in each class, 65,536 for a new score.

    Examples
    --------
    >>> quantile = ScoreQuantile(0.9)
    >>> quantile.judge(np.arange(100.0), learn=True)[:12].tolist()
    [-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1, 1]
    >>> quantile.judge(np.array([50.0, 99.0]), learn=False).tolist()
    [0, 1]
    """

    def __init__(self, share: float) -> None:
        self._share = share
        needed = ceil(round(1 / (1 - share), 6))
        self._least, self._most = needed * _UNIT, 2 * max(_ABOVE * needed, _ALTOGETHER) * _UNIT
        self.counts: NDArray[np.int64] = np.zeros(CLASSES, np.int64)
        self._pointer: NDArray[np.int64] = np.zeros(3, np.int64)
        self.judge(np.empty(0), learn=False)

    def judge(self, scores: NDArray[np.float64], learn: bool) -> NDArray[np.int8]:
        """Return UNKNOWN, WITHIN or ABOVE for each score, and count it if ``learn``.

        Parameters
        ----------
        scores : array of float64, shape (n,)
            Zero or above, in order. Each is judged by those counted before it.
        learn : bool
            Whether they are counted; if not, nothing changes.
        """
        flags: NDArray[np.int8] = np.empty(len(scores), np.int8)
        bits = scores.view(np.int64)
        _judge(bits, self.counts, self._pointer, self._share, self._least, self._most, learn, flags)
        return flags

    def take(self, counts: NDArray[np.int64]) -> None:
        """Take the counts of another one, perhaps of another quantile.

        Raises
        ------
        SnapshotError
            They cannot be counts.
        """
        if counts.min() < 0 or counts.max() > 1 << 48:
            raise SnapshotError("the snapshot is damaged: a count of scores cannot be.")
        self.counts[:] = counts
        self._pointer[:] = 0, 0, counts.sum()
        _move(self.counts, self._pointer, self._share)
