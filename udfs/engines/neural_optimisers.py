"""How a gradient moves weights: optimisers, schedules of the learning rate, and what bounds a step.

Every optimiser works in place on arrays of any shape, so that the same few lines move all dense weights at once and the
touched rows of an embedding table.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from thalweg.connector.errors import Problem

__all__ = ["OPTIMISERS", "Optimiser", "Schedule", "read_schedule"]

Schedule: TypeAlias = Callable[[int], float]
"""From the number of steps so far to the factor on the learning rate."""

_Move: TypeAlias = Callable[[Any, Sequence[Any], Any, float, "Optimiser", int], None]
_CALL = re.compile(r"([a-z-]+)(?:\(([0-9.eE+,\s-]*)\))?")
_FLOOR = 0.01  # of the learning rate: a stream has no end, so learning never stops


class Optimiser(NamedTuple):
    """A way to move weights.

    Attributes
    ----------
    name : str
        As in the option.
    rate : float
        Learning rate, before the schedule.
    momentum : float
        What is kept of the last move; ``momentum`` alone has it.
    l2 : float
        Weight decay that is part of the optimiser; ``ftrl`` alone has it.
    """

    name: str
    rate: float
    momentum: float = 0.9
    l2: float = 0.0

    @property
    def slots(self) -> int:
        """How many numbers it remembers per weight."""
        return OPTIMISERS[self.name][0]

    def start(self, weights: Any) -> list[Any]:
        """Return what it remembers before the first step, in arrays of the shape of ``weights``."""
        slots = [np.zeros_like(weights) for _ in range(self.slots)]
        if self.name == "ftrl":
            # Its weights are a function of what it remembers: this is where they are the given ones.
            slots[1] -= weights * np.float32(1 / self.rate + self.l2)
        return slots

    def move(self, weights: Any, slots: Sequence[Any], gradient: Any, rate: float, step: int) -> None:
        """Move weights in place.

        Parameters
        ----------
        weights : ndarray
            Are changed.
        slots : sequence of ndarray
            From ``start``; are changed.
        gradient : ndarray
            Of the shape of the weights.
        rate : float
            Learning rate of this step.
        step : int
            Number of this step, from 1.
        """
        OPTIMISERS[self.name][1](weights, slots, gradient, rate, self, step)


def _sgd(w: Any, slots: Sequence[Any], g: Any, rate: float, o: Optimiser, step: int) -> None:
    w -= rate * g


def _momentum(w: Any, slots: Sequence[Any], g: Any, rate: float, o: Optimiser, step: int) -> None:
    """Polyak, Some methods of speeding up the convergence of iteration methods, 1964."""
    (velocity,) = slots
    velocity *= o.momentum
    velocity += g
    w -= rate * velocity


def _adam(w: Any, slots: Sequence[Any], g: Any, rate: float, o: Optimiser, step: int) -> None:
    """Kingma and Ba, Adam, 2015; of a table, only the touched rows forget."""
    mean, square = slots
    mean += 0.1 * (g - mean)
    square += 0.001 * (g * g - square)
    size = rate * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    spread = np.sqrt(square)
    spread += 1e-8 * math.sqrt(1 - 0.999**step)
    w -= size * (mean / spread)


def _adagrad(w: Any, slots: Sequence[Any], g: Any, rate: float, o: Optimiser, step: int) -> None:
    """Duchi, Hazan and Singer, Adaptive Subgradient Methods, 2011."""
    (square,) = slots
    square += g * g
    w -= rate * (g / (np.sqrt(square) + 1e-10))


def _ftrl(w: Any, slots: Sequence[Any], g: Any, rate: float, o: Optimiser, step: int) -> None:
    """McMahan et al., Ad Click Prediction: a View from the Trenches, 2013; beta 1, no L1."""
    square, z = slots
    before = np.sqrt(square)
    square += g * g
    after = np.sqrt(square)
    z += g - (after - before) * (w / rate)
    w[...] = -z / ((1 + after) / rate + o.l2)


OPTIMISERS: dict[str, tuple[int, _Move]] = {
    "sgd": (0, _sgd),
    "momentum": (1, _momentum),
    "adam": (2, _adam),
    "adagrad": (1, _adagrad),
    "ftrl": (2, _ftrl),
}
"""By name: how many numbers per weight it remembers, and how it moves."""


def _inverse_root(steps: float = 1.0) -> Schedule:
    return lambda step: 1 / math.sqrt(1 + step / steps)


def _inverse(steps: float = 1000.0) -> Schedule:
    return lambda step: max(1 / (1 + step / steps), _FLOOR)


def _stairs(steps: float = 10_000.0, factor: float = 0.5) -> Schedule:
    return lambda step: max(factor ** (step // steps), _FLOOR)


def _cosine(steps: float = 100_000.0) -> Schedule:
    return lambda step: _FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * min(step / steps, 1.0))) / 2


_SCHEDULES: dict[str, tuple[Callable[..., Schedule], int, str]] = {
    "constant": (lambda: lambda step: 1.0, 0, "constant"),
    "inverse-sqrt": (_inverse_root, 1, "inverse-sqrt(steps)"),
    "inverse": (_inverse, 1, "inverse(steps)"),
    "step": (_stairs, 2, "step(steps, factor)"),
    "cosine": (_cosine, 1, "cosine(steps)"),
}


def read_schedule(text: str, problems: list[Problem]) -> Schedule:
    """Return the schedule that an option names; what is wrong goes into ``problems``.

    Examples
    --------
    >>> read_schedule("step(100, 0.1)", [])(250)
    0.010000000000000002
    >>> round(read_schedule("inverse-sqrt", [])(3), 3)
    0.5
    """
    found = _CALL.fullmatch(text.strip())
    make, most, _ = _SCHEDULES.get(found[1] if found else "", (None, 0, ""))
    try:
        numbers = [float(part) for part in (found[2] or "").split(",") if part.strip()] if found else []
    except ValueError:
        numbers = [-1.0]
    if make is None or len(numbers) > most or not all(0 < number < 1e12 for number in numbers):
        known = ", ".join(shown for _, _, shown in _SCHEDULES.values())
        problems.append(Problem("option 'schedule'", f"'{text}' is no schedule.", f"Known: {known}; numbers above 0."))
        return lambda step: 1.0
    return make(*numbers)
