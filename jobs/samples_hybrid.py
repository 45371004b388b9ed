"""Sample customers for the recipe ``hybrid``: all of them every night, one in ten at any hour, and what they bought."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

__all__ = ["rows"]

_START_MS = 1_767_225_600_000  # 2026-01-01
_DAY_MS = 86_400_000
_NIGHTS = 10
_ACTIVE = 10  # one in so many is active on a day
_KNOWN_MS = 3_600_000  # until it is known whether somebody bought


def rows(n: int = 2000, seed: int = 0) -> Iterator[tuple[str, str, dict[str, Any], int]]:
    """Yield (topic, key, value, time in ms) in the order of time.

    Parameters
    ----------
    n : int
        Rows of ``everyone``, over ten nights; a tenth as many of ``activity``, and an outcome of each row.
    seed : int
        Another one, another sample.

    Examples
    --------
    >>> found = list(rows(500))
    >>> [sum(topic == name for topic, *_ in found) for name in ("everyone", "activity", "outcomes")]
    [500, 50, 550]
    """
    dice = random.Random(seed)  # noqa: S311  a sample, no secret
    people = max(n // _NIGHTS, 1)
    taste = [dice.gauss(0, 1) for _ in range(people)]
    found: list[tuple[int, int, str, str, dict[str, Any]]] = []

    def add(topic: str, customer: int, now: int) -> None:
        name = f"c{customer}"
        row: dict[str, Any] = {
            "row_id": f"{name}/{topic[0]}{now}",
            "customer": name,
            "visits": float(max(0, round(3 + 2 * taste[customer] + dice.gauss(0, 1)))),
            "spend": round(math.exp(3 + 0.5 * taste[customer] + dice.gauss(0, 0.3)), 2),
            "days_away": float(dice.randrange(1, 30)),
        }
        odds = 0.8 * row["visits"] + 0.02 * row["spend"] - 0.15 * row["days_away"] - 1.5
        bought = dice.random() < 1 / (1 + math.exp(-odds))
        found.append((now, len(found), topic, name, row))
        found.append((now + _KNOWN_MS, len(found), "outcomes", name, {"row_id": row["row_id"], "bought": bought}))

    for night in range(_NIGHTS):
        for customer in range(people):
            add("everyone", customer, _START_MS + night * _DAY_MS + customer)
        for customer in dice.sample(range(people), people // _ACTIVE):
            add("activity", customer, _START_MS + night * _DAY_MS + dice.randrange(4 * _KNOWN_MS, _DAY_MS - _KNOWN_MS))
    for now, _, topic, key, value in sorted(found, key=lambda row: row[:2]):
        yield topic, key, value, now
