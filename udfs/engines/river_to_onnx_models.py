"""River's classifiers and regressors as tensors: which part writes which model, and those that are made of others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from river import compose, forest, linear_model, multiclass, tree
from thalweg.connector.errors import Problem
from thalweg.udfs.engines.river_to_onnx_bayes import NAIVE_BAYES
from thalweg.udfs.engines.river_to_onnx_frame import Frame, refuse
from thalweg.udfs.engines.river_to_onnx_leaves import leaf_shares, leaf_values
from thalweg.udfs.engines.river_to_onnx_linear import (
    BINARY,
    REGRESSORS,
    Shares,
    linear_probability,
    linear_value,
    softmax,
)
from thalweg.udfs.engines.river_to_onnx_steps import TRANSFORMERS, transform
from thalweg.udfs.engines.river_to_onnx_trees import Forest

__all__ = ["classifier", "misfits", "regressor"]

_TREES = (
    tree.HoeffdingTreeClassifier,
    tree.HoeffdingAdaptiveTreeClassifier,
    tree.ExtremelyFastDecisionTreeClassifier,
)
_MADE = (linear_model.SoftmaxRegression, multiclass.OneVsRestClassifier, forest.ARFClassifier)
CLASSIFIERS: tuple[type, ...] = (*BINARY, *NAIVE_BAYES, *_TREES, *_MADE)
NUMBERS: tuple[type, ...] = (*REGRESSORS, tree.HoeffdingTreeRegressor, forest.ARFRegressor)


def misfits(model: Any) -> Iterator[Problem]:
    """Yield each part of a model that has no exact counterpart in ONNX, by its type."""
    if isinstance(model, compose.Pipeline):
        *before, last = model.steps.values()
        for step in before:
            yield from _step_misfits(step)
        yield from misfits(last)
    elif type(model) is multiclass.OneVsRestClassifier:
        yield from misfits(model.classifier)
    elif type(model) not in (*CLASSIFIERS, *NUMBERS):
        names = sorted(one.__name__ for one in (*CLASSIFIERS, *NUMBERS))
        yield Problem(
            f"model {type(model).__name__}", "has no exact counterpart in ONNX.", f"These have: {', '.join(names)}."
        )


def _step_misfits(step: Any) -> Iterator[Problem]:
    parts = getattr(step, "steps", None) or getattr(step, "transformers", None)
    if isinstance(step, (compose.Pipeline, compose.TransformerUnion)):
        for part in (parts or {}).values():
            yield from _step_misfits(part)
    elif type(step) not in TRANSFORMERS:
        names = sorted(one.__name__ for one in TRANSFORMERS)
        yield Problem(
            f"step {type(step).__name__}", "has no exact counterpart in ONNX.", f"These have: {', '.join(names)}."
        )


def classifier(frame: Frame, model: Any) -> Shares:
    """Return the probabilities that a classifier gives.

    Parameters
    ----------
    frame : Frame
        What the model is given.
    model : object
        A River classifier without ``misfits``.

    Raises
    ------
    ConfigError
        Its state, or what it is given, has no exact counterpart.
    """
    if isinstance(model, compose.Pipeline):
        return classifier(*_last(frame, model))
    if type(model) in BINARY:
        return linear_probability(frame, model)
    if type(model) is linear_model.SoftmaxRegression:
        return softmax(frame, model) if model.weights else Shares((), "")
    if type(model) is multiclass.OneVsRestClassifier:
        return _one_against_rest(frame, model)
    if type(model) in NAIVE_BAYES:
        return NAIVE_BAYES[type(model)](frame, model)
    if type(model) is forest.ARFClassifier:
        return _arf_classifier(frame, model)
    return _tree_classifier(frame, model)


def regressor(frame: Frame, model: Any) -> str:
    """Return the number that a regressor predicts, [rows, 1]; parameters and errors as in ``classifier``."""
    if isinstance(model, compose.Pipeline):
        return regressor(*_last(frame, model))
    if type(model) in REGRESSORS:
        return linear_value(frame, [model])
    if type(model) is forest.ARFRegressor:
        return _arf_regressor(frame, model)
    return _grown(frame, [model])[0] if _root(model) is not None else frame.graph.rows([0.0])


def _last(frame: Frame, model: compose.Pipeline) -> tuple[Frame, Any]:
    *before, last = model.steps.values()
    for step in before:
        frame = transform(frame, step)
    return frame, last


def _root(model: Any) -> Any:
    return model._root  # noqa: SLF001


def _one_against_rest(frame: Frame, model: Any) -> Shares:
    graph, parts = frame.graph, model.classifiers
    if not parts:
        return Shares((), "")
    if all(type(part) in BINARY for part in parts.values()):
        votes = linear_value(frame, list(parts.values()))
    else:
        found = [classifier(frame, part) for part in parts.values()]
        votes = graph.joined([graph.columns(one.value, [_true(one, model)]) for one in found])
    total = graph.row_sum(votes)
    none = graph.node("Equal", total, graph.number(0))
    shares = graph.node("Div", votes, graph.node("Where", none, graph.number(1), total))
    return Shares(tuple(parts), graph.node("Where", none, graph.number(1 / len(parts)), shares))


def _true(shares: Shares, model: Any) -> int:
    if True not in shares.classes:
        what = "has a part that has not seen its class."
        raise refuse(f"model {type(model).__name__}", what, "Export it when it has learned more rows.")
    return shares.classes.index(True)


def _tree_classifier(frame: Frame, model: Any) -> Shares:
    adaptive = type(model) is tree.HoeffdingAdaptiveTreeClassifier
    classes = tuple(model.classes) if adaptive else tuple(sorted(model.classes))
    if _root(model) is None or not classes:
        return Shares((), "")
    grown = Forest(frame, [_root(model)])
    if adaptive and any(getattr(node, "_alternate_tree", None) for node in grown.branches):
        what = "is growing an alternate tree, with which River answers as well, or fails."
        raise refuse(f"model {type(model).__name__}", what, "Export a snapshot before or after that.")
    value = leaf_shares(frame, model, grown.leaves[0], 0, grown.places[0], classes)
    return Shares(classes, _normalised(frame, value) if adaptive else value)


def _normalised(frame: Frame, value: str) -> str:
    """Return shares that sum to 1, or zeros where they are all 0."""
    graph = frame.graph
    total = graph.row_sum(value)
    some = graph.node("Greater", total, graph.number(0))
    return graph.node("Div", value, graph.node("Where", some, total, graph.number(1)))


def _arf_classifier(frame: Frame, model: Any) -> Shares:
    graph = frame.graph
    trees = [(one, metric) for one, metric in zip(model, model._metrics, strict=False) if _root(one) is not None]  # noqa: SLF001
    order = [tuple(sorted(one.classes)) for one, _ in trees]
    classes = tuple(dict.fromkeys(label for one in order for label in one))
    if not classes:
        return Shares((), "")
    grown = Forest(frame, [_root(one) for one, _ in trees])
    votes, start = [], 0
    for (one, metric), leaves, place in zip(trees, grown.leaves, grown.places, strict=True):
        vote = leaf_shares(frame, one, leaves, start, place, classes)
        weight = deepcopy(metric).get()  # asking it leaves traces in its table
        if not model.disable_weighted_vote and weight > 0.0:
            vote = graph.node("Mul", vote, graph.number(weight))
        votes.append(vote)
        start += len(leaves)
    return Shares(classes, _normalised(frame, graph.total(votes)))


def _grown(frame: Frame, trees: Sequence[Any]) -> list[str]:
    """Return what each of some regression trees predicts."""
    planted = [one for one in trees if _root(one) is not None]
    found: Mapping[int, str] = {}
    if planted:
        grown = Forest(frame, [_root(one) for one in planted])
        starts = [sum(map(len, grown.leaves[:at])) for at in range(len(planted))]
        parts = zip(planted, grown.leaves, starts, grown.places, strict=True)
        found = {id(one): leaf_values(frame, one, leaves, start, place) for one, leaves, start, place in parts}
    return [found.get(id(one)) or frame.graph.rows([0.0]) for one in trees]


def _arf_regressor(frame: Frame, model: Any) -> str:
    graph, trees = frame.graph, list(model)
    if not trees:
        return graph.rows([0.0])
    votes = graph.joined(_grown(frame, trees))
    if model.aggregation_method == "median":
        middle = [(len(trees) - 1) // 2, len(trees) // 2]
        ordered = graph.node("TopK", votes, graph.const([len(trees)], "int64"), axis=1, largest=0, outputs=2)
        pair = graph.columns(ordered, middle)
        return graph.node("Div", graph.row_sum(pair), graph.number(2))
    if not model.disable_weighted_vote:
        weights = [deepcopy(metric).get() for metric in model._metrics]  # noqa: SLF001
        total = sum(weights)
        if total != 0:
            rest = [total - weight for weight in weights]
            scale = sum(rest)
            votes = graph.node("Mul", votes, graph.const([[weight / scale for weight in rest]]))
    return graph.node("Div", graph.row_sum(votes), graph.number(len(trees)))
