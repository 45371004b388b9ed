"""What the values of a column were, in fixed bins: sums of parallel parts are exact, whatever the order."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

__all__ = ["ValueSketch", "kolmogorov_smirnov", "outside", "stability", "unseen"]

_BITS = 44  # of a double's 64 that are cut off: what is left of the fraction is 8 bits
_SMALLEST, _LARGEST = 2.0**-32, 2.0**64  # nearer to 0 is 0; farther off is as far as that
_BUCKETS = 1 << 16
_GROUPS = 10
_MOST_GROUPS = 50
_LEAST_SHARE = 0.01


class ValueSketch:
    """Counts of values by bin.

    Numbers share a bin when they agree in sign, exponent and the first 8 bits of their fraction: they differ by less
    than 0.4 per cent. Texts fall into 65,536 buckets by their checksum: where 100 values are known, one in 655 of
    the new ones is taken for a known one. Truth values are 0 and 1.

    Attributes
    ----------
    nulls : int
        Rows without a value: null, NaN, infinite.
    counts : dict of int to int
        Values by bin, the bins of numbers in the order of the numbers.
    """

    def __init__(self, nulls: int = 0, counts: dict[int, int] | None = None) -> None:
        self.nulls = nulls
        self.counts: dict[int, int] = {} if counts is None else counts

    @classmethod
    def of(cls, kind: str, values: Any) -> ValueSketch:
        """Return the sketch of a column.

        Parameters
        ----------
        kind : str
            As ``Field.kind``; of a vector it is only counted whether it is there.
        values : array or sequence, length n
            None and NaN are nulls.

        Examples
        --------
        >>> sketch = ValueSketch.of("number", [1.0, 1.001, 2.0, None])
        >>> sketch.nulls, list(sketch.counts.values())
        (1, [2, 1])
        """
        if kind in ("number", "integer"):
            numbers = np.array(values, dtype=np.float64)
            there = np.isfinite(numbers)
            found, times = np.unique(_bins(numbers[there]), return_counts=True)
            return cls(int(len(numbers) - there.sum()), dict(zip(found.tolist(), times.tolist(), strict=True)))
        counts: dict[Any, int] = {}
        for value in values if isinstance(values, list) else values.tolist():
            key = 0 if kind == "vector" and value is not None else value
            counts[key] = counts.get(key, 0) + 1
        nulls = counts.pop(None, 0)
        if kind != "string":
            return cls(nulls, {int(value): count for value, count in counts.items()})
        dealt: dict[int, int] = {}
        for value, count in counts.items():
            bucket = zlib.crc32(str(value).encode("utf-8", "surrogatepass")) % _BUCKETS
            dealt[bucket] = dealt.get(bucket, 0) + count
        return cls(nulls, dealt)

    def add(self, other: ValueSketch, sign: int = 1) -> None:
        """Add the rows of another sketch; with ``sign`` -1 take them away."""
        self.nulls += sign * other.nulls
        for bin_, count in other.counts.items():
            left = self.counts.get(bin_, 0) + sign * count
            if left:
                self.counts[bin_] = left
            else:
                del self.counts[bin_]

    def values(self) -> int:
        """Return how many values there were, without nulls."""
        return sum(self.counts.values())

    def state(self) -> list[Any]:
        """Return the sketch as plain values."""
        bins = sorted(self.counts)
        return [self.nulls, bins, [self.counts[at] for at in bins]]

    @classmethod
    def load(cls, state: Sequence[Any]) -> ValueSketch:
        """Return the sketch that ``state`` gave."""
        return cls(state[0], dict(zip(state[1], state[2], strict=True)))


def _bins(numbers: Any) -> Any:
    size = np.minimum(np.abs(numbers), _LARGEST)
    size = np.where(size < _SMALLEST, 0.0, size)
    bins = size.view(np.int64) >> _BITS
    return np.where(numbers < 0, -bins, bins)


def stability(reference: ValueSketch, window: ValueSketch, ordered: bool) -> float | None:
    """Return the population stability index of a window against a reference; None where one of them has no values.

    Of numbers it is taken over ten groups with equal shares of the reference, to the width of a bin, and what lies
    beyond falls into the outer ones. Of texts each value with 1 per cent of the reference is a group, at most 50, the
    others are one. Half a row is added to each group, so that an empty one is no infinity. Usual reading: 0.1 is a
    change, 0.2 a large one; without any change about ``groups / rows of the window``.

    References
    ----------
    Siddiqi, Credit Risk Scorecards (2006); Yurdakul, Statistical Properties of Population Stability Index (2018).
    """
    if not (reference.counts and window.counts):
        return None
    group_of = _group_by_order(reference) if ordered else _group_by_share(reference)
    shares = []
    for sketch in (reference, window):
        bins = np.fromiter(sketch.counts, dtype=np.int64, count=len(sketch.counts))
        counts = np.fromiter(sketch.counts.values(), dtype=np.float64, count=len(sketch.counts))
        groups, most = group_of(bins)
        summed = np.bincount(groups, weights=counts, minlength=most) + 0.5
        shares.append(summed / summed.sum())
    expected, found = shares
    return float(((found - expected) * np.log(found / expected)).sum())


def _group_by_order(reference: ValueSketch) -> Any:
    bins, reached = _cumulative(reference)
    wanted = reached[-1] * np.arange(1, _GROUPS) / _GROUPS
    edges = np.unique(bins[np.searchsorted(reached, wanted)])
    return lambda which: (np.searchsorted(edges, which), len(edges) + 1)


def _group_by_share(reference: ValueSketch) -> Any:
    least = _LEAST_SHARE * reference.values()
    own = [at for at, count in sorted(reference.counts.items(), key=lambda p: (-p[1], p[0])) if count >= least]
    place = {at: n for n, at in enumerate(own[:_MOST_GROUPS])}
    return lambda which: (np.array([place.get(at, len(place)) for at in which.tolist()]), len(place) + 1)


def _cumulative(sketch: ValueSketch) -> tuple[Any, Any]:
    bins = np.array(sorted(sketch.counts), dtype=np.int64)
    return bins, np.cumsum([sketch.counts[at] for at in bins.tolist()])


def kolmogorov_smirnov(reference: ValueSketch, window: ValueSketch) -> float | None:
    """Return the largest distance of the two distributions; None where one of them has no values.

    It is never more than the exact one, and less by at most the largest share that one bin has of either.
    """
    if not (reference.counts and window.counts):
        return None
    sides = [_cumulative(sketch) for sketch in (reference, window)]
    every = np.union1d(sides[0][0], sides[1][0])
    below = []
    for bins, reached in sides:
        at = np.searchsorted(bins, every, side="right")
        below.append(np.concatenate(([0], reached))[at] / reached[-1])
    return float(np.abs(below[0] - below[1]).max())


def outside(reference: ValueSketch, window: ValueSketch) -> float | None:
    """Return the share of a window's numbers that lie beyond the bins of the reference; None as above."""
    if not (reference.counts and window.counts):
        return None
    low, high = min(reference.counts), max(reference.counts)
    return _share(window, (count for at, count in window.counts.items() if not low <= at <= high))


def unseen(reference: ValueSketch, window: ValueSketch) -> float | None:
    """Return the share of a window's values that the reference does not have; None as above."""
    if not (reference.counts and window.counts):
        return None
    return _share(window, (count for at, count in window.counts.items() if at not in reference.counts))


def _share(window: ValueSketch, counts: Iterable[int]) -> float:
    return sum(counts) / window.values()
