"""The loop of MIDAS, MIDAS-R and MIDAS-F over arrays: one edge costs the same whatever the size of the sketches.

The reference walks over its whole sketches at the end of every tick. Here each cell remembers the tick of its last
edge, and what the ticks since then would have done to it is made up for when it is read. So a tick costs nothing, and
an edge can be scored as if it were inserted without writing a thing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from thalweg.udfs.engines.midas_compile import compiled
from thalweg.udfs.engines.midas_hash import mix

__all__ = ["FILTERING", "NORMAL", "RELATIONAL", "run"]

NORMAL, RELATIONAL, FILTERING = range(3)

# What the head of a model holds: time of the first edge (ms), the current tick, the clock of decay, and how much the
# ticks so far have multiplied a total that grows by its mean.
_ORIGIN, _TICK, _CLOCK, _GROWTH = range(4)

# What a cell holds: decayed count, total, the clock at its last edge; and in MIDAS-F, where a cell's last score was at
# or above the threshold, the growth at that time: its total grows by its mean and not by its count.
_CURRENT, _TOTAL, _SEEN, _HELD = range(4)


@compiled
def _power(base: float, exponent: Any) -> float:
    # libm's pow is not the same to the last bit on every machine; multiplication is.
    result = 1.0
    while exponent > 0:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


@compiled
def _series(factor: float, weight: float, ticks: Any) -> float:
    """Return 1 + factor + ... + factor^(ticks - 1), where ``weight`` is factor^ticks."""
    return float(ticks) if factor == 1.0 else (1.0 - weight) / (1.0 - factor)


@compiled
def _arrive(now: Any, time: Any, width: int, elapsed: bool) -> Any:
    """Move ``now`` to the tick of an edge, if that is a later one; return how many ticks the edge is late."""
    if now[_TICK] == 0:
        now[_ORIGIN], now[_TICK], now[_CLOCK], now[_GROWTH] = time, 1, 1, 1
        return 0
    tick, before = (time - np.int64(now[_ORIGIN])) // width + 1, np.int64(now[_TICK])
    if tick <= before:
        return before - tick if elapsed else 0
    if elapsed:
        now[_CLOCK], now[_GROWTH] = tick, tick - 1
    else:
        now[_CLOCK] += 1
        if before > 1:
            now[_GROWTH] *= before / (before - 1.0)
    now[_TICK] = tick
    return 0


@compiled
def _score(variant: int, current: float, total: float, tick: float) -> float:
    """Return the chi-squared statistic of a count in the current tick against the mean of the ticks."""
    if total == 0 or tick <= 1:
        return 0.0
    if variant == FILTERING:  # here the total does not hold the current tick
        return float((current + total - current * tick) ** 2 / (total * (tick - 1)))
    return float(((current - total / tick) * tick) ** 2 / (total * (tick - 1)))


@compiled
def run(
    variant: int,
    elapsed: bool,
    learn: bool,
    width: int,
    factor: float,
    threshold: float,
    rows: int,
    columns: int,
    salts: Any,
    head: Any,
    cells: Any,
    sources: Any,
    destinations: Any,
    times: Any,
    scores: Any,
) -> None:
    """Score edges, each as if it were inserted now, and insert them if ``learn``.

    Parameters
    ----------
    variant : int
        NORMAL, RELATIONAL or FILTERING.
    elapsed : bool
        Whether counts decay by all ticks that have gone by, or once for each tick that has an edge.
    learn : bool
        Whether ``head`` and ``cells`` are written; if not, no edge knows of those before it.
    width : int
        Length of a tick, in the unit of ``times``.
    factor, threshold : float
        What a tick leaves of a count; the score from which MIDAS-F keeps a count out of the total.
    rows, columns : int
        Of each sketch.
    salts : array of uint64, shape (sketches * rows + 1,)
        One for the nodes, then one for each row of each sketch.
    head : array of float64, shape (4,)
        See above; all zero before the first edge.
    cells : array of float64, shape (sketches * rows * columns * (3 or 4),)
        The count-min sketches of edges, and of sources and destinations where the variant has them.
    sources, destinations : array of uint64, shape (n,)
        Nodes.
    times : array of int64, shape (n,)
        Event times.
    scores : array of float64, shape (n,)
        Where the answers go.
    """
    fields = 4 if variant == FILTERING else 3
    places = np.empty(rows, np.uint64)
    now = head if learn else np.empty_like(head)
    for at in range(len(scores)):
        if not learn:
            for field in range(len(head)):
                now[field] = head[field]
        late = _arrive(now, times[at], width, elapsed)
        tick, clock, growth = now[_TICK], np.int64(now[_CLOCK]), now[_GROWTH]
        weight = 1.0 if late == 0 else 0.0 if variant == NORMAL else _power(factor, late)
        source, destination = mix(sources[at] ^ salts[0]), mix(destinations[at] ^ salts[0])
        best = 0.0
        for sketch in range(1 if variant == NORMAL else 3):
            # A source and a destination of one name are told apart by the salts of their sketches.
            key = source if sketch == 1 else destination
            if sketch == 0:
                key = source * np.uint64(0x9E3779B97F4A7C15) + destination
            current_least, total_least = math.inf, math.inf
            for row in range(rows):
                hashed = mix(key ^ salts[1 + sketch * rows + row])
                # The upper half, scaled to the columns: as even as a remainder, and faster (Lemire, 2019).
                column = ((hashed >> np.uint64(32)) * np.uint64(columns)) >> np.uint64(32)
                cell = (np.uint64((sketch * rows + row) * columns) + column) * np.uint64(fields)
                places[row] = cell
                current, total = cells[cell], cells[cell + np.uint64(_TOTAL)]
                gap = clock - np.int64(cells[cell + np.uint64(_SEEN)])
                held = cells[cell + np.uint64(_HELD)] if variant == FILTERING else 0.0
                if gap > 0:
                    left = 0.0 if variant == NORMAL else _power(factor, gap)
                    if held != 0:
                        total *= growth / held
                    elif variant == FILTERING:
                        total += current * _series(factor, left, gap)
                    current *= left
                current += weight
                if variant != FILTERING:
                    total += 1.0
                elif late > 0 and held == 0:
                    total += _series(factor, weight, late)
                current_least, total_least = min(current_least, current), min(total_least, total)
                if learn:
                    cells[cell] = current
                    cells[cell + np.uint64(_TOTAL)] = total
                    cells[cell + np.uint64(_SEEN)] = clock
            score = _score(variant, current_least, total_least, tick)
            best = max(best, score)
            if learn and variant == FILTERING:
                for row in range(rows):
                    cells[places[row] + np.uint64(_HELD)] = 0.0 if score < threshold else growth
        scores[at] = best
