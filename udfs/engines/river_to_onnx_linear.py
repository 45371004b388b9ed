"""River's linear models as one product of matrices, and one look-up per one-hot encoded feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from river import linear_model, optim
from thalweg.udfs.engines.river_to_onnx_frame import Frame, OneHot, refuse
from thalweg.udfs.engines.river_to_onnx_graph import GraphWriter

__all__ = [
    "BINARY",
    "REGRESSORS",
    "Shares",
    "leaf_weights",
    "linear_probability",
    "linear_value",
    "looked_up",
    "softmax",
    "weighted",
]

REGRESSORS = (linear_model.LinearRegression, linear_model.PARegressor)
"""The linear models that predict a number."""

BINARY = (
    linear_model.LogisticRegression,
    linear_model.Perceptron,
    linear_model.PAClassifier,
    linear_model.ALMAClassifier,
)
"""The linear models that tell True from False."""


class Shares(NamedTuple):
    """What a classifier answers.

    Attributes
    ----------
    classes : tuple
        The classes in River's order, in which the first of two equal ones wins.
    value : str
        Their probabilities, [rows, classes].
    """

    classes: tuple[Any, ...]
    value: str


def weighted(frame: Frame, models: Sequence[tuple[Mapping[Any, float], float]]) -> str:
    """Return the dot product of the features that are there and the weights, plus the intercept: [rows, models].

    Parameters
    ----------
    frame : Frame
        The features.
    models : sequence of (mapping, float)
        Weights by feature, and the intercept, of each model.
    """
    if frame.texts:
        what = f"is given texts ({', '.join(frame.texts)}), on which River fails."
        raise refuse("linear model", what, "Encode them: compose.SelectType(str) | preprocessing.OneHotEncoder(...)")
    graph = frame.graph
    names = [name for name in frame.columns if any(name in weights for weights, _ in models)]
    parts = []
    if names:
        value, present = frame.gather([frame.columns[name] for name in names])
        there = graph.node("Where", present, value, graph.number(0))
        table = [[float(weights.get(name, 0.0)) for weights, _ in models] for name in names]
        parts.append(graph.node("MatMul", there, graph.const(table)))
    for group in frame.one_hots:
        named = dict.fromkeys(name for weights, _ in models for name in weights if name not in frame.columns)
        rows = group.by_value({name: [float(weights.get(name, 0.0)) for weights, _ in models] for name in named})
        if rows:
            parts.append(looked_up(frame, group, rows, [0.0] * len(models)))
    intercepts = [float(intercept) for _, intercept in models]
    if not parts:
        return graph.rows(intercepts)
    return graph.node("Add", graph.total(parts), graph.const([intercepts]))


def looked_up(frame: Frame, group: OneHot, rows: Mapping[str, Sequence[float]], other: Sequence[float]) -> str:
    """Return the numbers of each row's value of a one-hot encoded feature, [rows, width]; 0 where it is missing.

    Parameters
    ----------
    frame : Frame
        The features.
    group : OneHot
        The feature.
    rows : mapping of str to sequence of float
        Numbers by value.
    other : sequence of float
        Those of all other values.
    """
    graph = frame.graph
    code, known = frame.code(group.source, list(rows), as_text=True)
    table = [[0.0] * len(other), list(other), *(list(rows[value]) for value in known)]
    return picked(graph, graph.const(table), graph.node("Add", code, graph.number(1)))


def picked(graph: GraphWriter, table: str, row: str) -> str:
    """Return rows of a table by number, where the numbers are doubles [rows, 1]."""
    places = graph.node("Cast", graph.node("Squeeze", row, graph.const([1], np.int64)), to=6)
    return graph.node("Gather", table, places)


def linear_value(frame: Frame, models: Sequence[Any]) -> str:
    """Return what some linear models predict, a number or the probability of True each: [rows, models].

    Raises
    ------
    ConfigError
        A loss with a link function of its own.
    """
    value = weighted(frame, [_weights(model) for model in models])
    links = {_link(model) for model in models}
    if links == {"identity"}:
        return value
    if links == {"logistic"}:
        return frame.graph.sigmoid(value)
    if links == {"exp"}:
        return frame.graph.node("Exp", value)
    names = ", ".join(sorted({type(getattr(model, "loss", None)).__name__ for model in models}))
    raise refuse("linear model", f"has a loss without a link function known here ({names}).", "Use River's own losses.")


def linear_probability(frame: Frame, model: Any) -> Shares:
    """Return the probabilities of a linear model that tells True from False."""
    value = linear_value(frame, [model])
    return both(frame.graph, value)


def both(graph: GraphWriter, probability: str) -> Shares:
    """Return the shares of False and True for the probability of True, [rows, 1]."""
    other = graph.node("Sub", graph.number(1), probability)
    return Shares((False, True), graph.joined([other, probability]))


def softmax(frame: Frame, model: Any) -> Shares:
    """Return the probabilities of a softmax regression."""
    raw = weighted(frame, [(weights, 0.0) for weights in model.weights.values()])
    return Shares(tuple(model.weights), frame.graph.node("Softmax", raw, axis=1))


def _weights(model: Any) -> tuple[Mapping[Any, float], float]:
    if isinstance(model, linear_model.ALMAClassifier):
        return model.w, 0.0
    return model.weights, float(model.intercept)


def leaf_weights(model: Any) -> tuple[Mapping[Any, float], float]:
    """Return weights and intercept of a linear regression that stands in the leaf of a tree; raises ConfigError."""
    if _link(model) != "identity":
        what = f"predicts through the link function of its loss {type(model.loss).__name__}."
        raise refuse("model in a leaf", what, "Use optim.losses.Squared().")
    return _weights(model)


def _link(model: Any) -> str:
    if isinstance(model, (linear_model.PAClassifier, linear_model.ALMAClassifier)):
        return "logistic"
    if isinstance(model, linear_model.PARegressor):
        return "identity"
    links = {
        optim.losses.BinaryLoss.mean_func: "logistic",
        optim.losses.RegressionLoss.mean_func: "identity",
        optim.losses.Poisson.mean_func: "exp",
    }
    return links.get(type(model.loss).mean_func, "")
