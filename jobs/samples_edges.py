"""Sample edges for the recipe ``edges``: people at their usual shops, and one burst that is not usual."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

__all__ = ["rows"]

_START_MS = 1_767_225_600_000  # 2026-01-01
_STEP_MS = 500
_USERS, _SHOPS, _USUAL = 200, 40, 4
_BURST = 80  # edges of the burst, as fast as they come


def rows(n: int = 5000, seed: int = 0) -> Iterator[tuple[str, str, dict[str, Any], int]]:
    """Yield (topic, key, value, time in ms) in the order of time.

    Parameters
    ----------
    n : int
        Edges. At nine tenths of them, ``mallory`` pays at one till 80 times within seconds; with fewer than 1,000 the
        burst is shorter.
    seed : int
        Another one, another sample.

    Examples
    --------
    >>> found = list(rows(2000))
    >>> len(found), found[0][0], sum(value["source"] == "mallory" for _, _, value, _ in found)
    (2000, 'edges', 80)
    """
    dice = random.Random(seed)  # noqa: S311  a sample, no secret
    habits = [[f"shop-{dice.randrange(_SHOPS)}" for _ in range(_USUAL)] for _ in range(_USERS)]
    burst = min(_BURST, n // 12)
    begins = n * 9 // 10
    now = _START_MS
    for at in range(n):
        if begins <= at < begins + burst:
            now += 20
            edge = {"source": "mallory", "destination": "till-13"}
        else:
            now += dice.randrange(2 * _STEP_MS)
            user = dice.randrange(_USERS)
            edge = {"source": f"user-{user}", "destination": dice.choice(habits[user])}
        yield "edges", edge["source"], edge, now
