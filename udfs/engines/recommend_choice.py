"""The loop that picks the best candidates, shaken where little is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from thalweg.udfs.engines.midas_compile import compiled
from thalweg.udfs.engines.midas_hash import mix

__all__ = ["best"]

_LEAST = 1e-300  # of a probability: what is chosen keeps its order


@compiled
def _normal(a: Any, b: Any) -> float:
    """Return a number of mean 0 and variance 1 that follows from two others: a sum of four uniform ones."""
    x = mix(mix(a) ^ b)
    total = -2.0
    for _ in range(4):
        x = mix(x + np.uint64(0x9E3779B97F4A7C15))
        total += float(x >> np.uint64(11)) / 9007199254740992.0
    return total * math.sqrt(3.0)


@compiled
def best(count: int, exploration: float, dice: Any, t: Any, desk: Any, places: Any, shares: Any) -> int:
    """Write the best of the ``count`` candidates on the desk into ``places``, and their probabilities into ``shares``.

    Parameters
    ----------
    count : int
        What ``rank`` returned.
    exploration : float
        Standard deviation by which the score of an item without an event is shaken; with n events it is smaller by the
        root of n + 1. This is Thompson sampling with a normal posterior (Chapelle and Li, NeurIPS 2011).
    dice : uint64
        The same one shakes the same way.
    t, desk : Tables, Desk
        As for ``rank``.
    places, shares : array, shape (k,)
        Get at most k items, the best first, with strictly falling probabilities of the softmax over all candidates.

    Returns
    -------
    int
        How many there are.
    """
    found, scores = 0, desk.scores
    if exploration > 0.0:
        for at in range(count):
            place = desk.chosen[at]
            noise = _normal(dice, np.uint64(t.numbers[place]))
            scores[at] += exploration * noise / math.sqrt(t.counts[place, 1] + 1.0)
    for at in range(count):
        score = scores[at]
        if found == len(places) and score <= shares[found - 1]:
            continue
        spot = found if found < len(places) else found - 1
        found = spot + 1
        while spot > 0 and shares[spot - 1] < score:
            shares[spot], places[spot] = shares[spot - 1], places[spot - 1]
            spot -= 1
        shares[spot], places[spot] = score, desk.chosen[at]
    total, most = 0.0, shares[0]
    for at in range(count):
        total += math.exp(scores[at] - most)
    above = 2.0
    for spot in range(found):
        share = max(math.exp(shares[spot] - most) / total, _LEAST * (found - spot))
        # Equal ones are told apart by the last bit, so that whoever sorts by probability has this order.
        shares[spot] = above = min(share, np.nextafter(above, 0.0))
    return found
