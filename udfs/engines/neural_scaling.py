"""Running mean and deviation of some numbers, as part of a model that standardises what it reads."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from thalweg.udfs.engines.midas_compile import compiled

__all__ = ["LIMIT", "Scaling"]

LIMIT = 10.0
"""How many deviations from the mean a number counts at most: one outlier does not throw a network off its way."""
_COUNT = struct.Struct("<Q")


@compiled
def _scale(rows: Any, mean: Any, deviation: Any, scaled: Any) -> None:
    for at in range(len(rows)):
        row, out = rows[at], scaled[at]
        for j in range(len(mean)):
            out[j] = min(max((row[j] - mean[j]) / deviation[j], -LIMIT), LIMIT)


@compiled
def _take(row: Any, mean: Any, squares: Any, deviation: Any, before: int) -> None:
    """Take one row into mean and variance."""
    count = before + 1
    for j in range(len(mean)):
        apart = row[j] - mean[j]
        mean[j] += apart * (1 / count)
        squares[j] += apart * apart * (before / count)
        spread = math.sqrt(squares[j] / count)
        deviation[j] = spread if spread > 0 else np.inf


class Scaling:
    """Standardises numbers by all that came before them.

    A number that has not varied yet is 0. Means and variances are joined as in Chan, Golub and LeVeque, Updating
    formulae and a pairwise algorithm for computing sample variances, 1979, in double precision.

    Parameters
    ----------
    width : int
        How many numbers a row has.

    Attributes
    ----------
    mean, deviation : ndarray
        Of each number; the deviation of what has not varied yet is infinite.

    Examples
    --------
    >>> scaling = Scaling(1)
    >>> for number in (1.0, 3.0):
    ...     scaling.learn(np.array([[number]]))
    >>> scaling.scaled(np.array([[4.0]])).tolist()
    [[2.0]]
    """

    def __init__(self, width: int) -> None:
        self._count = 0
        self.mean, self._squares = np.zeros(width), np.zeros(width)
        self.deviation = np.full(width, np.inf)

    def scaled(self, rows: Any) -> Any:
        """Return rows in deviations from the mean, within ten of them, as float32."""
        scaled = np.empty(rows.shape, np.float32)
        _scale(rows, self.mean, self.deviation, scaled)
        return scaled

    def learn(self, rows: Any) -> None:
        """Take rows, [rows, width], into mean and variance."""
        count, before = len(rows), self._count
        self._count += count
        if count == 1:
            _take(rows[0], self.mean, self._squares, self.deviation, before)
            return
        middle = rows.mean(axis=0)
        squares = ((rows - middle) ** 2).sum(axis=0)
        apart = middle - self.mean
        self.mean = self.mean + apart * (count / self._count)
        self._squares = self._squares + squares + apart * apart * (before * count / self._count)
        self._renew()

    def _renew(self) -> None:
        deviation = np.sqrt(self._squares / max(self._count, 1))
        self.deviation = np.where(deviation > 0, deviation, np.inf)

    @property
    def size(self) -> int:
        """Bytes of ``pack``."""
        return _COUNT.size + 16 * len(self.mean)

    def pack(self) -> bytes:
        """Return count, means and sums of squares as bytes."""
        return _COUNT.pack(self._count) + self.mean.tobytes() + self._squares.tobytes()

    def unpack(self, blob: memoryview) -> None:
        """Take what ``pack`` wrote; raises ValueError."""
        if len(blob) != self.size:
            raise ValueError("it is not as long as the number of features asks for")
        (self._count,) = _COUNT.unpack_from(blob)
        if self._count >= 2**53:
            raise ValueError("it holds a count that cannot be")
        numbers = np.frombuffer(blob, "<f8", 2 * len(self.mean), _COUNT.size).astype(np.float64)
        self.mean, self._squares = numbers[: len(self.mean)].copy(), numbers[len(self.mean) :].copy()
        if not (self._squares >= 0).all() or not np.isfinite(self.mean).all():
            raise ValueError("it holds a mean or a variance that cannot be")
        self._renew()
