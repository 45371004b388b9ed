"""Sample metrics for the recipe ``anomaly``: two with a daily rhythm, trouble in each, and a word of feedback."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

__all__ = ["rows"]

_START_MS = 1_767_225_600_000  # 2026-01-01
_STEP_MS = 900_000  # a quarter of an hour
_DAY_STEPS = 96
_METRICS = {"cpu": (40.0, 15.0, 1.5), "orders": (200.0, 80.0, 8.0)}
_SPIKE = 0.8  # where the trouble is, as a share of the events


def rows(n: int = 2000, seed: int = 0) -> Iterator[tuple[str, str, dict[str, Any], int]]:
    """Yield (topic, key, value, time in ms) in the order of time.

    Parameters
    ----------
    n : int
        Values, half of them of each metric. At four fifths ``cpu`` has a spike and ``orders`` a drop to nothing. An
        hour later somebody says that the spike was none.
    seed : int
        Another one, another sample.

    Examples
    --------
    >>> found = list(rows(1000))
    >>> [sum(topic == name for topic, *_ in found) for name in ("metrics", "metrics.feedback")]
    [1000, 1]
    """
    dice = random.Random(seed)  # noqa: S311  a sample, no secret
    steps = n // len(_METRICS)
    trouble = int(steps * _SPIKE)
    for step in range(steps):
        now = _START_MS + step * _STEP_MS
        wave = math.sin(step * math.tau / _DAY_STEPS)
        for name, (level, swing, noise) in _METRICS.items():
            value = level + swing * wave + dice.gauss(0, noise)
            if trouble <= step < trouble + 2:
                value = 98.0 if name == "cpu" else 0.0
            yield "metrics", name, {"metric": name, "value": round(value, 3)}, now
        if step == trouble + 4:
            said = {"event_id": f"cpu@{_START_MS + trouble * _STEP_MS}", "anomaly": False}
            yield "metrics.feedback", "cpu", said, now
