"""River's naive Bayes as tensors: a table of log-likelihoods per feature and class, and a softmax over their sums."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from river import naive_bayes
from thalweg.udfs.engines.river_to_onnx_frame import Frame, refuse
from thalweg.udfs.engines.river_to_onnx_graph import GraphWriter
from thalweg.udfs.engines.river_to_onnx_linear import Shares, looked_up, weighted

__all__ = ["NAIVE_BAYES", "gaussian_density", "gaussian_numbers"]

_LEAST = 1e-9  # what River adds to each likelihood


def gaussian_numbers(gaussian: Any) -> tuple[float, float, float]:
    """Return mean, minus twice the variance, and the normaliser of a ``proba.Gaussian``.

    One without a variance has the density 0 everywhere, which its normaliser says: it is infinite.
    """
    variance = gaussian._var.get() if gaussian is not None else 0.0  # noqa: SLF001
    if not variance > 0:
        return 0.0, -1.0, math.inf
    return float(gaussian.mu), -2.0 * variance, math.sqrt(math.tau * variance)


def gaussian_density(graph: GraphWriter, value: str, mean: str, spread: str, norm: str) -> str:
    """Return the density of normal distributions, in River's order of operations.

    Parameters
    ----------
    graph : GraphWriter
        Where nodes are added.
    value, mean, spread, norm : str
        Where to look, and what ``gaussian_numbers`` gives; of shapes that go together.

    Notes
    -----
    The ``Exp`` of ONNX Runtime 1.20 ends at exp(-708), where numbers become denormal; Python's goes down to exp(-745).
    So the root is taken and squared, which ends where it should.
    """
    off = graph.node("Sub", value, mean)
    exponent = graph.node("Div", graph.node("Mul", off, off), spread)
    root = graph.node("Exp", graph.node("Mul", exponent, graph.const(0.5)))
    return graph.node("Div", graph.node("Mul", root, root), norm)


def _gaussian(frame: Frame, model: Any) -> Shares:
    _numbers(frame, model)
    graph, classes = frame.graph, tuple(model.gaussians)
    columns = dict(frame.columns)
    for group in frame.one_hots:
        if group.zeros:
            columns.update(frame.expand(group, group.zeros))
    # What no class has learned has one likelihood in all of them, so it leaves the answer as it is.
    names = [name for name in columns if any(name in model.gaussians[label] for label in classes)]
    parts = []
    if names:
        value, present = frame.gather([columns[name] for name in names])
        tables = [[gaussian_numbers(model.gaussians[label].get(name)) for name in names] for label in classes]
        numbers = [graph.const([[[cell[part] for cell in row] for row in tables]]) for part in range(3)]
        axis = graph.const([1], np.int64)
        density = gaussian_density(graph, graph.node("Unsqueeze", value, axis), *numbers)
        log = graph.node("Log", graph.node("Add", density, graph.const(_LEAST)))
        there = graph.node("Where", graph.node("Unsqueeze", present, axis), log, graph.const(0.0))
        parts.append(graph.row_sum(there, axis=2, keep=False))
    for group in frame.one_hots:
        named = dict.fromkeys(name for label in classes for name in model.gaussians[label] if name not in columns)
        rows = group.by_value(
            {
                name: [math.log(_LEAST + _at_one(model.gaussians[label].get(name))) for label in classes]
                for name in named
            }
        )
        if rows:
            parts.append(looked_up(frame, group, rows, [math.log(_LEAST)] * len(classes)))
    return _softmax(graph, classes, parts, [math.log(model.p_class(label)) for label in classes])


def _at_one(gaussian: Any) -> float:
    return 0.0 if gaussian is None else float(gaussian(1))


def _multinomial(frame: Frame, model: Any) -> Shares:
    classes = tuple(model.class_counts)

    def log_likelihood(name: str, label: Any) -> float:
        return math.log(model.p_feature_given_class(name, label))

    prior = [math.log(model.p_class(label)) for label in classes]
    return _counted(frame, model, classes, log_likelihood, prior)


def _complement(frame: Frame, model: Any) -> Shares:
    classes = tuple(model.class_counts)
    counts = {
        label: {
            name: model.feature_totals[name] + model.alpha - frequency.get(label, 0)
            for name, frequency in model.feature_counts.items()
        }
        for label in classes
    }
    totals = {label: sum(counts[label].values()) for label in classes}

    def log_likelihood(name: str, label: Any) -> float:
        return -math.log(counts[label].get(name, model.alpha) / totals[label])

    return _counted(frame, model, classes, log_likelihood, [0.0] * len(classes))


def _counted(
    frame: Frame,
    model: Any,
    classes: Sequence[Any],
    log_likelihood: Callable[[str, Any], float],
    prior: Sequence[float],
) -> Shares:
    """Return the shares of a model in which each feature counts as often as its value says."""
    _numbers(frame, model)
    where = f"model {type(model).__name__}"
    if frame.open:
        what = "gives a weight to features that it has not learned, and a step before it makes such of unseen values."
        raise refuse(where, what, "Do without the scaler after the one-hot encoder.")
    learned = [name for group in frame.one_hots for name in model.feature_counts if group.value_of(name) is not None]
    try:
        rows = {name: [log_likelihood(name, label) for label in classes] for name in (*frame.columns, *learned)}
        unseen = [log_likelihood("", label) if frame.one_hots else 0.0 for label in classes]
    except (ValueError, ZeroDivisionError) as error:
        what = f"has a likelihood without a logarithm ({error})."
        raise refuse(where, what, "Give it counts, not negative numbers, and an alpha above 0.") from error
    weights = [({name: rows[name][at] for name in frame.columns}, 0.0) for at in range(len(classes))]
    parts = [weighted(frame.but(one_hots=()), weights)] if frame.columns else []
    for group in frame.one_hots:
        known = group.by_value({name: rows[name] for name in learned if name not in frame.columns})
        parts.append(looked_up(frame, group, known, unseen))
    return _softmax(frame.graph, classes, parts, prior)


def _bernoulli(frame: Frame, model: Any) -> Shares:
    _numbers(frame, model)
    graph, classes = frame.graph, tuple(model.class_counts)
    if model.true_threshold < 0 and any(group.zeros for group in frame.one_hots):
        what = "has a true_threshold below 0, so that the zeros of a one-hot encoder are true."
        raise refuse("model BernoulliNB", what, "Use drop_zeros=True, or a threshold of 0.")
    yes, no = {}, {}
    for name in model.feature_counts:
        chances = [model.p_feature_given_class(name, label) for label in classes]
        try:
            yes[name] = [math.log(_LEAST + chance) for chance in chances]
            no[name] = [math.log(_LEAST + (1.0 - chance)) for chance in chances]
        except ValueError as error:
            what = f"has a likelihood without a logarithm for '{name}' ({error})."
            raise refuse("model BernoulliNB", what, "Give it features that occur once per row.") from error
    more = {name: [a - b for a, b in zip(yes[name], no[name], strict=True)] for name in yes}
    names = [name for name in frame.columns if name in more]
    parts = []
    if names:
        value, present = frame.gather([frame.columns[name] for name in names])
        above = graph.node("Greater", value, graph.number(float(model.true_threshold)))
        true = graph.node("Cast", graph.node("And", above, present), to=11)
        parts.append(graph.node("MatMul", true, graph.const([more[name] for name in names])))
    for group in frame.one_hots if model.true_threshold < 1 else ():
        rows = group.by_value({name: more[name] for name in more if name not in frame.columns})
        if rows:
            parts.append(looked_up(frame, group, rows, [0.0] * len(classes)))
    prior = [math.log(model.p_class(label)) + sum(no[name][at] for name in no) for at, label in enumerate(classes)]
    return _softmax(graph, classes, parts, prior)


def _softmax(graph: GraphWriter, classes: Sequence[Any], parts: Sequence[str], prior: Sequence[float]) -> Shares:
    if parts:
        votes = graph.node("Add", graph.total(parts), graph.const([list(prior)]))
    else:
        votes = graph.rows(prior)
    return Shares(tuple(classes), graph.node("Softmax", votes, axis=1))


def _numbers(frame: Frame, model: Any) -> None:
    if frame.texts:
        what = f"is given texts ({', '.join(frame.texts)}), on which River fails."
        remedy = "Encode them: compose.SelectType(str) | preprocessing.OneHotEncoder(drop_zeros=True)"
        raise refuse(f"model {type(model).__name__}", what, remedy)


NAIVE_BAYES: Mapping[type, Callable[[Frame, Any], Shares]] = {
    naive_bayes.GaussianNB: _gaussian,
    naive_bayes.MultinomialNB: _multinomial,
    naive_bayes.ComplementNB: _complement,
    naive_bayes.BernoulliNB: _bernoulli,
}
"""The naive Bayes models that have an exact counterpart, by type."""
