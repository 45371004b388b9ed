"""The commonest River pipelines as one tight loop: ``StandardScaler()``, then logistic or linear regression.

Every arithmetic operation is River's own, in River's order, so that scores and weights are the same bits; what is gone
is dictionaries, context managers and checks. The state is a handful of floats, which are written and read as such.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from math import exp
from typing import Any, NamedTuple

from river import compose, linear_model, optim, preprocessing
from thalweg.udfs.engines.base import Field

__all__ = ["LinearKernel", "LinearSettings", "linear_settings"]

_HEAD = struct.Struct("<qqd")  # rows learned by the scaler, steps of the optimizer, intercept


class LinearSettings(NamedTuple):
    """What a model text fixes for all its models; ``width`` is the number of scaled features."""

    logistic: bool
    width: int
    intercept: float
    rate: float
    intercept_rate: float
    clip: float
    positive: float
    negative: float


class LinearKernel:
    """Scales, predicts and learns for rows that always carry the same number features.

    Attributes
    ----------
    logistic : bool
        True for LogisticRegression, False for LinearRegression.
    threshold : None
        From which answer on a row is an anomaly; these models tell of none.
    """

    threshold: float | None = None

    def __init__(self, settings: LinearSettings) -> None:
        self._settings = settings
        self.logistic, width, self._intercept, self._rate, self._intercept_rate, self._clip, *weights = settings
        self._positive, self._negative = weights
        self._count = self._iterations = 0
        self._means, self._vars, self._deviations, self._weights = ([0.0] * width for _ in range(4))
        self._held = b""  # the state, where it is kept as bytes only

    @classmethod
    def of(cls, model: Any, inputs: Sequence[Field]) -> LinearKernel | None:
        """Return the loop for a model that has learned nothing, or None where its shape or settings are not plain."""
        if type(model) is not compose.Pipeline or len(model.steps) != 2 or any(kind == "string" for _, kind in inputs):
            return None
        scaler, linear = model.steps.values()
        if type(scaler) is not preprocessing.StandardScaler or not scaler.with_std:
            return None
        settings = linear_settings(linear, len(inputs))
        return None if settings is None else cls(settings)

    def fresh(self) -> LinearKernel:
        """Return the loop of another model with the same settings, which has learned nothing."""
        return LinearKernel(self._settings)

    @property
    def settings(self) -> LinearSettings:
        """What the model text fixes."""
        return self._settings

    def hold(self, state: bytes) -> None:
        """Take a state in the form of ``pack`` as it is, unread until a single row asks for it."""
        self._held = state

    def _wake(self) -> None:
        state, self._held = self._held, b""
        self.unpack(state)

    def pack(self) -> bytes:
        """Return the state as bytes."""
        if self._held:
            return self._held
        table = (*self._means, *self._vars, *self._weights)
        return _HEAD.pack(self._count, self._iterations, self._intercept) + struct.pack(f"<{len(table)}d", *table)

    def unpack(self, state: bytes) -> None:
        """Take the state that ``pack`` wrote; raises ValueError."""
        self._held = b""
        width, numbers = self._settings.width, 2 * self._settings.width + len(self._weights)
        if len(state) != _HEAD.size + 8 * numbers:
            raise ValueError("it is not as long as the number of features asks for")
        self._count, self._iterations, self._intercept = _HEAD.unpack_from(state)
        table = struct.unpack_from(f"<{numbers}d", state, _HEAD.size)
        self._means, self._vars = list(table[:width]), list(table[width : 2 * width])
        self._weights = list(table[2 * width :])
        counts = self._count, self._iterations
        if not 0 <= min(counts) <= max(counts) < 2**53 or not all(var >= 0 for var in self._vars):
            raise ValueError("it holds a number that cannot be")
        self._deviations = [var**0.5 for var in self._vars]

    def size(self) -> float:
        """Return the sum of the absolute weights: how far the model has gone, or not finite where it is lost."""
        if self._held:
            self._wake()
        return sum(map(abs, self._weights)) + abs(self._intercept)

    def raw(self, values: Sequence[float]) -> float:
        """Return the dot product with the scaled features, plus the intercept."""
        if self._held:
            self._wake()
        total = 0.0
        for x, mean, deviation, weight in zip(values, self._means, self._deviations, self._weights, strict=True):
            total += weight * ((x - mean) / deviation if deviation else 0.0)
        return total + self._intercept

    def probability(self, values: Sequence[float]) -> float:
        """Return the probability of True."""
        raw = self.raw(values)
        if raw < -30:
            return 0.0
        if raw > 30:
            return 1.0
        return 1 / (1 + exp(-raw))

    def learn(self, values: Sequence[float], label: float) -> None:
        """Learn from one row."""
        if self._held:
            self._wake()
        self._count += 1
        weights, scale = self._weights, self._scale
        scaled = [scale(at, x) for at, x in enumerate(values)]
        total = 0.0
        for weight, z in zip(weights, scaled, strict=True):
            total += weight * z
        step = self._descend(total + self._intercept, label)
        rate = self._rate
        for at, z in enumerate(scaled):
            weights[at] -= z * step * rate

    def _scale(self, at: int, x: float) -> float:
        """Take ``x`` into a feature's mean and variance, and return it scaled by them."""
        old, variance = self._means[at], self._vars[at]
        self._means[at] = mean = old + (x - old) / self._count
        self._vars[at] = variance = variance + ((x - old) * (x - mean) - variance) / self._count
        self._deviations[at] = deviation = variance**0.5
        return (x - mean) / deviation if deviation else 0.0

    def _descend(self, raw: float, label: float) -> float:
        """Move the intercept by one step, and return the gradient of the loss."""
        gradient = self._log_gradient(raw, label) if self.logistic else 2 * (raw - label)
        if gradient > self._clip:
            gradient = self._clip
        elif gradient < -self._clip:
            gradient = -self._clip
        self._intercept -= self._intercept_rate * gradient
        self._iterations += 1
        return gradient

    def _log_gradient(self, raw: float, label: float) -> float:
        sign, weight = (1, self._positive) if label else (-1, self._negative)
        z = raw * sign
        if z > 18.0:
            return weight * exp(-z) * -sign
        if z < -18.0:
            return weight * -sign
        return weight * -sign / (exp(z) + 1.0)

    def fill(self, model: Any, names: Sequence[str]) -> None:
        """Write the state into a River model that has learned nothing."""
        if self._held:
            self._wake()
        if not self._count:
            return
        scaler, linear = model.steps.values()
        self._fill_scaler(scaler, enumerate(names))
        for name, weight in zip(names, self._weights, strict=True):
            linear._weights[name] = weight  # noqa: SLF001
        self._fill_linear(linear)

    def _fill_scaler(self, scaler: Any, features: Iterable[tuple[int, str]]) -> None:
        for at, name in features:
            scaler.counts[name] = self._count
            scaler.means[name] = self._means[at]
            scaler.vars[name] = self._vars[at]

    def _fill_linear(self, linear: Any) -> None:
        linear.intercept = self._intercept
        linear.optimizer.n_iterations = self._iterations


def linear_settings(linear: Any, width: int) -> LinearSettings | None:
    """Return the settings of a linear model that has learned nothing, or None where they are not plain."""
    losses = {linear_model.LogisticRegression: optim.losses.Log, linear_model.LinearRegression: optim.losses.Squared}
    if not (
        type(linear) in losses
        and type(linear.loss) is losses[type(linear)]
        and type(linear.optimizer) is optim.SGD
        and type(linear.optimizer.lr) is optim.schedulers.Constant
        and type(linear.intercept_lr) is optim.schedulers.Constant
        and type(linear.initializer) is optim.initializers.Zeros
        and not linear.l1
        and not linear.l2
    ):
        return None
    logistic = type(linear) is linear_model.LogisticRegression
    numbers = [linear.intercept, linear.optimizer.lr.learning_rate, linear.intercept_lr.learning_rate]
    weights = [linear.loss.weight_pos, linear.loss.weight_neg] if logistic else [1.0, 1.0]
    return LinearSettings(logistic, width, *map(float, [*numbers, linear.clip_gradient, *weights]))
