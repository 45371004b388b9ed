"""The loop of anomalies in metrics over arrays: one event costs the same whatever came before it.

Every window is kept twice, in order of arrival and sorted, so that a rank is a binary search.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from thalweg.udfs.engines.midas_compile import compiled

__all__ = ["LEVELS", "SCALARS", "SPREAD", "observe"]

SCALARS = 4  # value, mean of a few, spread of some more, residual from the season; the fifth channel is the pattern
SPREAD = 24  # events of the spread
_MEAN = 4  # events of the mean
_PATTERN = 12  # means in a row that make a pattern
_LEVEL_RATE, _SEASON_RATE, _SHIFT_RATE = 0.3, 0.05, 0.1  # of the last level, of a season's bin, of the level above it
_CLIP = 3.0  # mean absolute errors that one event may move a season's level by
_FADE = 0.998  # what an event leaves of the memory of errors
_SURE = 20  # events after which the mean absolute error can be relied upon

# What is known of an input beside its season: last level, level above the season, and the discounted sums of the
# absolute errors of either forecast and of ones.
_LAST, _ABOVE, _ERROR, _SEASON_ERROR, _WEIGHT = range(5)
LEVELS = 5


@compiled
def _code(value: float, cell: Any) -> Any:
    """Return the upper 16 bits of a float that is zero or above: its order, to 6 %, in two bytes."""
    cell[0] = value
    return np.uint16(cell.view(np.int64)[0] >> 48)


@compiled
def _above(code: Any, cell: Any) -> float:
    """Return the least float of a higher code."""
    cell.view(np.int64)[0] = (np.int64(code) + 1) << 48
    return float(cell[0])


@compiled
def _place(ordered: Any, count: int, value: Any) -> int:
    """Return how many of the first ``count`` are below ``value``."""
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        if ordered[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _push(ring: Any, ordered: Any, learned: int, value: Any) -> None:
    """Put a value in the place of the oldest, in both orders."""
    size = len(ring)
    at, count = learned % size, min(learned, size)
    hole = _place(ordered, count, ring[at]) if count == size else count
    ring[at] = value
    while hole > 0 and ordered[hole - 1] > value:
        ordered[hole] = ordered[hole - 1]
        hole -= 1
    last = count if count < size else size - 1
    while hole < last and ordered[hole + 1] < value:
        ordered[hole] = ordered[hole + 1]
        hole += 1
    ordered[hole] = value


@compiled
def _distance(ordered: Any, count: int, value: float) -> float:
    """Return how far the nearest value is."""
    at = _place(ordered, count, value)
    right = ordered[at] - value if at < count else math.inf
    left = value - ordered[at - 1] if at > 0 else math.inf
    return abs(min(left, right)) if count > 0 else 0.0  # the distance of 0.0 and -0.0 may be -0.0


@compiled
def _pattern(means: Any, learned: int, mean: float, now: Any) -> float:
    """Return the distance of the last 12 means, 4 events apart, to the nearest such pattern that does not overlap."""
    window, reach = len(means), _MEAN * (_PATTERN - 1)
    count = min(learned, window)
    if count < reach:
        return 0.0
    now[0] = mean
    for part in range(1, _PATTERN):
        now[part] = means[(learned - _MEAN * part) % window]
    best = math.inf
    for back in range(_MEAN * _PATTERN, count - reach + 1):
        at, total = (learned - back) % window, 0.0
        for part in range(_PATTERN):
            gap = now[part] - means[at]
            total += gap * gap
            if total >= best:
                break
            at -= _MEAN
            if at < 0:
                at += window
        best = min(best, total)
    return math.sqrt(best) if best < math.inf else 0.0


@compiled
def _joint(values: Any, levels: Any, row: Any, count: int, scalars: int) -> float:
    """Return the distance of a row to the nearest in the window, each input in units of its mean absolute error."""
    best = math.inf
    for at in range(count):
        total = 0.0
        for number in range(len(row)):
            gap = abs(row[number] - values[number * scalars, at])
            if gap > 0.0:
                unit = levels[number, _ERROR] / levels[number, _WEIGHT]
                gap = gap / unit if unit > 0.0 else math.inf
                total += gap * gap
            if total >= best:
                break
        best = min(best, total)
    return math.sqrt(best) if count > 0 else 0.0


@compiled
def _evidence(ordered: Any, count: int, code: Any) -> float:
    """Return -log10 of the conformal p-value: the share of the window that is as strange, this event included."""
    return math.log10((count + 1.0) / (count - _place(ordered, count, code) + 1.0))


@compiled
def _forecast(level: Any, profile: Any, phase: int) -> Any:
    """Return the expected value, and the expectation of the season; the one that erred less of late is taken."""
    plain = level[_LAST]
    seasonal = profile[0, phase] + level[_ABOVE] if phase >= 0 and profile[1, phase] > 0 else plain
    return (seasonal if level[_SEASON_ERROR] < level[_ERROR] else plain), seasonal


@compiled
def _follow(level: Any, profile: Any, phase: int, value: float, seasonal: float, first: bool) -> None:
    """Move level and season towards a value."""
    error = value - level[_LAST]
    level[_LAST] = value if first else level[_LAST] + _LEVEL_RATE * error
    deviation = value - seasonal
    if phase >= 0:
        count = profile[1, phase]
        move = deviation
        if level[_WEIGHT] > _SURE:
            limit = _CLIP * level[_SEASON_ERROR] / level[_WEIGHT]
            move = min(max(deviation, -limit), limit)
        if count > 0:
            level[_ABOVE] += _SHIFT_RATE * move
            rest = value - level[_ABOVE] - profile[0, phase]
            profile[0, phase] += max(1.0 / (count + 1.0), _SEASON_RATE) * rest
        else:
            profile[0, phase] = value - level[_ABOVE]
        profile[1, phase] = min(count + 1.0, 1.0 / _SEASON_RATE)
    level[_ERROR] = level[_ERROR] * _FADE + (0.0 if first else abs(error))
    level[_SEASON_ERROR] = level[_SEASON_ERROR] * _FADE + (0.0 if first else abs(deviation))
    level[_WEIGHT] = level[_WEIGHT] * _FADE + 1.0


@compiled
def observe(
    learn: bool,
    learned: int,
    confidence: float,
    phase: int,
    row: Any,
    values: Any,
    codes: Any,
    recent: Any,
    seasons: Any,
    levels: Any,
    answer: Any,
) -> None:
    """Judge an event, and learn it if ``learn``.

    Parameters
    ----------
    learn : bool
        Whether the state is written.
    learned : int
        Events learned.
    confidence : float
        Share of past absolute errors that the bounds hold.
    phase : int
        Bin of the season; below zero, there is no season.
    row : array of float64, shape (d,)
        The inputs.
    values : array of float64, shape (2, d * scalars, window)
        What channels have seen, in order of arrival and sorted.
    codes : array of uint16, shape (2, d * (scalars + 1) + d + 2, window)
        How new it was to each channel, absolute errors of the forecasts, how new the whole row was, evidence of the
        whole; in order of arrival and sorted.
    recent : array of float64, shape (d, SPREAD)
        The last values, in the order of ``learned % SPREAD``.
    seasons : array of float64, shape (d, 3, bins)
        Mean of a bin above the level, how many events it stands for, and mean of a bin as it is.
    levels : array of float64, shape (d, LEVELS)
        See above.
    answer : array of float64, shape (4,)
        Where the answer goes: evidence (-log10 of a p-value), the input that is the strangest, its forecast, and the
        half width of its bounds.
    """
    inputs, window = len(row), values.shape[2]
    scalars = values.shape[1] // inputs
    channels = scalars + 1
    first_error, whole = inputs * channels, codes.shape[1] - 1
    count = min(learned, window)
    cell = np.empty(1)
    now = np.empty(_PATTERN)
    seen, found = np.empty(scalars * inputs), np.empty(codes.shape[1], np.uint16)
    found[whole - 1], shared = 0, 0.0
    if inputs > 1:
        found[whole - 1] = _code(_joint(values[0], levels, row, count, scalars), cell)
        shared = _evidence(codes[1, whole - 1], count, found[whole - 1])
    best, strangest = -1.0, 0
    for number in range(inputs):
        value = row[number]
        length, total, near = min(learned + 1, SPREAD), value, value
        for back in range(1, length):
            past = recent[number, (learned - back) % SPREAD]
            total += past
            if back < _MEAN:
                near += past
        mean = total / length
        squares = (value - mean) ** 2
        for back in range(1, length):
            squares += (recent[number, (learned - back) % SPREAD] - mean) ** 2
        base, first = number * scalars, number * channels
        seen[base] = value
        seen[base + 1] = near / min(length, _MEAN)
        seen[base + 2] = math.sqrt(squares / length)
        if scalars == SCALARS:
            usual = seasons[number, 2, phase] if seasons[number, 1, phase] > 0 else value
            seen[base + 3] = value - usual
        evidence = shared
        for channel in range(channels):
            if channel < scalars:
                distance = _distance(values[1, base + channel], count, seen[base + channel])
            else:
                distance = _pattern(values[0, base + 1], learned, seen[base + 1], now)
            found[first + channel] = _code(distance, cell)
            evidence += _evidence(codes[1, first + channel], count, found[first + channel])
        evidence /= channels + (1 if inputs > 1 else 0)
        if evidence > best:
            best, strangest = evidence, number
        expected, seasonal = _forecast(levels[number], seasons[number], phase)
        error = abs(value - (expected if learned > 0 else value))
        found[first_error + number] = _code(error, cell)
        if strangest == number:
            answer[1], answer[2], answer[3] = number, expected, 0.0
            if count > 0:
                least = min(math.ceil((count + 1) * confidence), count) - 1
                answer[3] = _above(codes[1, first_error + number, max(least, 0)], cell)
        if learn:
            if scalars == SCALARS:
                rate = max(1.0 / (seasons[number, 1, phase] + 1.0), _SEASON_RATE)
                seasons[number, 2, phase] += rate * (value - seasons[number, 2, phase])
            _follow(levels[number], seasons[number], phase, value, seasonal, learned == 0)
    # An alarm has to be rare for this metric, too, not only for its parts.
    found[whole] = _code(best, cell)
    answer[0] = 0.5 * (best + _evidence(codes[1, whole], count, found[whole]))
    if learn:
        for channel in range(len(seen)):
            _push(values[0, channel], values[1, channel], learned, seen[channel])
        for part in range(len(found)):
            _push(codes[0, part], codes[1, part], learned, found[part])
        for number in range(inputs):
            recent[number, learned % SPREAD] = row[number]
