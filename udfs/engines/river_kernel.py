"""The commonest River pipelines as one tight loop: ``StandardScaler()``, then logistic or linear regression.

Every arithmetic operation is River's own, in River's order, so that scores and weights are the same bits; what is gone
is dictionaries, context managers and checks. The state is a handful of floats, which are written and read as such.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import exp
from typing import Any, NamedTuple

from river import compose, linear_model, optim, preprocessing

__all__ = ["LinearKernel"]

_HEAD = struct.Struct("<qqd")  # rows learned by the scaler, steps of the optimizer, intercept


class _Settings(NamedTuple):
    """What a model text fixes for all its models."""

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
    """

    def __init__(self, settings: _Settings) -> None:
        self._settings = settings
        self.logistic, width, self._intercept, self._rate, self._intercept_rate, self._clip, *weights = settings
        self._positive, self._negative = weights
        self._count = self._iterations = 0
        self._means, self._vars, self._deviations, self._weights = ([0.0] * width for _ in range(4))

    @classmethod
    def of(cls, model: Any, width: int) -> LinearKernel | None:
        """Return the loop for a model that has learned nothing, or None where its shape or settings are not plain."""
        if type(model) is not compose.Pipeline or len(model.steps) != 2:
            return None
        scaler, linear = model.steps.values()
        if type(scaler) is not preprocessing.StandardScaler or not scaler.with_std or not _plain(linear):
            return None
        logistic = type(linear) is linear_model.LogisticRegression
        numbers = [linear.intercept, linear.optimizer.lr.learning_rate, linear.intercept_lr.learning_rate]
        weights = [linear.loss.weight_pos, linear.loss.weight_neg] if logistic else [1.0, 1.0]
        return cls(_Settings(logistic, width, *map(float, [*numbers, linear.clip_gradient, *weights])))

    def fresh(self) -> LinearKernel:
        """Return the loop of another model with the same settings, which has learned nothing."""
        return LinearKernel(self._settings)

    def pack(self) -> bytes:
        """Return the state as bytes."""
        table = (*self._means, *self._vars, *self._weights)
        return _HEAD.pack(self._count, self._iterations, self._intercept) + struct.pack(f"<{len(table)}d", *table)

    def unpack(self, state: bytes) -> None:
        """Take the state that ``pack`` wrote; raises ValueError."""
        width = self._settings.width
        if len(state) != _HEAD.size + 24 * width:
            raise ValueError("it is not as long as the number of features asks for")
        self._count, self._iterations, self._intercept = _HEAD.unpack_from(state)
        table = struct.unpack_from(f"<{3 * width}d", state, _HEAD.size)
        self._means, self._vars = list(table[:width]), list(table[width : 2 * width])
        self._weights = list(table[2 * width :])
        if self._count < 0 or not all(var >= 0 for var in self._vars):
            raise ValueError("it holds a number that cannot be")
        self._deviations = [var**0.5 for var in self._vars]

    def size(self) -> float:
        """Return the sum of the absolute weights: how far the model has gone, or not finite where it is lost."""
        return sum(map(abs, self._weights)) + abs(self._intercept)

    def raw(self, values: Sequence[float]) -> float:
        """Return the dot product with the scaled features, plus the intercept."""
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
        self._count = count = self._count + 1
        means, variances, deviations, weights = self._means, self._vars, self._deviations, self._weights
        total = 0.0
        scaled = []
        for at, x in enumerate(values):
            old = means[at]
            variance = variances[at]
            means[at] = mean = old + (x - old) / count
            variances[at] = variance = variance + ((x - old) * (x - mean) - variance) / count
            deviations[at] = deviation = variance**0.5
            z = (x - mean) / deviation if deviation else 0.0
            scaled.append(z)
            total += weights[at] * z
        raw = total + self._intercept
        gradient = self._log_gradient(raw, label) if self.logistic else 2 * (raw - label)
        if gradient > self._clip:
            gradient = self._clip
        elif gradient < -self._clip:
            gradient = -self._clip
        self._intercept -= self._intercept_rate * gradient
        rate = self._rate
        for at, z in enumerate(scaled):
            weights[at] -= z * gradient * rate
        self._iterations += 1

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
        if not self._count:
            return
        scaler, linear = model.steps.values()
        for name, mean, variance, weight in zip(names, self._means, self._vars, self._weights, strict=True):
            scaler.counts[name] = self._count
            scaler.means[name] = mean
            scaler.vars[name] = variance
            linear._weights[name] = weight  # noqa: SLF001
        linear.intercept = self._intercept
        linear.optimizer.n_iterations = self._iterations


def _plain(linear: Any) -> bool:
    losses = {linear_model.LogisticRegression: optim.losses.Log, linear_model.LinearRegression: optim.losses.Squared}
    return (
        type(linear) in losses
        and type(linear.loss) is losses[type(linear)]
        and type(linear.optimizer) is optim.SGD
        and type(linear.optimizer.lr) is optim.schedulers.Constant
        and type(linear.intercept_lr) is optim.schedulers.Constant
        and type(linear.initializer) is optim.initializers.Zeros
        and not linear.l1
        and not linear.l2
    )
