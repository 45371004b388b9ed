"""The commonest River pipelines as one tight loop: ``StandardScaler()``, then logistic or linear regression.

Every arithmetic operation is River's own, in River's order, so that scores and weights are the same bits; what is gone
is dictionaries, context managers and checks. The River objects stay the owner of the state: ``flush`` writes it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, isfinite
from typing import Any

from river import compose, linear_model, optim, preprocessing

__all__ = ["LinearKernel"]


class LinearKernel:
    """Scales, predicts and learns for rows that always carry the same number features.

    Attributes
    ----------
    logistic : bool
        True for LogisticRegression, False for LinearRegression.
    """

    def __init__(
        self, scaler: Any, linear: Any, names: Sequence[str], state: tuple[int, list[Any], list[Any], list[Any]]
    ):
        self.logistic = type(linear) is linear_model.LogisticRegression
        self._scaler, self._linear, self._names = scaler, linear, tuple(names)
        self._count, self._means, self._vars, self._weights = state
        self._deviations = [var**0.5 for var in self._vars]
        self._intercept = linear.intercept
        self._iterations = linear.optimizer.n_iterations
        self._rate = linear.optimizer.lr.learning_rate
        self._intercept_rate = linear.intercept_lr.learning_rate
        self._clip = float(linear.clip_gradient)
        if self.logistic:
            self._positive, self._negative = linear.loss.weight_pos, linear.loss.weight_neg

    @classmethod
    def of(cls, model: Any, names: Sequence[str]) -> LinearKernel | None:
        """Return the loop for ``model``, or None where its shape or settings are not the plain ones."""
        if type(model) is not compose.Pipeline or len(model.steps) != 2:
            return None
        scaler, linear = model.steps.values()
        if type(scaler) is not preprocessing.StandardScaler or not scaler.with_std or not _plain(linear):
            return None
        state = _state(scaler, linear, names)
        return None if state is None else cls(scaler, linear, names, state)

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

    def learn(self, values: Sequence[float], label: float) -> bool:
        """Learn from one row; False if the model has diverged."""
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
        return isfinite(self._intercept)

    def _log_gradient(self, raw: float, label: float) -> float:
        sign, weight = (1, self._positive) if label else (-1, self._negative)
        z = raw * sign
        if z > 18.0:
            return weight * exp(-z) * -sign  # type: ignore[no-any-return]
        if z < -18.0:
            return weight * -sign  # type: ignore[no-any-return]
        return weight * -sign / (exp(z) + 1.0)  # type: ignore[no-any-return]

    def flush(self) -> None:
        """Write the state back into the River objects."""
        if not self._count:
            return
        scaler, linear, weights = self._scaler, self._linear, self._linear._weights  # noqa: SLF001
        for name, mean, variance, weight in zip(self._names, self._means, self._vars, self._weights, strict=True):
            scaler.counts[name] = self._count
            scaler.means[name] = mean
            scaler.vars[name] = variance
            weights[name] = weight
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


def _state(scaler: Any, linear: Any, names: Sequence[str]) -> tuple[int, list[Any], list[Any], list[Any]] | None:
    weights = linear.weights
    if not scaler.counts and not weights:
        return 0, [0.0] * len(names), [0.0] * len(names), [0.0] * len(names)
    tables = (scaler.counts, scaler.means, scaler.vars, weights)
    # The order of the weights is the order of the sum; features that came and went have counts of their own.
    if any(list(table) != list(names) for table in tables) or len(set(scaler.counts.values())) != 1:
        return None
    count = next(iter(scaler.counts.values()))
    return count, list(scaler.means.values()), list(scaler.vars.values()), list(weights.values())
