"""Sample clicks for the recipe ``recommend``: visitors of a shop who look around in one department after another."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

__all__ = ["rows"]

_START_MS = 1_767_225_600_000  # 2026-01-01
_STEP_MS = 20_000  # between two clicks of one visitor
_VISITORS, _OPEN = 400, 12
_DEPARTMENTS = {
    "camping": ("tent", "stove", "lamp", "sleeping-bag", "rope", "flask"),
    "office": ("pen", "ink", "paper", "stapler", "desk-lamp", "folder"),
    "kitchen": ("pan", "pot", "knife", "apron", "scale", "sieve"),
    "garden": ("spade", "rake", "seeds", "hose", "gloves", "pruner"),
}


def rows(n: int = 4000, seed: int = 0) -> Iterator[tuple[str, str, dict[str, Any], int]]:
    """Yield (topic, key, value, time in ms) in the order of time.

    Parameters
    ----------
    n : int
        Clicks. A visitor mostly takes the items of a department in their order, and one click in eight is by chance;
        there are always a dozen sessions open, and each visitor comes back now and then.
    seed : int
        Another one, another sample.

    Examples
    --------
    >>> found = list(rows(3))
    >>> len(found), found[0][0], sorted(found[0][2])
    (3, 'clicks', ['category', 'item', 'session_id', 'user_id'])
    """
    dice = random.Random(seed)  # noqa: S311  a sample, no secret
    now, sessions = _START_MS, 0
    open_sessions: list[tuple[str, str, list[tuple[str, str]]]] = []
    for _ in range(n):
        now += dice.randrange(2 * _STEP_MS // _OPEN) + 1
        while len(open_sessions) < _OPEN:
            sessions += 1
            user = f"user-{dice.randrange(_VISITORS)}"
            open_sessions.append((user, f"s{sessions}", _path(dice)))
        user, session, path = dice.choice(open_sessions)
        category, item = path.pop(0)
        if not path:
            open_sessions = [entry for entry in open_sessions if entry[1] != session]
        yield "clicks", user, {"user_id": user, "session_id": session, "item": item, "category": category}, now


def _path(dice: random.Random) -> list[tuple[str, str]]:
    """Return the (category, item) pairs of one session: a walk through a department, at least one item long."""
    department = dice.choice(sorted(_DEPARTMENTS))
    items, path = _DEPARTMENTS[department], []
    for item in items[dice.randrange(3) : 3 + dice.randrange(1, 4)]:
        if dice.random() < 0.125:
            department_by_chance = dice.choice(sorted(_DEPARTMENTS))
            path.append((department_by_chance, dice.choice(_DEPARTMENTS[department_by_chance])))
        path.append((department, item))
    return path
