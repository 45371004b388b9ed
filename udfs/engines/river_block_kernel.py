"""The loop of ``river_kernel`` over a whole block of rows of many models, as machine code.

Every arithmetic operation is the one of the loop over single rows, in its order, and ``exp``, ``log`` and ``pow`` are
those of the C library, as in Python. So both give the same bits, and a model may go from one to the other at any row.
"""

from __future__ import annotations

import math
from typing import Any

from thalweg.udfs.engines.midas_compile import compiled

__all__ = ["COLD", "OK", "UNFINISHED", "run", "spread"]

OK, COLD, UNFINISHED = range(3)
"""How a row was answered: with a number; not, for the model has learned too little; not, for it has diverged."""

# What ``head`` of a model holds as whole numbers, and ``table`` as floats: as ``LinearKernel.pack`` writes them.
_ROWS, _STEPS, _INTERCEPT, _MEANS = range(4)
# What ``counts`` holds.
_LEARNED, _LAST, _STOP_AT, _DUE = range(4)
_LOSS, _WEIGHT = range(2)


@compiled
def _probability(raw: float) -> float:
    if raw < -30:
        return 0.0
    if raw > 30:
        return 1.0
    return 1 / (1 + math.exp(-raw))


@compiled
def _log_gradient(raw: float, label: float, positive: float, negative: float) -> float:
    sign, weight = (1.0, positive) if label != 0.0 else (-1.0, negative)
    z = raw * sign
    if z > 18.0:
        return weight * math.exp(-z) * -sign
    if z < -18.0:
        return weight * -sign
    return weight * -sign / (math.exp(z) + 1.0)


@compiled
def spread(first: int, last: int, half: float, table: Any, deviations: Any) -> None:
    """Fill in the deviations of the models from ``first`` to before ``last``; the arguments are those of ``run``."""
    width = deviations.shape[1]
    for model in range(first, last):
        for x in range(width):
            deviations[model, x] = table[model, _MEANS + width + x] ** half


@compiled
def run(
    at: int,
    logistic: bool,
    ready_at: int,
    numbers: Any,
    table: Any,
    head: Any,
    deviations: Any,
    counts: Any,
    losses: Any,
    models: Any,
    plain: Any,
    learns: Any,
    values: Any,
    labels: Any,
    times: Any,
    row_times: Any,
    scores: Any,
    statuses: Any,
    learned: Any,
) -> int:
    """Answer rows from ``at`` on, each before it is learned, until one asks for more than numbers.

    That is a row that is not plain, or has no label to learn; one whose model is to be looked at before, or after, it
    learns; and one whose loss is beyond all numbers. Such a row has left no trace.

    Parameters
    ----------
    at : int
        The first row.
    logistic : bool
        True for LogisticRegression, False for LinearRegression.
    ready_at : int
        Rows that a model must have learned before its first answer.
    numbers : array of float64, shape (7,)
        Learning rates of weights and intercept, gradient clip, class weights of True and False; then 0.5 and 2.0, the
        exponents, which the compiler must not know: it would put other functions in the place of ``pow``.
    table, head : array of float64 and of int64, shape (models, 3 + 3 * width)
        The same memory: states as ``LinearKernel.pack`` writes them.
    deviations : array of float64, shape (models, width)
        Square roots of the variances.
    counts : array of int64, shape (models, 4)
        Rows learned; time of the last event (ms); how many rows will have been learned when somebody must look, at
        once if negative; the row time from which on somebody must look first (ms).
    losses : array of float64, shape (models, 2)
        Mean loss fading over 1,000 rows, and the rows in it.
    models : array of int64, shape (n,)
        Whose rows they are; -1: nobody's.
    plain, learns : array of bool, shape (n,)
        Whether all features are numbers of usual size; whether the row is to be learned.
    values : array of float64, shape (n, width)
        Features.
    labels : array of float64, shape (n,)
        NaN where there is none.
    times, row_times : array of int64, shape (n,)
        Of the event and of the row, ms.
    scores, statuses, learned : array of float64, int64, int64, shape (n,)
        Where the answers go, and how many rows their models had learned.

    Returns
    -------
    int
        The row that was not taken, or n.
    """
    rate, intercept_rate, clip, positive, negative, half, two = numbers
    rows, width = values.shape
    weights = _MEANS + 2 * width
    variances = _MEANS + width
    while at < rows:
        model = models[at]
        if model < 0 or not plain[at]:
            return at
        count, label, learn = counts[model, _LEARNED], labels[at], learns[at]
        if counts[model, _STOP_AT] < 0:
            return at
        if learn and (
            math.isnan(label) or count + 1 >= counts[model, _STOP_AT] or row_times[at] >= counts[model, _DUE]
        ):
            return at
        status, value = COLD, math.nan
        if count >= ready_at:
            total = 0.0
            for x in range(width):
                deviation = deviations[model, x]
                z = (values[at, x] - table[model, _MEANS + x]) / deviation if deviation != 0.0 else 0.0
                total += table[model, weights + x] * z
            value = total + table[model, _INTERCEPT]
            if logistic:
                value = _probability(value)
            status = OK if math.isfinite(value) else UNFINISHED
        if learn:
            if status == OK:
                if logistic:
                    loss = -math.log(max(value if label != 0.0 else 1.0 - value, 1e-15))
                else:
                    loss = (value - label) ** two
                    if not math.isfinite(loss):
                        return at
                seen = losses[model, _WEIGHT]
                losses[model, _LOSS] += (loss - losses[model, _LOSS]) / min(seen + 1.0, 1000.0)
                losses[model, _WEIGHT] = seen + 1.0
            head[model, _ROWS] += 1
            among = float(head[model, _ROWS])
            total = 0.0
            for x in range(width):
                given, old, variance = values[at, x], table[model, _MEANS + x], table[model, variances + x]
                mean = old + (given - old) / among
                variance = variance + ((given - old) * (given - mean) - variance) / among
                deviation = variance**half
                table[model, _MEANS + x], table[model, variances + x], deviations[model, x] = mean, variance, deviation
                z = (given - mean) / deviation if deviation != 0.0 else 0.0
                total += table[model, weights + x] * z
            raw = total + table[model, _INTERCEPT]
            gradient = _log_gradient(raw, label, positive, negative) if logistic else 2 * (raw - label)
            if gradient > clip:
                gradient = clip
            elif gradient < -clip:
                gradient = -clip
            table[model, _INTERCEPT] -= intercept_rate * gradient
            head[model, _STEPS] += 1
            for x in range(width):
                deviation = deviations[model, x]
                z = (values[at, x] - table[model, _MEANS + x]) / deviation if deviation != 0.0 else 0.0
                table[model, weights + x] -= z * gradient * rate
            counts[model, _LEARNED] = count + 1
            if times[at] > counts[model, _LAST]:
                counts[model, _LAST] = times[at]
        scores[at], statuses[at], learned[at] = value, status, count
        at += 1
    return at
