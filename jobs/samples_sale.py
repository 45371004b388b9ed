"""Sample sales for the recipe ``sale``: what each product sold each minute, and an event with 50 times the demand."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

__all__ = ["rows"]

_START_MS = 1_767_225_600_000  # 2026-01-01
_MINUTE_MS = 60_000
_CATEGORIES = ("audio", "garden", "shoes", "toys")
_OLD, _NEW = 2, 1  # products of a category: some sell all the time, some only in the event
_SURGE = 50.0
_WAVE = 1.2  # how far, in the logarithm, the offers of the hour move a category
_EXACT = 60.0  # a Poisson number of a larger mean is drawn from the normal distribution


def rows(n: int = 5000, seed: int = 0) -> Iterator[tuple[str, str, dict[str, Any], int]]:
    """Yield (topic, key, value, time in ms) in the order of time.

    Parameters
    ----------
    n : int
        Rows, about: one per product and minute. The event begins at nine tenths of the time, grows to 50 times the
        demand within ten minutes and goes in waves, other ones in each of four categories; four of the twelve products
        are new then.
    seed : int
        Another one, another sample.

    Examples
    --------
    >>> found = list(rows(2000))
    >>> found[0][0], sorted({value["product"] for *_, value, ms in found} - {row[1] for row in found[:8]})
    ('sales', ['audio-2', 'garden-2', 'shoes-2', 'toys-2'])
    """
    dice = random.Random(seed)  # noqa: S311  a sample, no secret
    minutes = max(n // (_OLD * len(_CATEGORIES)), 1)
    begins = minutes * 9 // 10
    waves = {category: (dice.uniform(20, 45), dice.uniform(0, 2 * math.pi)) for category in _CATEGORIES}
    products = [(f"{category}-{at}", category, at) for category in _CATEGORIES for at in range(_OLD + _NEW)]
    usual = {name: math.exp(dice.gauss(0.7, 0.6)) for name, _, _ in products}
    own = dict.fromkeys(usual, 0.0)
    for minute in range(minutes):
        into = minute - begins
        day = 1.0 + 0.6 * math.sin(2 * math.pi * minute / 1440)
        for name, category, at in products:
            if at >= _OLD and into < 0:
                continue
            demand = usual[name] * day
            if into >= 0:
                own[name] = 0.9 * own[name] + dice.gauss(0, 0.06)
                period, phase = waves[category]
                wave = _WAVE / 2 * (math.sin(2 * math.pi * into / period + phase) - 1)
                demand *= 1 + (_SURGE - 1) * min(into / 10, 1.0) * math.exp(own[name] + wave)
            value = {"product": name, "category": category, "sold": float(_poisson(dice, demand))}
            yield "sales", name, value, _START_MS + minute * _MINUTE_MS


def _poisson(dice: random.Random, mean: float) -> int:
    if mean > _EXACT:
        return max(0, round(dice.gauss(mean, math.sqrt(mean))))
    count, left = 0, dice.random()
    bound = math.exp(-mean)
    while left > bound:
        left *= dice.random()
        count += 1
    return count
