"""Sample clicks for the recipe ``funnel``: visitors who look, search, fill a cart, buy, or just leave."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from typing import Any

__all__ = ["rows"]

_START_MS = 1_767_225_600_000  # 2026-01-01
_BETWEEN_MS = 8_000  # visitors
_TRAFFIC = ("search", "mail", "advert", "direct")
_NEXT = {  # after each step: how often which other
    "": {"view": 7.0, "search": 3.0},
    "view": {"view": 5.0, "search": 1.5, "cart": 1.0, "leave": 2.5},
    "search": {"view": 6.0, "search": 2.0, "cart": 0.3, "leave": 1.7},
    "cart": {"view": 2.0, "cart": 1.0, "buy": 2.5, "leave": 1.5},
    "buy": {"leave": 1.0},
}


def rows(n: int = 5000, seed: int = 0) -> Iterator[tuple[str, str, dict[str, Any], int]]:
    """Yield (topic, key, value, time in ms) in the order of time.

    Parameters
    ----------
    n : int
        Clicks, of about a quarter as many visitors. Those who come by mail buy more often than those an advert brings.
    seed : int
        Another one, another sample.

    Examples
    --------
    >>> found = list(rows(2000))
    >>> len(found), found[0][0], sorted({value["step"] for _, _, value, _ in found})
    (2000, 'shop.clicks', ['buy', 'cart', 'search', 'view'])
    """
    dice = random.Random(seed)  # noqa: S311  a sample, no secret
    arrives, visitors = _START_MS, 0
    going_on: list[tuple[int, int, int, str, dict[str, Any]]] = []  # when, visitor, click, step, who
    for _ in range(n):
        while not going_on or arrives <= going_on[0][0]:
            who = {"traffic": dice.choice(_TRAFFIC), "is_new": dice.random() < 0.4}
            heapq.heappush(going_on, (arrives, visitors, 0, _step(dice, "", who), who))
            visitors += 1
            arrives += 1 + round(dice.expovariate(1 / _BETWEEN_MS))
        now, visitor, click, step, who = heapq.heappop(going_on)
        after = _step(dice, step, who)
        if after != "leave":
            pause = 2_000 + round(dice.expovariate(1 / 30_000))
            heapq.heappush(going_on, (now + pause, visitor, click + 1, after, who))
        name = f"s{visitor}"
        yield "shop.clicks", name, {"click_id": f"{name}-{click}", "session_id": name, "step": step, **who}, now


def _step(dice: random.Random, step: str, who: dict[str, Any]) -> str:
    odds = dict(_NEXT[step])
    if "buy" in odds:
        odds["buy"] *= {"mail": 2.0, "advert": 0.3}.get(who["traffic"], 1.0) * (0.6 if who["is_new"] else 1.0)
    return dice.choices(list(odds), list(odds.values()))[0]
