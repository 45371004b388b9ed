"""The leaves of River's trees as tensors: class counts, naive Bayes in a leaf, means and linear models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from river.tree.nodes import hatc_nodes, htc_nodes, htr_nodes
from river.tree.splitter import ExhaustiveSplitter, GaussianSplitter
from river.tree.splitter.nominal_splitter_classif import NominalSplitterClassif
from river.utils.norm import normalize_values_in_dict
from thalweg.udfs.engines.river_to_onnx_bayes import gaussian_density, gaussian_numbers
from thalweg.udfs.engines.river_to_onnx_frame import Column, Frame, refuse
from thalweg.udfs.engines.river_to_onnx_linear import REGRESSORS, leaf_weights

__all__ = ["leaf_shares", "leaf_values"]

_NEVER = -1e30  # the vote of a class that a leaf has not seen: its probability is 0
_SCALE = (
    200.0  # a density can be denormal, whose logarithm ONNX Runtime does not take: it is made 2 ** 200 times as large
)


def leaf_shares(frame: Frame, tree: Any, leaves: Sequence[Any], start: int, place: str, classes: Sequence[Any]) -> str:
    """Return what the leaves of one tree say of the classes, [rows, classes].

    Parameters
    ----------
    frame : Frame
        The features.
    tree : object
        The tree, whose settings the leaves ask for.
    leaves : sequence
        Its leaves.
    start : int
        Number of the first one.
    place : str
        The number of each row's leaf, int32 [rows].
    classes : sequence
        The classes, in the order of the answer.

    Raises
    ------
    ConfigError
        Leaves, or statistics in them, that have no exact counterpart.
    """
    graph = frame.graph
    place = graph.node("Sub", place, graph.const(start, np.int32)) if start else place
    bayes = [leaf for leaf in leaves if _by_bayes(leaf, tree)]
    constant = [[0.0] * len(classes) if _by_bayes(leaf, tree) else _counted(leaf, classes) for leaf in leaves]
    adaptive = [_is_adaptive(leaf) and not leaf.stats for leaf in leaves]
    if any(adaptive):  # River fails there
        empty = graph.node("Gather", graph.const([[one] for one in adaptive], np.bool_), place)
        graph.refused.append(empty)
    counted = graph.node("Gather", graph.const(constant), place)
    if not bayes:
        return counted
    rows = {id(leaf): at for at, leaf in enumerate(bayes)}
    row = graph.node("Gather", graph.const([rows.get(id(leaf), 0) for leaf in leaves], np.int32), place)
    computed = _bayes(frame, bayes, row, classes)
    if len(bayes) == len(leaves):
        return computed
    chosen = graph.node("Gather", graph.const([[id(leaf) in rows] for leaf in leaves], np.bool_), place)
    return graph.node("Where", chosen, computed, counted)


def _is_adaptive(leaf: Any) -> bool:
    return type(leaf).prediction is hatc_nodes.AdaLeafClassifier.prediction


def _by_bayes(leaf: Any, tree: Any) -> bool:
    """Return whether a leaf answers by naive Bayes; without rows it has nothing to answer with."""
    answers = type(leaf).prediction
    option = tree.leaf_prediction
    if _is_adaptive(leaf):
        by_majority, by_threshold = option == "mc", option == "nb"
    elif answers in (
        htc_nodes.LeafMajorityClass.prediction,
        htc_nodes.LeafNaiveBayes.prediction,
        htc_nodes.LeafNaiveBayesAdaptive.prediction,
    ):
        by_majority = answers is htc_nodes.LeafMajorityClass.prediction
        by_threshold = answers is htc_nodes.LeafNaiveBayes.prediction
    else:
        what = f"has leaves of a kind that is not known here ({type(leaf).__name__})."
        raise refuse(f"model {type(tree).__name__}", what, "Use tree.HoeffdingTreeClassifier or forest.ARFClassifier.")
    if by_majority or not leaf.is_active():
        return False
    if by_threshold:
        return bool(leaf.total_weight >= tree.nb_threshold)
    return bool(leaf._nb_correct_weight >= leaf._mc_correct_weight)  # noqa: SLF001


def _counted(leaf: Any, classes: Sequence[Any]) -> list[float]:
    found = normalize_values_in_dict(leaf.stats, inplace=False)
    return [float(found.get(label, 0.0)) for label in classes]


def _bayes(frame: Frame, leaves: Sequence[Any], row: str, classes: Sequence[Any]) -> str:
    """Return the answers of naive Bayes in leaves, as River's ``do_naive_bayes_prediction``: [rows, classes]."""
    graph = frame.graph
    prior = [[_prior(leaf.stats, label) for label in classes] for leaf in leaves]
    parts = [graph.node("Gather", graph.const(prior), row)]
    splitters = [(leaf.splitters, name, one) for leaf in leaves for name, one in leaf.splitters.items()]
    strange = {type(one).__name__ for *_, one in splitters if not isinstance(one, _SPLITTERS)}
    if strange:
        what = f"has leaves with naive Bayes over a {', '.join(sorted(strange))}."
        raise refuse("tree", what, "Use leaf_prediction='mc', or splitter=tree.splitter.GaussianSplitter().")
    names = dict.fromkeys(name for _, name, one in splitters if isinstance(one, GaussianSplitter))
    found = frame.find_all(names)
    numbers = {name: one for name, one in found.items() if isinstance(one, Column)}
    if numbers:
        parts.append(_densities(frame, leaves, row, classes, numbers))
    nominal = dict.fromkeys(name for _, name, one in splitters if isinstance(one, NominalSplitterClassif))
    for name, source in frame.find_all(nominal).items():
        if source is not None:
            parts.append(_frequencies(frame, leaves, row, classes, name, source))
    shares = graph.node("Softmax", graph.total(parts), axis=1)
    # A leaf that has not seen any row says nothing of any class.
    silent = [[not leaf.stats or sum(leaf.stats.values()) == 0] for leaf in leaves]
    if any(one for (one,) in silent):
        mute = graph.node("Gather", graph.const(silent, np.bool_), row)
        shares = graph.node("Where", mute, graph.number(0), shares)
    return shares


_SPLITTERS = (GaussianSplitter, NominalSplitterClassif, ExhaustiveSplitter)  # the last one's likelihood is always 0


def _prior(stats: Any, label: Any) -> float:
    if label not in stats:
        return _NEVER
    return math.log(stats[label] / sum(stats.values())) if stats[label] > 0 else 0.0


def _densities(
    frame: Frame, leaves: Sequence[Any], row: str, classes: Sequence[Any], columns: dict[str, Column]
) -> str:
    """Return the sum of the log densities of all numbers; one of 0 is left out, as River leaves it out."""
    graph = frame.graph
    cells = [
        [[gaussian_numbers(_gaussian(leaf, name, label)) for name in columns] for label in classes] for leaf in leaves
    ]
    tables = [[[[cell[part] for cell in one] for one in leaf] for leaf in cells] for part in range(3)]
    numbers = [graph.node("Gather", graph.const(table), row) for table in tables]
    value, present = frame.gather(list(columns.values()))
    axis = graph.const([1], np.int64)
    density = gaussian_density(graph, graph.node("Unsqueeze", value, axis), *numbers)
    some = graph.node("Greater", density, graph.const(0.0))
    there = graph.node("And", some, graph.node("Unsqueeze", present, axis))
    large = graph.node("Mul", density, graph.const(2.0**_SCALE))
    log = graph.node("Sub", graph.node("Log", large), graph.const(_SCALE * math.log(2)))
    return graph.row_sum(graph.node("Where", there, log, graph.const(0.0)), axis=2, keep=False)


def _gaussian(leaf: Any, name: str, label: Any) -> Any:
    splitter = leaf.splitters.get(name)
    if not isinstance(splitter, GaussianSplitter) or not leaf.stats.get(label, 0) > 0:
        return None
    return splitter._att_dist_per_class.get(label)  # noqa: SLF001


def _frequencies(frame: Frame, leaves: Sequence[Any], row: str, classes: Sequence[Any], name: str, source: Any) -> str:
    """Return the log frequencies of a nominal feature's value; one of 0 is left out."""
    graph = frame.graph
    counts = [
        [_counts(leaf, name, label) if leaf.stats.get(label, 0) > 0 else {} for label in classes] for leaf in leaves
    ]
    values = dict.fromkeys(value for leaf in counts for one in leaf for value in one)
    code, known = frame.code(source, list(values))
    width = len(known) + 2  # a missing value, any other one, and those that are known
    table = []
    for leaf in counts:
        table.extend([[0.0] * len(classes)] * 2)
        table.extend([_log_share(one, value) for one in leaf] for value in known)
    number = graph.node("Cast", graph.node("Squeeze", code, graph.const([1], np.int64)), to=6)
    base = graph.node("Add", graph.node("Mul", row, graph.const(width, np.int32)), graph.const(1, np.int32))
    return graph.node("Gather", graph.const(table), graph.node("Add", base, number))


def _counts(leaf: Any, name: str, label: Any) -> dict[Any, float]:
    splitter = leaf.splitters.get(name)
    if not isinstance(splitter, NominalSplitterClassif):
        return {}
    return dict(splitter._att_dist_per_class.get(label, {}))  # noqa: SLF001


def _log_share(counts: dict[Any, float], value: Any) -> float:
    total = sum(counts.values())
    share = counts[value] / total if total and value in counts else 0.0
    return math.log(share) if share > 0 else 0.0


def leaf_values(frame: Frame, tree: Any, leaves: Sequence[Any], start: int, place: str) -> str:
    """Return what the leaves of one regression tree predict, [rows, 1]; parameters as in ``leaf_shares``."""
    graph = frame.graph
    place = graph.node("Sub", place, graph.const(start, np.int32)) if start else place
    lines: list[tuple[Any, float]] = [
        leaf_weights(leaf._leaf_model) if _by_model(leaf, tree) else ({}, float(leaf.stats.mean.get()))  # noqa: SLF001
        for leaf in leaves
    ]
    constant = graph.node("Gather", graph.const([[intercept] for _, intercept in lines]), place)
    named = frame.find_all(name for weights, _ in lines for name in weights)
    columns = {name: one for name, one in named.items() if isinstance(one, Column)}
    if not columns:
        return constant
    value, present = frame.gather(list(columns.values()))
    there = graph.node("Where", present, value, graph.number(0))
    table = graph.const([[float(weights.get(name, 0.0)) for name in columns] for weights, _ in lines])
    product = graph.node("Mul", there, graph.node("Gather", table, place))
    return graph.node("Add", graph.row_sum(product), constant)


def _by_model(leaf: Any, tree: Any) -> bool:
    """Return whether a leaf answers by its model, after checking that both are known."""
    answers = type(leaf).prediction
    if answers is htr_nodes.LeafMean.prediction:
        return False
    if answers not in (htr_nodes.LeafModel.prediction, htr_nodes.LeafAdaptive.prediction):
        what = f"has leaves of a kind that is not known here ({type(leaf).__name__})."
        raise refuse(f"model {type(tree).__name__}", what, "Use tree.HoeffdingTreeRegressor.")
    if answers is htr_nodes.LeafAdaptive.prediction and leaf._fmse_mean < leaf._fmse_model:  # noqa: SLF001
        return False
    if type(leaf._leaf_model) not in REGRESSORS:  # noqa: SLF001
        what = f"has a {type(leaf._leaf_model).__name__} in its leaves."  # noqa: SLF001
        raise refuse(f"model {type(tree).__name__}", what, "Use leaf_prediction='mean', or a plain linear model.")
    return True
